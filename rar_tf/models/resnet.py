"""The residual networks of the GTSRB and Flower experiments (Chen et al. 2019, C.1.3 and C.1.4).

No batch norm, leaky ReLU 0.1, and a standardisation of each image inside the network, which makes f(αx) = f(x).
"""

import functools

import keras
import tensorflow as tf
from keras import layers

from rar_tf.models import activations
from rar_tf.models.pooling import no_pooling


@keras.saving.register_keras_serializable("rar_tf")
class PerImageStandardization(layers.Layer):
    """Subtract each image's mean and divide by its standard deviation, floored at 1/sqrt(HWC).

    Shape: [N, H, W, C] -> [N, H, W, C]; the values and gradients of `tf.image.per_image_standardization`.
    """

    scale_invariant = True

    def call(self, images):
        centred = images - tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=[1, 2, 3], keepdims=True)
        pixels = tf.cast(tf.reduce_prod(tf.shape(images)[1:]), images.dtype)
        # The floor is put under the variance, not under its root: the root's gradient at zero is NaN.
        return centred * tf.math.rsqrt(tf.maximum(variance, 1.0 / pixels))

    def compute_output_shape(self, input_shape):
        return input_shape


def resnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    units: int,
    activation: str = "relu",
    activation_beta: float = 1.0,
    pooling: str = "max",
) -> keras.Model:
    """Return the residual network with `units` residual units in each of its three stages (16, 32, 64 channels).

    GTSRB has two units a stage, Flower one. The pixels' scale does not matter to it.

    Shape: images [N, H, W, C] -> logits [N, K].

    Args:
      activation, activation_beta: of `models.ACTIVATIONS`, in its leaky form, and its inverse temperature.
      pooling: nothing but "max": there are no max-pools to be replaced.

    Raises: UsageError for an unknown activation, or another pooling.
    """
    no_pooling(f"resnet_{units}", pooling)
    activate = functools.partial(activations.layer, activation, activation_beta, slope=0.1)
    images = layers.Input(input_shape)
    x = PerImageStandardization(name="standardize")(images)
    x = _convolution(16, "init_conv")(x)
    for stage, (channels, stride) in enumerate([(16, 1), (32, 2), (64, 2)], start=1):
        for unit in range(units):
            here, activates_first = stride if unit == 0 else 1, stage == 1 and unit == 0
            x = _unit(x, channels, here, f"unit_{stage}_{unit}", activate, activates_first)
    x = activate(name="final_activation")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    uniform_unit_scaling = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
    return keras.Model(
        images,
        layers.Dense(num_classes, kernel_initializer=uniform_unit_scaling, name="logits")(x),
        name=f"resnet_{units}",
    )


resnet_1, resnet_2 = (functools.partial(resnet, units=units) for units in (1, 2))


def _convolution(channels, name, stride=1):
    normal = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return layers.Conv2D(
        channels, 3, strides=stride, padding="same", use_bias=False, kernel_initializer=normal, name=name
    )


def _unit(x, channels, stride, name, activate, activates_first):
    """Two convolutions beside a shortcut; the first unit of all activates before the two part."""
    activated = activate(name=f"{name}_activation1")(x)
    shortcut = activated if activates_first else x
    x = _convolution(channels, f"{name}_conv1", stride)(activated)
    x = activate(name=f"{name}_activation2")(x)
    x = _convolution(channels, f"{name}_conv2")(x)
    missing = channels - shortcut.shape[-1]
    if missing:
        shortcut = layers.AveragePooling2D(stride, name=f"{name}_shortcut")(shortcut)
        shortcut = keras.ops.pad(shortcut, [[0, 0], [0, 0], [0, 0], [missing // 2, missing - missing // 2]])
    return layers.Add(name=f"{name}_add")([x, shortcut])
