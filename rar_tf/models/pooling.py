"""Max-pooling whose second-order gradients are right everywhere.

XLA's gradient of the gradient of max-pool looks for the winner in bfloat16 and is silently wrong by percents; the
element-wise maximum over the strided slices of a window has exact gradients of every order, and of equal values the
first wins as in TensorFlow's own kernel.
"""
import functools

import keras
import tensorflow as tf

from rar_tf.errors import UsageError


@keras.saving.register_keras_serializable("rar_tf")
class ExactMaxPooling2D(keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D` for windows that do not overlap, as element-wise maxima."""

    def call(self, images):
        (height, width), padding = self.pool_size, self.padding
        if padding == "same":
            missing = [-size % pool for size, pool in zip(images.shape[1:3], (height, width))]
            borders = [[0, 0], *([lost // 2, lost - lost // 2] for lost in missing), [0, 0]]
            images = tf.pad(images, borders, constant_values=images.dtype.min)
        rows, columns = images.shape[1] // height * height, images.shape[2] // width * width
        slices = [images[:, i:rows:height, j:columns:width] for i in range(height) for j in range(width)]
        return functools.reduce(tf.maximum, slices)


def with_exact_pooling(network: keras.Model) -> keras.Model:
    """Return a network with the same weights whose max-pools are exact; the network itself where it has none.

    Raises: UsageError for overlapping windows or a network that cannot be cloned layer by layer.
    """
    if not any(type(layer) is keras.layers.MaxPooling2D for layer in network._flatten_layers()):
        return network

    def exact(layer):
        if type(layer) is not keras.layers.MaxPooling2D:
            return layer.__class__.from_config(layer.get_config())
        if tuple(layer.strides) != tuple(layer.pool_size) or layer.data_format != "channels_last":
            raise UsageError(f"jit_compile needs max-pools whose windows do not overlap; those of {layer.name!r} do")
        return ExactMaxPooling2D.from_config(layer.get_config())

    try:
        clone = keras.models.clone_model(network, clone_function=exact, recursive=True)
    except (TypeError, AttributeError, NotImplementedError) as error:
        raise UsageError(f"jit_compile: the network's max-pools cannot be made exact ({error})") from error
    clone.set_weights(network.get_weights())
    return clone
