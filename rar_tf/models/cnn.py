"""The small convolutional networks for 28×28 images (Madry et al. 2018; Chen et al. 2019; Wang and Kong 2022)."""

import functools

import keras
from keras import layers

from rar_tf import checks
from rar_tf.errors import UsageError
from rar_tf.models import ACTIVATIONS, INITIALIZERS, STEMS
from rar_tf.models.feature_smoothing import FeatureSmoothing
from rar_tf.models.pooling import pooling_kind
from rar_tf.models.stem import InputStem


def small_cnn(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    *,
    width: int = 32,
    activation: str = "relu",
    activation_beta: float = 1.0,
    pooling: str = "max",
    bounds: tuple[float, float] = (0.0, 1.0),
    stem: str | None = None,
    stem_epsilon: float | None = None,
    feature_smoothing: bool = False,
    initializer: str = "paper",
) -> keras.Model:
    """Return conv 5×5×32, pool, conv 5×5×64, pool, dense 1024, dense K; pixels in [0, 1].

    Shape: images [N, H, W, C] -> logits [N, K].

    Args:
      width: another one than 32 makes every layer but the last narrower or wider in proportion.
      activation, activation_beta: of `models.ACTIVATIONS`, and its inverse temperature.
      pooling: of `models.POOLINGS`; smooth_max has the activation's inverse temperature.
      stem, stem_epsilon: kind and ε of an `InputStem` before everything else; bounds: its pixel range.
      feature_smoothing: whether a `FeatureSmoothing` follows the first pool.
      initializer: paper is a truncated normal of deviation 0.1 and biases of 0.1, glorot is Keras's own: with it
        adversarial training at large budgets leaves the constant prediction thousands of steps earlier.

    Raises: UsageError for an unknown choice.
    """
    activate, pool = ACTIVATIONS[activation](activation_beta), pooling_kind(pooling, activation_beta)

    checks.one_of(INITIALIZERS, initializer=initializer)

    def weights():
        if initializer == "glorot":
            return {}
        return {
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
            "bias_initializer": keras.initializers.Constant(0.1),
        }

    return keras.Sequential(
        [
            layers.Input(input_shape),
            *_stem(stem, stem_epsilon, bounds),
            layers.Conv2D(width, 5, padding="same", activation=activate, name="conv1", **weights()),
            pool(2, padding="same", name="pool1"),
            *_smoothing(feature_smoothing),
            layers.Conv2D(2 * width, 5, padding="same", activation=activate, name="conv2", **weights()),
            pool(2, padding="same", name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(32 * width, activation=activate, name="dense", **weights()),
            layers.Dense(num_classes, name="logits", **weights()),
        ],
        name="small_cnn",
    )


tiny_cnn = functools.partial(small_cnn, width=8)


def p2_cnn(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    *,
    activation: str = "relu",
    activation_beta: float = 1.0,
    pooling: str = "max",
    bounds: tuple[float, float] = (0.0, 1.0),
    stem: str | None = None,
    stem_epsilon: float | None = None,
    feature_smoothing: bool = False,
) -> keras.Model:
    """Return the network of four convolutions and three dense layers that Wang and Kong (2022) train on 28×28 images.

    conv 3×3×32 twice, pool, conv 3×3×64 twice, pool, dense 200, dropout 0.5, dense 200, dense K, unpadded: the paper
    gives the number of layers, their sizes are those of Carlini and Wagner (2017) and Zhang et al. (2019).

    Shape: images [N, H, W, C] in [0, 1] -> logits [N, K].

    Args: as `small_cnn` has them.
    """
    activate, pool = ACTIVATIONS[activation](activation_beta), pooling_kind(pooling, activation_beta)

    def convolution(channels, name):
        return layers.Conv2D(channels, 3, activation=activate, kernel_initializer="he_normal", name=name)

    return keras.Sequential(
        [
            layers.Input(input_shape),
            *_stem(stem, stem_epsilon, bounds),
            convolution(32, "conv1"),
            convolution(32, "conv2"),
            pool(2, name="pool1"),
            *_smoothing(feature_smoothing),
            convolution(64, "conv3"),
            convolution(64, "conv4"),
            pool(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(200, activation=activate, kernel_initializer="he_normal", name="dense1"),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(200, activation=activate, kernel_initializer="he_normal", name="dense2"),
            layers.Dense(num_classes, name="logits"),
        ],
        name="p2_cnn",
    )


def _stem(kind, epsilon, bounds):
    if kind is None:
        if epsilon is not None:
            raise UsageError(f"stem_epsilon={epsilon:g} needs a stem: {' or '.join(STEMS)}")
        return []
    if epsilon is None:
        raise UsageError(f"stem {kind!r} needs a stem_epsilon, the budget that it is to withstand")
    return [InputStem(epsilon, kind, bounds, name="stem")]


def _smoothing(wanted):
    return [FeatureSmoothing(name="feature_smoothing")] if wanted else []
