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

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon, "kind": self.kind, "bounds": self.bounds}
