"""The small convolutional networks: their sizes, and where their options stand."""

from rar_tf import models


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
