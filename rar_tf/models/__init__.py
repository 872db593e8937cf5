"""The networks of the papers, by name; stub until the models wing lands."""

from rar_tf.registry import Registry

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
    },
)
ACTIVATIONS = ("relu", "softplus", "gelu", "silu")
POOLINGS = ("max", "average")


def build(name: str, input_shape: tuple[int, int, int], num_classes: int, **options):
    """Return the network of that name, freshly initialised."""
    return MODELS[name](input_shape, num_classes)
