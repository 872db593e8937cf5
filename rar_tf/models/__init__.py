"""The networks of the papers, by name: each builder takes an input shape and a number of classes."""

from collections.abc import Callable

import keras

from rar_tf import checks
from rar_tf.models.cnn import p2_cnn, small_cnn
from rar_tf.models.resnet import resnet
from rar_tf.models.wide_resnet import resnet_18, wide_resnet

BUILDERS: dict[str, Callable[[tuple[int, int, int], int], keras.Model]] = {
    "small_cnn": small_cnn,
    "tiny_cnn": lambda shape, classes: small_cnn(shape, classes, width=8),
    "resnet_1": lambda shape, classes: resnet(shape, classes, units=1),
    "resnet_2": lambda shape, classes: resnet(shape, classes, units=2),
    "p2_cnn": p2_cnn,
    "resnet_18": resnet_18,
    "wrn_28_10": wide_resnet,
}


def build(name: str, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Return the network of that name, freshly initialised. Raises: UsageError for an unknown name."""
    checks.one_of(BUILDERS, model=name)
    return BUILDERS[name](input_shape, num_classes)
