"""How the maps that are compared come about: an attribution of the label's logit, then a protocol."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from rar_tf import losses
from rar_tf.attributions import ATTRIBUTIONS, PROTOCOLS
from rar_tf.attributions.gradients import Kind, ScoreFunction
from rar_tf.attributions.targets import Target


def attribute(
    kind: str, target: ScoreFunction, images: tf.Tensor, *, steps: int = 50, chunk: int | None = None
) -> tf.Tensor:
    """Return the attribution named `kind` of `images`, from a black baseline where it takes one.

    Shape: images [B, H, W, C] -> [B, H, W, C], signed and un-normalised.

    Args:
      steps, chunk: path points, and how many of them are held in memory at once, for kinds that take a path.

    Raises: UsageError for a kind that is not in `ATTRIBUTIONS`.
    """
    found: Kind = ATTRIBUTIONS[kind]
    return found.function(target, images, **({"steps": steps, "chunk": chunk} if found.takes_path else {}))


@dataclasses.dataclass(frozen=True)
class Explainer:
    """How the maps that are compared come about: an attribution of the label's logit, then a protocol.

    Args:
      attribution: a kind of `ATTRIBUTIONS`, or a function (target, images) -> attributions.
      protocol: of `PROTOCOLS`.
      ig_steps: path points of integrated gradients.
      chunk: path points held in memory at once; None holds all.
    """

    attribution: str | Callable = "integrated_gradients"
    protocol: str = "rar"
    ig_steps: int = 100
    chunk: int | None = None

    def attributions(self, network, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return signed attributions. Shape: images [B, H, W, C], labels [B] -> [B, H, W, C]."""
        target = Target(network, labels, losses.logit)
        if callable(self.attribution):
            return self.attribution(target, images)
        return attribute(self.attribution, target, images, steps=self.ig_steps, chunk=self.chunk)

    def __call__(self, network, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return maps. Shape: images [B, H, W, C], labels [B] -> [B, D]."""
        return PROTOCOLS[self.protocol](self.attributions(network, images, labels))
