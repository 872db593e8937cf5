"""The networks of the papers and of keras.applications, by name, and their choices; nothing here needs TensorFlow.

A builder takes an input shape and a number of classes and gives a Keras model with fresh weights. The choices change
neither the weights' shapes nor their initialisation.
"""

import functools
import importlib
import inspect

from rar_tf.errors import UsageError
from rar_tf.registry import Registry

PREPROCESSING = ("tf", "torch", "caffe", "none")
# The networks of keras.applications by Keras's names, and the preprocessing that each was trained with.
APPLICATIONS = {
    name: mode
    for mode, names in {
        "caffe": "ResNet50 ResNet101 ResNet152 VGG16 VGG19",
        "tf": "ResNet50V2 ResNet101V2 ResNet152V2 InceptionV3 InceptionResNetV2 Xception MobileNet MobileNetV2 "
        "NASNetLarge NASNetMobile",
        "torch": "DenseNet121 DenseNet169 DenseNet201",
        "none": "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge EfficientNetB0 EfficientNetB1 "
        "EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7 EfficientNetV2B0 "
        "EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2S EfficientNetV2M EfficientNetV2L "
        "MobileNetV3Small MobileNetV3Large",
    }.items()
    for name in names.split()
}
MODELS = Registry(
    "model",
    {
        "small_cnn": "rar_tf.models.cnn:small_cnn",
        "tiny_cnn": "rar_tf.models.cnn:tiny_cnn",
        "resnet_1": "rar_tf.models.resnet:resnet_1",
        "resnet_2": "rar_tf.models.resnet:resnet_2",
        "p2_cnn": "rar_tf.models.cnn:p2_cnn",
        "resnet_18": "rar_tf.models.wide_resnet:resnet_18",
        "wrn_28_10": "rar_tf.models.wide_resnet:wide_resnet",
        **{name: f"rar_tf.models.applications:{name}" for name in APPLICATIONS},
    },
)
ACTIVATIONS = Registry(
    "activation",
    {
        "relu": "rar_tf.models.activations:relu",
        "softplus": "rar_tf.models.activations:Softplus",
        "gelu": "rar_tf.models.activations:Gelu",
        "silu": "rar_tf.models.activations:Silu",
    },
)
POOLINGS = Registry(
    "pooling",
    {
        "max": "keras.layers:MaxPooling2D",
        "average": "keras.layers:AveragePooling2D",
        "smooth_max": "rar_tf.models.pooling:SmoothMaxPooling2D",
    },
)
STEMS = ("dark", "clipped")
INITIALIZERS = ("paper", "glorot")


def build(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    **options,
):
    """Return the network of that name, a `keras.Model`, freshly initialised.

    Args:
      bounds: pixel range of its images.
      options: keyword arguments of the builder. All networks have `activation`, of `ACTIVATIONS`, `activation_beta`,
        its inverse temperature and that of smooth pooling, and `pooling`, of `POOLINGS` (those of keras.applications:
        softplus alone); the small convolutional ones and those of keras.applications `stem`, of `STEMS`, and
        `stem_epsilon`; the small ones `feature_smoothing`, and the first of them `initializer`, of `INITIALIZERS`.

    Raises: UsageError for an unknown name or option.
    """
    builder = MODELS[name]
    known = list(inspect.signature(builder).parameters)[2:]
    if "bounds" in known:
        known.remove("bounds")
        builder = functools.partial(builder, bounds=bounds)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    return builder(input_shape, num_classes, **options)


def register_layers() -> None:
    """Make the layers and activations of this package known to Keras, so that it can read files that hold them."""
    for module in ("activations", "applications", "feature_smoothing", "pooling", "resnet", "stem"):
        importlib.import_module(f"{__name__}.{module}")
