"""A network as its first affine layer and the rest of it.

Along a straight path of images the first layer's outputs lie on a straight path too, and the gradients with respect to
the images are those with respect to these outputs, pulled back by one and the same linear map. So an integral over a
path needs the layer once at both ends and its transpose once, whatever the number of path points.
"""

import keras
import tensorflow as tf

from rar_tf.models import graph
from rar_tf.models.surrogate import Part, StandIn, layers_and_weights


class SplitNetwork(StandIn):
    """A network that also gives its first affine layer (a convolution or dense layer that reads the images) apart.

    It answers as the network does, images [N, H, W, C] -> logits [N, K], and runs on the network's own weights.
    """

    def __init__(self, network, layer: keras.layers.Layer, rest: keras.Model):
        super().__init__(network)
        self.layer, self._rest = layer, Part(rest, network)
        shared = self._rest.shared
        self._kernel, self._bias = shared[id(layer.kernel)], layer.use_bias and shared[id(layer.bias)]

    def stateless_call(self, *args, **kwargs):
        """As the network's own."""
        return self.network.stateless_call(*args, **kwargs)

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the logits in evaluation mode."""
        return self.network(images, training=False)

    def affine(self, images: tf.Tensor) -> tf.Tensor:
        """Return the first layer's output before its activation. Shape: [N, H, W, C] -> [N, …]."""
        outputs = with_kernel(self.layer, images, self._kernel.value)
        return outputs + self._bias.value if self.layer.use_bias else outputs

    def rest(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return the logits [N, K] of the first layer's outputs before its activation."""
        return self._rest(self.layer.activation(outputs))

    def pull_back(self, gradients: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """Return the gradients by the images of which the layer's outputs have these. Shape: [N, …] -> [N, H, W, C]."""
        kernel, layer = self._kernel.value, self.layer
        if isinstance(layer, keras.layers.Dense):
            return tf.tensordot(gradients, kernel, [[-1], [1]])
        pulled = tf.nn.conv2d_transpose(gradients, kernel, tf.shape(images), layer.strides, layer.padding.upper())
        return tf.ensure_shape(pulled, images.shape)


def with_kernel(layer, values: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return a dense layer or a convolution with that kernel, without its bias. Shape: [N, …] -> [N, …]."""
    if isinstance(layer, keras.layers.Dense):
        return tf.tensordot(values, kernel, 1)
    return tf.nn.conv2d(values, kernel, layer.strides, layer.padding.upper())


def split_first_layer(network) -> SplitNetwork | None:
    """Return the network with its first layer apart; None where that layer is no plain convolution or dense layer.

    Networks: functional and sequential Keras models, and surrogates of them.
    """
    model, _ = layers_and_weights(network)
    readers = graph.readers(model)
    if len(readers) != 1 or not _is_affine(readers[0].operation):
        return None
    try:
        rest = keras.Model(readers[0].output_tensors, model.outputs[0])
    except ValueError:  # Keras cuts no graph behind a layer that is applied once more
        return None
    return SplitNetwork(network, readers[0].operation, rest)


def _is_affine(layer):
    if type(layer) is keras.layers.Conv2D:
        plain = layer.data_format == "channels_last" and layer.groups == 1 and tuple(layer.dilation_rate) == (1, 1)
    else:
        plain = type(layer) is keras.layers.Dense
    own = plain and any(layer.kernel is variable for variable in layer.variables)  # not one that LoRA makes
    return own and layer.variable_dtype == keras.backend.floatx()  # that of images
