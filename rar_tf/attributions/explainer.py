"""How the maps that are compared come about: an attribution of the label's logit, then a protocol."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from rar_tf import losses
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
) -> tf.Tensor:
    """Return the attribution named `kind` of `images`, from a black baseline where it takes one.

    Shape: images [B, H, W, C] -> [B, H, W, C], signed and un-normalised.

    Args:
      steps, chunk, rule, shift: path points, how many of them are held in memory at once, and where they lie, for kinds
        that take a path, see `path_integral.integrated_gradients`.

    Raises: UsageError for a kind that is not in `ATTRIBUTIONS`.
    """
    found: Kind = ATTRIBUTIONS[kind]
    if not found.takes_path:
        return found.function(target, images)
    return found.function(target, images, steps=steps, chunk=chunk, rule=rule, shift=shift)


@dataclasses.dataclass(frozen=True)
class Explainer:
    """How the maps that are compared come about: an attribution of the label's logit, then a protocol.

    Args:
      attribution: a kind of `ATTRIBUTIONS`, or a function (target, images) -> attributions.
      protocol: of `PROTOCOLS`.
      ig_steps: path points of integrated gradients.
      chunk: path points held in memory at once; None holds all.
      rule: where the path points lie, see `path_integral.quadrature`.
    """

    attribution: str | Callable = "integrated_gradients"
    protocol: str = "rar"
    ig_steps: int = 100
    chunk: int | None = None
    rule: str = "right"

    def coarse(self, network, ig_steps: int) -> "Explainer":
        """Return the same with fewer path points, in the middles of their intervals, where fewer are less work."""
        if callable(self.attribution) or not ATTRIBUTIONS[self.attribution].takes_path or ig_steps >= self.ig_steps:
            return self
        if is_scale_invariant(network):  # the integral has a closed form
            return self
        return dataclasses.replace(self, ig_steps=ig_steps, rule="midpoint")

    def attributions(self, network, images: tf.Tensor, labels: tf.Tensor, shift: tf.Tensor | None = None) -> tf.Tensor:
        """Return signed attributions. Shape: images [B, H, W, C], labels [B] -> [B, H, W, C]."""
        target = Target(network, labels, losses.logit)
        if callable(self.attribution):
            return self.attribution(target, images)
        return attribute(
            self.attribution, target, images, steps=self.ig_steps, chunk=self.chunk, rule=self.rule, shift=shift
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
        path = {"steps": self.ig_steps, "chunk": self.chunk, "rule": self.rule} if kind.takes_path else {}
        return Frozen(kind.slope(target, images, **path), self.protocol)

    def __call__(self, network, images: tf.Tensor, labels: tf.Tensor, shift: tf.Tensor | None = None) -> tf.Tensor:
        """Return maps. Shape: images [B, H, W, C], labels [B] -> [B, D]. shift: of coarse path points."""
        return PROTOCOLS[self.protocol](self.attributions(network, images, labels, shift))


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Maps of x' ⊙ slope with the slope of other images held fixed, or, with moves=False, those of the slope itself.

    Shape: slope [B, H, W, C].
    """

    slope: tf.Tensor
    protocol: str = "rar"
    moves: bool = True

    def __call__(self, network, images: tf.Tensor, labels: tf.Tensor, shift=None) -> tf.Tensor:
        """Return maps [B, D] of images [B, H, W, C]; the network has no say in them."""
        return PROTOCOLS[self.protocol](images * self.slope if self.moves else self.slope)
