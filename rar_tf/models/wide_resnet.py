"""Residual networks with batch norm: WRN-28-10 (Zagoruyko and Komodakis 2016) and ResNet-18 for small images.

WRN-28-10 is the second network of Sarkar et al. (2021), Tables 5 and 6; ResNet-18 (He et al. 2016) with a first
convolution of 3×3 and no pooling is the network that Wang and Kong (2022) train on CIFAR-10.
"""

import functools

import keras
from keras import layers

from rar_tf.models import activations
from rar_tf.models.pooling import no_pooling
from rar_tf.models.resnet import PerImageStandardization


def wide_resnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: int = 28,
    width: int = 10,
    activation: str = "relu",
    activation_beta: float = 1.0,
    pooling: str = "max",
) -> keras.Model:
    """Return WRN-depth-width: each image standardised, three groups of (depth − 4)/6 pre-activation blocks.

    The standardisation stands where the original normalises by the data set's statistics, so the pixels' scale does not
    matter. No dropout.

    Shape: images [N, H, W, C] -> logits [N, K].

    Args:
      activation, activation_beta: of `models.ACTIVATIONS`, and its inverse temperature.
      pooling: nothing but "max": there are no max-pools to be replaced.

    Raises: UsageError for an unknown activation, or another pooling.
    """
    no_pooling(f"wrn_{depth}_{width}", pooling)
    activate = functools.partial(activations.layer, activation, activation_beta)
    images = layers.Input(input_shape)
    x = PerImageStandardization(name="standardize")(images)
    x = _convolution(x, 16, 3, 1, "init_conv")
    for group, (channels, stride) in enumerate([(16 * width, 1), (32 * width, 2), (64 * width, 2)], start=1):
        for block in range((depth - 4) // 6):
            x = _pre_activation_block(x, channels, stride if block == 0 else 1, f"block_{group}_{block}", activate)
    x = _normalise(x, "final_norm", activate)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(num_classes, name="logits")(x), name=f"wrn_{depth}_{width}")


def resnet_18(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: int = 64,
    activation: str = "relu",
    activation_beta: float = 1.0,
    pooling: str = "max",
) -> keras.Model:
    """Return ResNet-18 for images of about 32×32 pixels in [0, 1]; `width` is the channels of its first stage.

    Shape: images [N, H, W, C] -> logits [N, K].

    Args and errors: as `wide_resnet` has them.
    """
    no_pooling("resnet_18", pooling)
    activate = functools.partial(activations.layer, activation, activation_beta)
    images = layers.Input(input_shape)
    x = _normalise(_convolution(images, width, 3, 1, "init_conv"), "init_norm", activate)
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and block == 0 else 1
            x = _basic_block(x, width * 2**stage, stride, f"block_{stage + 1}_{block}", activate)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(num_classes, name="logits")(x), name="resnet_18")


def _convolution(x, channels, size, stride, name):
    # Explicit padding, since "same" with stride 2 pads even images on one side only.
    if size == 3 and stride == 2:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    if size == 1 and stride > 1:
        # Leaves the pixels out first: oneDNN's weight gradient of a strided 1×1 convolution of few channels writes
        # beyond its buffer.
        x, stride = layers.AveragePooling2D(1, strides=stride, name=f"{name}_subsample")(x), 1
    padding = "same" if stride == 1 else "valid"
    normal = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return layers.Conv2D(
        channels, size, strides=stride, padding=padding, use_bias=False, kernel_initializer=normal, name=name
    )(x)


def _normalise(x, name, activate=None):
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
    return x if activate is None else activate(name=f"{name}_relu")(x)


def _pre_activation_block(x, channels, stride, name, activate):
    activated = _normalise(x, f"{name}_norm1", activate)
    # A block that changes the number of channels activates before its shortcut branches off.
    same = x.shape[-1] == channels and stride == 1
    shortcut = x if same else _convolution(activated, channels, 1, stride, f"{name}_shortcut")
    y = _normalise(_convolution(activated, channels, 3, stride, f"{name}_conv1"), f"{name}_norm2", activate)
    y = _convolution(y, channels, 3, 1, f"{name}_conv2")
    return layers.Add(name=f"{name}_add")([y, shortcut])


def _basic_block(x, channels, stride, name, activate):
    same = x.shape[-1] == channels and stride == 1
    shortcut = x
    if not same:
        shortcut = _normalise(_convolution(x, channels, 1, stride, f"{name}_shortcut"), f"{name}_shortcut_norm")
    y = _normalise(_convolution(x, channels, 3, stride, f"{name}_conv1"), f"{name}_norm1", activate)
    y = _normalise(_convolution(y, channels, 3, 1, f"{name}_conv2"), f"{name}_norm2")
    return activate(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, shortcut]))
