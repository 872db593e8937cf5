"""Smooth stand-ins for ReLU networks: the same weights, softplus in place of every rectifier.

ReLU networks have no curvature of their own, so attacks on attributions take their directions from a softplus network
(Dombrowski et al. 2019). ReLU becomes softplus(βx)/β; leaky ReLU of slope a becomes a·x + (1−a)·softplus(βx)/β, the
residual networks' 0.1x + 0.9·softplus(x) of Chen et al. (2019). Max-pooling may become smooth as well: attributions of
a network that keeps it jump wherever another pixel wins, softplus or not.
"""

import keras
import tensorflow as tf

from rar_tf import checks
from rar_tf.attributions.targets import is_scale_invariant
from rar_tf.errors import UsageError
from rar_tf.models.pooling import smooth_max_pooling


def smooth_rectifier(beta: float, slope: float = 0.0, ceiling: float | None = None):
    """Return the softplus version of a rectifier with inverse temperature `beta`, leak `slope` and optional ceiling."""

    def activation(x):
        smooth = tf.math.softplus(beta * x) / beta
        if ceiling is not None:
            smooth -= tf.math.softplus(beta * (x - ceiling)) / beta
        return smooth if slope == 0 else slope * x + (1 - slope) * smooth

    return activation


class Surrogate:
    """A clone of a Keras network, with other activations, that always runs on the network's own weights.

    It answers as the network does: callable on images [N, H, W, C] to logits [N, K], with `trainable_variables` and
    `stateless_call`; gradients with respect to weights reach the network's variables.
    """

    def __init__(self, network: keras.Model, clone: keras.Model):
        self.network = network
        self.clone = clone
        self.scale_invariant = is_scale_invariant(network)

    @property
    def trainable_variables(self) -> list:
        return self.network.trainable_variables

    @property
    def non_trainable_variables(self) -> list:
        return self.network.non_trainable_variables

    def stateless_call(self, *args, **kwargs):
        """As `keras.Model.stateless_call`, through the clone's activations."""
        return self.clone.stateless_call(*args, **kwargs)

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the logits in evaluation mode, whatever `training` says: a surrogate keeps no statistics."""
        logits, _ = self.clone.stateless_call(
            [v.value for v in self.trainable_variables],
            [v.value for v in self.non_trainable_variables],
            images,
            training=False,
        )
        return logits


def softplus_surrogate(network: keras.Model, beta: float = 1.0, *, smooth_pooling: bool = False) -> Surrogate:
    """Return the softplus surrogate of a network with inverse temperature `beta`, sharing its weights.

    Args:
      smooth_pooling: whether max-pooling over images becomes log(mean exp(βx))/β, see `models.pooling`.

    Raises: UsageError where the network cannot be cloned layer by layer or has no rectifier, or where beta ≤ 0.
    """
    checks.positive(softplus_beta=beta)
    replaced = []

    def clone_layer(layer):
        pooling = smooth_max_pooling(layer, beta) if smooth_pooling else None
        if pooling is not None:
            replaced.append(layer.name)
            return pooling
        activation = _smooth(layer, beta)
        if activation is None:
            return layer.__class__.from_config(layer.get_config())
        replaced.append(layer.name)
        if isinstance(layer, (keras.layers.ReLU, keras.layers.LeakyReLU)):
            return keras.layers.Activation(activation, name=layer.name, dtype=layer.dtype_policy)
        return layer.__class__.from_config({**layer.get_config(), "activation": activation})

    try:
        clone = keras.models.clone_model(network, clone_function=clone_layer, recursive=True)
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise UsageError(
            f"no softplus surrogate of the network: it cannot be cloned layer by layer ({error})"
        ) from error
    if not replaced:
        raise UsageError("no softplus surrogate of the network: no ReLU or leaky ReLU was found among its layers")
    clone.trainable = network.trainable
    return Surrogate(network, clone)


def _smooth(layer, beta):
    """The softplus version of a layer's rectifier, None where it has none."""
    if isinstance(layer, keras.layers.ReLU):
        if layer.threshold != 0:
            raise UsageError(f"no softplus surrogate: layer {layer.name!r} is a ReLU with a threshold")
        return smooth_rectifier(beta, float(layer.negative_slope), layer.max_value)
    if isinstance(layer, keras.layers.LeakyReLU):
        return smooth_rectifier(beta, float(layer.negative_slope))
    activation = getattr(layer, "activation", None)
    if activation is keras.activations.relu:
        return smooth_rectifier(beta)
    if activation is keras.activations.relu6:
        return smooth_rectifier(beta, ceiling=6.0)
    if activation is keras.activations.leaky_relu:
        return smooth_rectifier(beta, slope=0.2)
    return None
