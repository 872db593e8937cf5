"""A first layer under which pixels near the ends of the pixel range have no influence.

In units of the pixel range, dark: s(t) = max(t − ε, 0)/(1 − ε), for black backgrounds; clipped:
s(t) = clip((t − ε)/(1 − 2ε), 0, 1), for black and white ones. A black pixel then has derivative zero, so neither
influence nor attribution, everywhere in the ℓ∞ ball of radius ε, edges included.
"""

import keras
import tensorflow as tf

from rar_tf import checks
from rar_tf.errors import UsageError
from rar_tf.models import STEMS


@keras.saving.register_keras_serializable("rar_tf")
class InputStem(keras.layers.Layer):
    """Stretch what is more than ε away from black (and from white) over the whole pixel range.

    Shape: images [N, H, W, C] -> the same, in the same pixel range.

    Args:
      epsilon: ε, in pixel units, as budgets are.
      kind: of `STEMS`: "dark" or "clipped".
      bounds: pixel range.

    Raises: UsageError for an unknown kind, or an ε that leaves nothing of the range.
    """

    def __init__(self, epsilon: float, kind: str = "dark", bounds: tuple[float, float] = (0.0, 1.0), **settings):
        super().__init__(**settings)
        checks.one_of(STEMS, stem=kind)
        checks.positive(stem_epsilon=epsilon)
        self.epsilon, self.kind, self.bounds = float(epsilon), kind, (float(bounds[0]), float(bounds[1]))
        width, ends = self.bounds[1] - self.bounds[0], 1 if kind == "dark" else 2
        if ends * self.epsilon >= width:
            raise UsageError(f"stem_epsilon must be smaller than {width / ends:g} for stem {kind!r}, got {epsilon:g}")

    def call(self, images):
        # The thresholds are rounded as x ± ε is that an adversary reaches; at them the derivative is zero already.
        low, high, epsilon = (tf.constant(value, images.dtype) for value in (*self.bounds, self.epsilon))
        black, white = low + epsilon, high if self.kind == "dark" else high - epsilon
        stretched = low + (high - low) * ((images - black) / (white - black))
        stretched = tf.where(images > black, stretched, low)
        return stretched if self.kind == "dark" else tf.where(images < white, stretched, high)

    def smooth(self, sharpness: float) -> "SmoothInputStem":
        """Return a stem with the same dead zone but for softplus at its edges."""
        return SmoothInputStem(self.epsilon, self.kind, self.bounds, sharpness=sharpness, name=self.name)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon, "kind": self.kind, "bounds": self.bounds}


@keras.saving.register_keras_serializable("rar_tf")
class SmoothInputStem(InputStem):
    """An input stem with softplus for its kinks, log(1 + e^{κz/ε})·ε/κ for max(z, 0): its stand-in in attacks.

    In the dead zone of a stem gradients are zero, so that an ascent does not see that a pixel could leave it.

    Args:
      sharpness: κ.
    """

    def __init__(self, *args, sharpness: float, **settings):
        super().__init__(*args, **settings)
        checks.positive(sharpness=sharpness)
        self.sharpness = float(sharpness)

    def call(self, images):
        low, high, epsilon = (tf.constant(value, images.dtype) for value in (*self.bounds, self.epsilon))
        softness = epsilon / self.sharpness
        black, white = low + epsilon, high if self.kind == "dark" else high - epsilon
        from_black = (images - black) / softness
        beyond = tf.math.softplus(from_black)
        if self.kind == "clipped":
            # The same from white down where images are bright: there the two softplus would cancel.
            from_white = (images - white) / softness
            above = (white - black) / softness + tf.math.softplus(-from_black) - tf.math.softplus(-from_white)
            beyond = tf.where(from_black + from_white > 0, above, beyond - tf.math.softplus(from_white))
        return low + (high - low) * softness * beyond / (white - black)

    def get_config(self):
        return {**super().get_config(), "sharpness": self.sharpness}
