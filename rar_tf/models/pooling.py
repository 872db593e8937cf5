"""Max-pooling whose gradients are right, or smooth, where those of TensorFlow's own kernel are neither.

XLA's gradient of the gradient of max-pool looks for the winner in bfloat16 and is silently wrong by percents; the
element-wise maximum over the strided slices of a window has exact gradients of every order, and of equal values the
first wins as in TensorFlow's own kernel. The logarithm of the mean exponential of the same slices is max-pooling as
softplus is ReLU: its gradient moves from one pixel to another smoothly, where that of a maximum jumps.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from rar_tf import checks
from rar_tf.errors import UsageError
from rar_tf.models import POOLINGS, graph


class WindowPooling2D(keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D` from the strided slices that its windows consist of.

    Raises: UsageError for channels first.
    """

    def __init__(self, pool_size=2, **settings):
        super().__init__(pool_size, **settings)
        if self.data_format != "channels_last":
            raise UsageError(f"max-pool {self.name!r} must have its channels last")

    def windows(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Return the first pixel of every window, then the second, …: [N, H, W, C] -> P slices [N, H', W', C]."""
        sizes = list(zip(images.shape[1:3], self.pool_size, self.strides))
        if self.padding == "same":
            counts = [-(-size // stride) for size, _, stride in sizes]
            missing = [max((count - 1) * stride + pool - size, 0) for count, (size, pool, stride) in zip(counts, sizes)]
            images = tf.pad(
                images,
                [[0, 0], *((lost // 2, lost - lost // 2) for lost in missing), [0, 0]],
                constant_values=images.dtype.min,
            )
        else:
            counts = [(size - pool) // stride + 1 for size, pool, stride in sizes]
        (height, width), (down, right) = self.pool_size, self.strides
        rows, columns = ((count - 1) * stride + 1 for count, stride in zip(counts, self.strides))
        return [images[:, i : i + rows : down, j : j + columns : right] for i in range(height) for j in range(width)]


@keras.saving.register_keras_serializable("rar_tf")
class ExactMaxPooling2D(WindowPooling2D):
    """`keras.layers.MaxPooling2D` as element-wise maxima, with exact gradients of every order under XLA too."""

    def call(self, images):
        return functools.reduce(tf.maximum, self.windows(images))


@keras.saving.register_keras_serializable("rar_tf")
class SmoothMaxPooling2D(WindowPooling2D):
    """log(mean exp(βx))/β over each window: smooth, never above the maximum, and nearing it as β grows.

    It lies at most log(P)/β below the maximum of P pixels, and keeps constants.
    """

    def __init__(self, pool_size=2, *, beta: float, **settings):
        checks.positive(beta=beta)
        super().__init__(pool_size, **settings)
        self.beta = beta

    def call(self, images):
        windows = tf.stack(self.windows(images))
        # Padded borders count for nothing, so windows there have fewer pixels than P.
        pixels = tf.reduce_sum(tf.cast(windows[:, :1] > windows.dtype.min, windows.dtype), 0)
        return (tf.reduce_logsumexp(self.beta * windows, 0) - tf.math.log(pixels)) / self.beta

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}


@keras.saving.register_keras_serializable("rar_tf")
class SmoothGlobalMaxPooling2D(keras.layers.GlobalMaxPooling2D):
    """log(mean exp(βx))/β over all pixels, see `SmoothMaxPooling2D`."""

    def __init__(self, *, beta: float, **settings):
        checks.positive(beta=beta)
        super().__init__(**settings)
        self.beta = beta

    def call(self, images):
        axes = (1, 2) if self.data_format == "channels_last" else (2, 3)
        pixels = np.prod([images.shape[axis] for axis in axes])
        total = tf.reduce_logsumexp(self.beta * images, axes, keepdims=self.keepdims)
        return (total - np.log(pixels)) / self.beta

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}


def smooth_max_pooling(layer, beta: float):
    """Return the smooth version of a max-pooling layer of images, None for every other layer."""
    if graph.is_kind(layer, keras.layers.MaxPooling2D):
        return SmoothMaxPooling2D(**{**layer.get_config(), "beta": beta})
    if graph.is_kind(layer, keras.layers.GlobalMaxPooling2D):
        return SmoothGlobalMaxPooling2D(**{**layer.get_config(), "beta": beta})
    return None


def pooling_kind(pooling: str, beta: float):
    """Return what builds the layers of a pooling of `POOLINGS`, smooth ones with inverse temperature β."""
    kind = POOLINGS[pooling]
    return functools.partial(kind, beta=beta) if kind is SmoothMaxPooling2D else kind


def no_pooling(network: str, pooling: str) -> None:
    """Raise UsageError unless `pooling` leaves a network as it is that has no max-pools."""
    checks.one_of(POOLINGS, pooling=pooling)
    if pooling != "max":
        raise UsageError(f"{network} has no max-pools, so pooling {pooling!r} would change nothing; leave it out")


def uses_max_pooling(network: keras.Model) -> bool:
    """Return whether a network has max-pools of Keras's own kind, whose second-order gradients XLA gets wrong."""
    return any(type(layer) is keras.layers.MaxPooling2D for layer in network._flatten_layers())


def with_exact_pooling(network: keras.Model) -> keras.Model:
    """Return a network with the same weights whose max-pools are exact; the network itself where it has none.

    Raises: UsageError for a network that cannot be cloned layer by layer, or with max-pools of channels first.
    """
    if not uses_max_pooling(network):
        return network

    def exact(layer):
        return ExactMaxPooling2D(**layer.get_config()) if type(layer) is keras.layers.MaxPooling2D else None

    copy = graph.clone(network, exact, "jit_compile: the network's max-pools cannot be made exact")
    copy.set_weights(network.get_weights())
    return copy
