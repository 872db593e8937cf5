"""A bound on every gradient of a logit, layer by layer: exact mathematics, vacuous on most trained networks.

For layers that follow one another, ‖∂f_y/∂x‖ is at most the product of the layers' Lipschitz constants: the largest
singular value of a dense kernel; for a convolution and average pooling a bound of it (`rar_tf.models.chain.Linear`);
1 for max-pooling that does not overlap; for an activation the largest slope that it has anywhere; of the last kernel
the column of the logit is enough.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from rar_tf.errors import UsageError
from rar_tf.models import graph
from rar_tf.models.activations import Softplus
from rar_tf.models.chain import Linear, has_disjoint_windows, is_affine
from rar_tf.models.surrogate import rectifier_of

_UNIT_LAYERS = (layers.Flatten, layers.Dropout, layers.Reshape, layers.InputLayer)
_UNIT_ACTIVATIONS = [
    getattr(of, name)
    for name in ("linear", "softplus", "tanh", "sigmoid", "elu")
    for of in (keras.activations, tf.nn)
    if hasattr(of, name)
]


def gradient_bound(network: keras.Model) -> float:
    """Return a number that no logit's gradient with respect to the image ever exceeds in length.

    Raises: UsageError where the network is no chain of dense, convolution, pooling and activation layers.
    """
    if not (isinstance(network, keras.Sequential) and graph.computes_its_graph(network)):
        raise UsageError(
            "normalization=lipschitz needs a keras.Sequential network without a `call` of its own: no finite bound M "
            "is known for this one"
        )
    return float(np.prod([_linear(layer, network) * _slope(layer) for layer in network.layers]))


def _slope(layer):
    """The largest slope of a layer's activation: 1, or the leak where that is larger, of either sign."""
    rectifier = rectifier_of(layer)
    if rectifier is not None:
        return max(1.0, abs(float(np.asarray(getattr(rectifier, "negative_slope", 0.0)))))
    if type(layer) is layers.ELU:
        return max(1.0, abs(float(layer.alpha)))
    activation = getattr(layer, "activation", None)
    if graph.is_kind(activation, Softplus):
        return max(1.0, abs(activation.slope))
    if activation is None or any(activation is each for each in _UNIT_ACTIVATIONS):
        return 1.0
    raise UsageError(f"normalization=lipschitz: no finite bound M is known for the activation of layer {layer.name!r}")


def _linear(layer, network):
    if graph.is_kind(layer, layers.Dense) and layer is network.layers[-1]:
        return np.linalg.norm(np.asarray(layer.kernel, np.float64), axis=0).max()
    if is_affine(layer):
        return Linear(layer, graph.input_shape(network, layer)).norm
    if graph.is_kind(layer, layers.MaxPooling2D) and has_disjoint_windows(layer):
        return 1.0
    if graph.is_kind(layer, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, *_UNIT_LAYERS):
        return 1.0
    return _unknown(layer)


def _unknown(layer):
    raise UsageError(f"normalization=lipschitz: no finite bound M is known for layer {layer.name!r}")
