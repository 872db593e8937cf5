"""The networks of keras.applications with their preprocessing inside, so that ε and bounds are in the data's pixels.

Any of them is a builder here under Keras's own name, `applications.ResNet50V2(input_shape, num_classes)`.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from rar_tf import checks
from rar_tf.errors import UsageError, brief
from rar_tf.models import APPLICATIONS, PREPROCESSING
from rar_tf.models.conversion import converted

# ImageNet's mean (and deviation) in grey levels 0-255, in the order of the channels that a network is given.
_MEAN = {"caffe": (103.939, 116.779, 123.68), "torch": (123.675, 116.28, 103.53), "tf": (127.5,), "none": (0.0,)}
_DEVIATION = {"caffe": (1.0,), "torch": (58.395, 57.12, 57.375), "tf": (127.5,), "none": (1.0,)}


@keras.saving.register_keras_serializable("rar_tf")
class Preprocessing(layers.Layer):
    """What `keras.applications.*.preprocess_input` does, of pixels in any range: an affine map of each channel.

    Shape: images [N, H, W, C] in `bounds` -> [N, H, W, C]. tf: [-1, 1]; torch: [0, 1], standardised by ImageNet's means
    and deviations; caffe: BGR, 0-255 less ImageNet's means; none: 0-255, for networks that rescale pixels themselves.

    Args:
      mode: of `PREPROCESSING`.
      bounds: pixel range of the images.

    Raises: UsageError for an unknown mode, or torch and caffe with other than three channels.
    """

    def __init__(self, mode: str, bounds: tuple[float, float] = (0.0, 1.0), **settings):
        super().__init__(**settings)
        checks.one_of(PREPROCESSING, preprocessing=mode)
        checks.rising(bounds=bounds)
        self.mode, self.bounds = mode, (float(bounds[0]), float(bounds[1]))

    def build(self, input_shape):
        if len(_MEAN[self.mode]) not in (1, input_shape[-1]):
            raise UsageError(f"preprocessing {self.mode!r} is of three channels, not {input_shape[-1]}")

    def call(self, images):
        low, high = self.bounds
        mean, deviation = np.array(_MEAN[self.mode]), np.array(_DEVIATION[self.mode])
        scale = 255.0 / (high - low) / deviation
        offset = (-low * 255.0 / (high - low) - mean) / deviation
        if self.mode == "caffe":
            images = images[..., ::-1]
        return images * tf.constant(scale, images.dtype) + tf.constant(offset, images.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mode": self.mode, "bounds": self.bounds}


def with_preprocessing(network: keras.Model, mode: str, bounds: tuple[float, float]) -> keras.Model:
    """Return a network of preprocessed images as one of pixels in `bounds`, on the same weights.

    Raises: UsageError for an unknown mode, or a network without a known input.
    """
    if len(getattr(network, "inputs", None) or ()) != 1:
        raise UsageError("preprocessing can be put before functional and sequential Keras networks of one input only")
    images = layers.Input(network.inputs[0].shape[1:])
    return keras.Model(images, network(Preprocessing(mode, bounds, name="preprocessing")(images)), name=network.name)


def application(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    activation: str | None = None,
    activation_beta: float | None = None,
    pooling: str | None = None,
    stem: str | None = None,
    stem_epsilon: float | None = None,
) -> keras.Model:
    """Return a network of keras.applications with fresh weights and logits for outputs.

    Shape: images [N, H, W, C] in `bounds` -> logits [N, K].

    Args:
      activation and what follows: where given, the network is made smooth, see `conversion.converted`.

    Raises: UsageError for an image shape that Keras refuses for this network, and for what `converted` refuses.
    """
    smooth = {
        "activation": activation,
        "activation_beta": activation_beta,
        "pooling": pooling,
        "stem": stem,
        "stem_epsilon": stem_epsilon,
    }
    images = layers.Input(input_shape)
    given = Preprocessing(APPLICATIONS[name], bounds, name="preprocessing")(images)
    try:
        network = getattr(keras.applications, name)(
            weights=None, input_tensor=given, classes=num_classes, classifier_activation=None
        )
    except ValueError as error:
        raise UsageError(f"{name}: no network of images {tuple(input_shape)} ({brief(error)})") from error
    network = keras.Model(images, network.outputs[0], name=name)
    return converted(network, bounds, **{option: value for option, value in smooth.items() if value is not None})


def __getattr__(name: str):
    if name not in APPLICATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return functools.partial(application, name)
