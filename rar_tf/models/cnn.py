"""The small convolutional networks for 28×28 images (Madry et al. 2018; Chen et al. 2019; Wang and Kong 2022)."""

import keras
from keras import layers


def small_cnn(input_shape: tuple[int, int, int] = (28, 28, 1), num_classes: int = 10, width: int = 32) -> keras.Model:
    """Return conv 5×5×32, pool, conv 5×5×64, pool, dense 1024, dense K, with ReLU; pixels in [0, 1].

    A `width` other than 32 makes every layer but the last narrower or wider in proportion.

    Shape: images [N, H, W, C] -> logits [N, K].
    """

    def weights():
        return {
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
            "bias_initializer": keras.initializers.Constant(0.1),
        }

    return keras.Sequential(
        [
            layers.Input(input_shape),
            layers.Conv2D(width, 5, padding="same", activation="relu", name="conv1", **weights()),
            layers.MaxPooling2D(2, padding="same", name="pool1"),
            layers.Conv2D(2 * width, 5, padding="same", activation="relu", name="conv2", **weights()),
            layers.MaxPooling2D(2, padding="same", name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(32 * width, activation="relu", name="dense", **weights()),
            layers.Dense(num_classes, name="logits", **weights()),
        ],
        name="small_cnn",
    )


def p2_cnn(input_shape: tuple[int, int, int] = (28, 28, 1), num_classes: int = 10) -> keras.Model:
    """Return the network of four convolutions and three dense layers that Wang and Kong (2022) train on 28×28 images.

    conv 3×3×32 twice, pool, conv 3×3×64 twice, pool, dense 200, dropout 0.5, dense 200, dense K, unpadded, with ReLU:
    the paper gives the number of layers, their sizes are those of Carlini and Wagner (2017) and Zhang et al. (2019).

    Shape: images [N, H, W, C] in [0, 1] -> logits [N, K].
    """

    def convolution(channels, name):
        return layers.Conv2D(channels, 3, activation="relu", kernel_initializer="he_normal", name=name)

    return keras.Sequential(
        [
            layers.Input(input_shape),
            convolution(32, "conv1"),
            convolution(32, "conv2"),
            layers.MaxPooling2D(2, name="pool1"),
            convolution(64, "conv3"),
            convolution(64, "conv4"),
            layers.MaxPooling2D(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(200, activation="relu", kernel_initializer="he_normal", name="dense1"),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(200, activation="relu", kernel_initializer="he_normal", name="dense2"),
            layers.Dense(num_classes, name="logits"),
        ],
        name="p2_cnn",
    )


def tiny_cnn(shape, classes):
    """Stub."""
    return small_cnn(shape, classes, width=8)
