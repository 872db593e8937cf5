"""The small convolutional network of the MNIST experiments (Madry et al. 2018; Chen et al. 2019, C.1.1)."""
import keras
from keras import layers


def small_cnn(input_shape: tuple[int, int, int] = (28, 28, 1), num_classes: int = 10,
              width: int = 32) -> keras.Model:
    """Return conv 5×5×32, pool, conv 5×5×64, pool, dense 1024, dense K, with ReLU; pixels in [0, 1].

    A `width` other than 32 makes every layer but the last narrower or wider in proportion.

    Shape: images [N, H, W, C] -> logits [N, K].
    """
    def weights():
        return {"kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
                "bias_initializer": keras.initializers.Constant(0.1)}

    return keras.Sequential([
        layers.Input(input_shape),
        layers.Conv2D(width, 5, padding="same", activation="relu", name="conv1", **weights()),
        layers.MaxPooling2D(2, padding="same", name="pool1"),
        layers.Conv2D(2 * width, 5, padding="same", activation="relu", name="conv2", **weights()),
        layers.MaxPooling2D(2, padding="same", name="pool2"),
        layers.Flatten(name="flatten"),
        layers.Dense(32 * width, activation="relu", name="dense", **weights()),
        layers.Dense(num_classes, name="logits", **weights()),
    ], name="small_cnn")
