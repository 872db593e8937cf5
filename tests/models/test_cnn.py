"""The small convolutional networks: their sizes, and where their options stand."""

import numpy as np
import pytest

from rar_tf import models
from rar_tf.errors import UsageError


def kinds(network):
    return [type(layer).__name__ for layer in network.layers]


def test_p2_cnn_has_4_by_4_by_64_features():
    network = models.build("p2_cnn", (28, 28, 1), 10)
    assert network.get_layer("pool2").output.shape == (None, 4, 4, 64)
    assert kinds(network).count("Conv2D") == 4
    assert kinds(network).count("Dense") == 3


def test_options_stand_where_they_belong():
    network = models.build(
        "small_cnn", (28, 28, 1), 10, pooling="average", stem="dark", stem_epsilon=0.1, feature_smoothing=True
    )
    front = ["InputStem", "Conv2D", "AveragePooling2D", "FeatureSmoothing", "Conv2D", "AveragePooling2D"]
    assert kinds(network) == [*front, "Flatten", "Dense", "Dense"]
    assert kinds(models.build("small_cnn", (28, 28, 1), 10))[:3] == ["Conv2D", "MaxPooling2D", "Conv2D"]


def test_tiny_is_a_quarter_as_wide():
    network = models.build("tiny_cnn", (28, 28, 1), 10)
    assert [network.get_layer(name).output.shape[-1] for name in ("conv1", "conv2", "dense")] == [8, 16, 256]


@pytest.mark.parametrize("name", ["small_cnn", "tiny_cnn"])
def test_initial_weights_are_the_papers_or_glorots(name, seeded):
    for options in ({}, {"initializer": "paper"}):
        for kernel, bias in affine(models.build(name, (28, 28, 1), 10, **options)):
            assert np.all(bias == 0.1)
            # A normal law of deviation 0.1, cut at twice that, has a deviation of 0.088.
            assert np.max(np.abs(kernel)) <= 0.2 and np.std(kernel) == pytest.approx(0.088, rel=0.1)
    for kernel, bias in affine(models.build(name, (28, 28, 1), 10, initializer="glorot")):
        assert np.all(bias == 0)
        *receptive, inputs, outputs = kernel.shape
        limit = np.sqrt(6 / (np.prod(receptive) * (inputs + outputs)))
        # Uniform between ±limit, which has a deviation of limit/√3.
        assert np.max(np.abs(kernel)) <= limit and np.std(kernel) == pytest.approx(limit / np.sqrt(3), rel=0.1)
    with pytest.raises(UsageError, match="unknown initializer 'he'; known: paper, glorot"):
        models.build(name, (28, 28, 1), 10, initializer="he")


def affine(network):
    """Kernel and bias of each convolution and dense layer."""
    return [layer.get_weights() for layer in network.layers if layer.weights]
