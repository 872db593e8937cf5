"""The attribution as a vector field g(x, y), with or without a bound M on its length."""

from collections.abc import Callable

import tensorflow as tf

from rar_tf import checks, losses, similarity
from rar_tf.attributions import ATTRIBUTIONS
from rar_tf.attributions.explainer import attribute
from rar_tf.attributions.targets import Target

Field = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def attribution_field(network, kind: str | Callable, *, ig_steps: int = 50, score: Callable = losses.logit) -> Field:
    """Return (images [N, H, W, C], labels int [N]) -> signed, un-normalised attributions [N, H, W, C].

    Args:
      network: images -> logits, a Keras model or a surrogate.
      kind: one of `ATTRIBUTIONS`, or a function (target, images) -> attributions.
      ig_steps: path points of integrated gradients from black. score: what is attributed; the label's logit.

    Raises: UsageError for an unknown kind or ig_steps < 1.
    """
    checks.at_least_one(ig_steps=ig_steps)
    if callable(kind):
        return lambda images, labels: kind(Target(network, labels, score), images)
    checks.one_of(ATTRIBUTIONS, attribution=kind)
    ATTRIBUTIONS[kind].check(network)
    return lambda images, labels: attribute(kind, Target(network, labels, score), images, steps=ig_steps)


def unit_field(field: Field) -> Field:
    """Return g/max(‖g‖, δ), δ = 1e-12, whose bound M is exactly 1; a zero attribution stays zero."""

    def unit(images, labels):
        maps = field(images, labels)
        return maps / similarity.norm(maps, keepdims=True)

    return unit


def clipped_field(field: Field, bound: float) -> Field:
    """Return g·min(1, M/‖g‖), whose bound is exactly M = `bound`."""
    checks.positive(attribution_bound=bound)

    def clipped(images, labels):
        maps = field(images, labels)
        return maps * tf.minimum(1.0, bound / similarity.norm(maps, keepdims=True))

    return clipped
