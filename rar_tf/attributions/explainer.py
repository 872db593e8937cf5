"""How the maps that are compared come about: an attribution of the label's logit, then a protocol."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import arithmetic, checks, inputs, losses
from rar_tf.attributions import ATTRIBUTIONS, PROTOCOLS
from rar_tf.attributions.gradients import Kind, ScoreFunction
from rar_tf.attributions.targets import Target
from rar_tf.errors import UsageError
from rar_tf.models.invariance import is_scale_invariant


def attribute(
    kind: str,
    target: ScoreFunction,
    images: tf.Tensor,
    *,
    steps: int = 50,
    chunk: int | None = None,
    rule: str = "right",
    shift: tf.Tensor | None = None,
    baseline: float = 0.0,
) -> tf.Tensor:
    """Return the attribution named `kind` of `images`.

    Shape: images [B, H, W, C] -> [B, H, W, C], signed and un-normalised.

    Args:
      steps, chunk, rule, shift: path points, how many of them are held in memory at once, and where they lie, for kinds
        that take a path, see `path_integral.integrated_gradients`.
      baseline: the pixel value that stands for nothing, for kinds that take one.

    Raises: UsageError for a kind that is not in `ATTRIBUTIONS`.
    """
    found: Kind = ATTRIBUTIONS[kind]
    options = {"steps": steps, "chunk": chunk, "rule": rule, "shift": shift} if found.takes_path else {}
    return found.function(target, images, **options, **({"baseline": baseline} if found.takes_baseline else {}))


@dataclasses.dataclass(frozen=True)
class Explainer:
    """How the maps that are compared come about: an attribution of the label's logit, then a protocol.

    Args:
      attribution: a kind of `ATTRIBUTIONS`, or a function (target, images) -> attributions.
      protocol: of `PROTOCOLS`.
      ig_steps: path points of integrated gradients.
      chunk: path points held in memory at once; None holds all.
      rule: where the path points lie, see `path_integral.quadrature`.
      baseline: the pixel value that stands for nothing, where the attribution takes one.
    """

    attribution: str | Callable = "integrated_gradients"
    protocol: str = "rar"
    ig_steps: int = 100
    chunk: int | None = None
    rule: str = "right"
    baseline: float = 0.0

    def coarse(self, network, ig_steps: int, highest: float) -> "Explainer":
        """Return the same with fewer path points, in the middles of their intervals, where fewer are less work.

        highest: the highest pixel value.
        """
        if callable(self.attribution) or not ATTRIBUTIONS[self.attribution].takes_path or ig_steps >= self.ig_steps:
            return self
        # The integral has a closed form where no path point is below the floor of standardisation, 1/sqrt(HWC): in
        # images whose deviation is a share of 1/sqrt(HWC) of the highest value, or more.
        if is_scale_invariant(network) and self.baseline == 0 and highest >= self.ig_steps:
            return self
        return dataclasses.replace(self, ig_steps=ig_steps, rule="midpoint")

    def check(self, network) -> None:
        """Raise UsageError where the attribution cannot explain this network, before anything is compiled."""
        if not callable(self.attribution):
            ATTRIBUTIONS[self.attribution].check(network)

    def attributions(self, network, images: tf.Tensor, labels: tf.Tensor, shift: tf.Tensor | None = None) -> tf.Tensor:
        """Return signed attributions. Shape: images [B, H, W, C], labels [B] -> [B, H, W, C]."""
        target = Target(network, labels, losses.logit)
        if callable(self.attribution):
            found = self.attribution(target, images)
            given = found.shape if tf.is_tensor(found) else None
            if given is None or given.rank not in (None, 4) or not given[:3].is_compatible_with(images.shape[:3]):
                raise UsageError(
                    f"an attribution gives a tensor of its images' shape {images.shape}, this one gives "
                    f"{type(found).__name__ if given is None else given}"
                )
            return found
        return attribute(
            self.attribution,
            target,
            images,
            steps=self.ig_steps,
            chunk=self.chunk,
            rule=self.rule,
            shift=shift,
            baseline=self.baseline,
        )

    def frozen(self, network, images: tf.Tensor, labels: tf.Tensor) -> "Frozen":
        """Return how maps would come about if the network's gradients were everywhere those at the images.

        Raises: UsageError for attributions that are functions.
        """
        if callable(self.attribution):
            raise UsageError("a function's attributions cannot be held fixed: name one of ATTRIBUTIONS")
        kind, target = ATTRIBUTIONS[self.attribution], Target(network, labels, losses.logit)
        if not kind.proportional:
            return Frozen(self.attributions(network, images, labels), self.protocol, moves=False)
        options: dict = {"steps": self.ig_steps, "chunk": self.chunk, "rule": self.rule} if kind.takes_path else {}
        baseline = self.baseline if kind.takes_baseline else 0.0
        options.update({"baseline": baseline} if kind.takes_baseline else {})
        return Frozen(kind.slope(target, images, **options), self.protocol, baseline=baseline)

    def __call__(self, network, images: tf.Tensor, labels: tf.Tensor, shift: tf.Tensor | None = None) -> tf.Tensor:
        """Return maps. Shape: images [B, H, W, C], labels [B] -> [B, D]. shift: of coarse path points."""
        return PROTOCOLS[self.protocol](self.attributions(network, images, labels, shift))


def explain(
    network,
    images: np.ndarray,
    targets: np.ndarray | int | None = None,
    *,
    attribution: str | Callable = "integrated_gradients",
    ig_steps: int = 50,
    baseline: float = 0.0,
    batch_size: int = 16,
) -> np.ndarray:
    """Return what each pixel contributes to a class, signed and un-normalised.

    Shape: images [N, H, W, C], targets [N] -> [N, H, W, C].

    Args:
      network: images -> logits, a Keras model, a `RobustModel` or a function.
      targets: the classes that are explained, or one for all images; None takes each image's predicted one.
      attribution, ig_steps, baseline: those of `Explainer`.
      batch_size: images explained together.

    Raises: UsageError for an attribution that is not in `ATTRIBUTIONS`, images that the network does not take, and
      classes that it has not.
    """
    inputs.check_array("images", images)
    images = np.asarray(images, np.float32)
    if images.ndim != 4 or not len(images):
        raise UsageError(f"images must be [N, H, W, C] with N at least 1, got shape {images.shape}")
    if not np.isfinite(images).all():
        raise UsageError("images must be finite, and some pixels are NaN or infinite")
    checks.of_kind(int, ig_steps=ig_steps, batch_size=batch_size)
    checks.of_kind(float, baseline=baseline)
    checks.at_least_one(ig_steps=ig_steps, batch_size=batch_size)
    network = inputs.evaluation_mode(inputs.unwrapped(network))
    inputs.check_network(network, images.shape[1:])
    explainer = Explainer(attribution, ig_steps=ig_steps, baseline=float(baseline))
    explainer.check(network)
    arithmetic.settle()
    logits = inputs.logits(lambda batch: network(tf.constant(batch), training=False), images, batch_size)
    for caution in inputs.cautions_of(logits):
        logging.warning("%s", caution)
    classes = np.argmax(logits, axis=1) if targets is None else np.asarray(targets)
    if classes.shape not in ((), images.shape[:1], (len(images), 1)):
        raise UsageError(f"targets must be one class, or one for each of {len(images)} images, got {classes.shape}")
    classes = np.broadcast_to(classes.reshape(-1), len(images))
    if classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= logits.shape[1]:
        raise UsageError(
            f"targets must be classes 0 … {logits.shape[1] - 1}, whole numbers, got {classes[:5].tolist()}"
        )
    signature = [tf.TensorSpec([None, *images.shape[1:]]), tf.TensorSpec([None], tf.int64)]
    explained = tf.function(
        lambda x, y: explainer.attributions(network, x, y), autograph=False, input_signature=signature
    )
    parts = [slice(i, i + batch_size) for i in range(0, len(images), batch_size)]
    found = [explained(images[part], classes[part].astype(np.int64)).numpy() for part in parts]
    return np.concatenate(found)


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Maps of (x' − baseline) ⊙ slope with the slope of other images held fixed; with moves=False those of the slope.

    Shape: slope [B, H, W, C].
    """

    slope: tf.Tensor
    protocol: str = "rar"
    moves: bool = True
    baseline: float = 0.0

    def __call__(self, network, images: tf.Tensor, labels: tf.Tensor, shift=None) -> tf.Tensor:
        """Return maps [B, D] of images [B, H, W, C]; the network has no say in them."""
        return PROTOCOLS[self.protocol]((images - self.baseline) * self.slope if self.moves else self.slope)
