"""Residual networks with batch norm: WRN-28-10 (Zagoruyko and Komodakis 2016) and ResNet-18 for small images.

WRN-28-10 is the second network of Sarkar et al. (2021), Tables 5 and 6; ResNet-18 (He et al. 2016) with a first
convolution of 3×3 and no pooling is the network that Wang and Kong (2022) train on CIFAR-10.
"""

import keras
from keras import layers

from rar_tf.models.resnet import PerImageStandardization


def wide_resnet(input_shape: tuple[int, int, int], num_classes: int, depth: int = 28, width: int = 10) -> keras.Model:
    """Return WRN-depth-width: each image standardised, three groups of (depth − 4)/6 pre-activation blocks.

    The standardisation stands where the original normalises by the data set's statistics, so the pixels' scale does not
    matter. No dropout.

    Shape: images [N, H, W, C] -> logits [N, K].
    """
    images = layers.Input(input_shape)
    x = PerImageStandardization(name="standardize")(images)
    x = _convolution(x, 16, 3, 1, "init_conv")
    for group, (channels, stride) in enumerate([(16 * width, 1), (32 * width, 2), (64 * width, 2)], start=1):
        for block in range((depth - 4) // 6):
            x = _pre_activation_block(x, channels, stride if block == 0 else 1, f"block_{group}_{block}")
    x = _normalise(x, "final_norm", activate=True)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(num_classes, name="logits")(x), name=f"wrn_{depth}_{width}")


def resnet_18(input_shape: tuple[int, int, int], num_classes: int, width: int = 64) -> keras.Model:
    """Return ResNet-18 for images of about 32×32 pixels in [0, 1]; `width` is the channels of its first stage.

    Shape: images [N, H, W, C] -> logits [N, K].
    """
    images = layers.Input(input_shape)
    x = _normalise(_convolution(images, width, 3, 1, "init_conv"), "init_norm", activate=True)
    for stage in range(4):
        for block in range(2):
            x = _basic_block(x, width * 2**stage, 2 if stage and block == 0 else 1, f"block_{stage + 1}_{block}")
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


def _normalise(x, name, activate=False):
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(x) if activate else x


def _pre_activation_block(x, channels, stride, name):
    activated = _normalise(x, f"{name}_norm1", activate=True)
    # A block that changes the number of channels activates before its shortcut branches off.
    same = x.shape[-1] == channels and stride == 1
    shortcut = x if same else _convolution(activated, channels, 1, stride, f"{name}_shortcut")
    y = _normalise(_convolution(activated, channels, 3, stride, f"{name}_conv1"), f"{name}_norm2", activate=True)
    y = _convolution(y, channels, 3, 1, f"{name}_conv2")
    return layers.Add(name=f"{name}_add")([y, shortcut])


def _basic_block(x, channels, stride, name):
    same = x.shape[-1] == channels and stride == 1
    shortcut = x
    if not same:
        shortcut = _normalise(_convolution(x, channels, 1, stride, f"{name}_shortcut"), f"{name}_shortcut_norm")
    y = _normalise(_convolution(x, channels, 3, stride, f"{name}_conv1"), f"{name}_norm1", activate=True)
    y = _normalise(_convolution(y, channels, 3, 1, f"{name}_conv2"), f"{name}_norm2")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, shortcut]))
