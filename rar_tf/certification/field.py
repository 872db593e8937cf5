"""The attribution as a vector field g(x, y), with or without a bound M on its length."""

import inspect
from collections.abc import Callable

import tensorflow as tf

from rar_tf import checks, losses, similarity
from rar_tf.attributions import ATTRIBUTIONS
from rar_tf.attributions.explainer import attribute
from rar_tf.attributions.targets import Target

Field = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def attribution_field(network, kind: str, *, ig_steps: int = 50, score: Callable = losses.logit) -> Field:
    """Return (images [N, H, W, C], labels int [N]) -> signed, un-normalised attributions [N, H, W, C].

    Args:
      network: images -> logits, a Keras model or a surrogate. kind: one of `ATTRIBUTIONS`.
      ig_steps: path points of integrated gradients from black. score: what is attributed; the label's logit.

    Raises: UsageError for an unknown kind or ig_steps < 1.
    """
    checks.one_of(ATTRIBUTIONS, attribution=kind)
    checks.at_least_one(ig_steps=ig_steps)
    ATTRIBUTIONS[kind].check(network)
    return lambda images, labels: attribute(kind, Target(network, labels, score), images, steps=ig_steps)


def evaluation_mode(network: Callable) -> Callable:
    """Return a network that takes `training`, as Keras models do, for any function of images.

    A network that takes it is returned as it is.
    """
    try:
        parameters = inspect.signature(network).parameters.values()
    except (TypeError, ValueError):
        return network
    if any(each.name == "training" or each.kind is each.VAR_KEYWORD for each in parameters):
        return network
    return lambda images, training=False: network(images)


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
