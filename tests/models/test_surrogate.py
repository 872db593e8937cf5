"""Softplus surrogates of any Keras network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import models
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.certification.lipschitz import gradient_bound
from rar_tf.errors import UsageError
from rar_tf.evaluation.activity import ActivityCounter
from rar_tf.models.pooling import with_exact_pooling
from rar_tf.models.split import split_first_layer
from rar_tf.models.stem import InputStem
from rar_tf.models.surrogate import is_smooth, softplus_surrogate, without_dead_zones

IMAGES = tf.random.stateless_uniform([2, 8, 8, 3], [1, 2])


def dense_network(*activations):
    layers = [keras.layers.Input((8, 8, 3)), keras.layers.Flatten()]
    for activation in activations:
        layers += (
            [keras.layers.Dense(5), activation]
            if isinstance(activation, keras.layers.Layer)
            else [keras.layers.Dense(5, activation=activation)]
        )
    return keras.Sequential([*layers, keras.layers.Dense(3)])


@pytest.mark.parametrize(
    "activation,slope",
    [
        ("relu", 0),
        (keras.layers.ReLU(), 0),
        (keras.layers.LeakyReLU(0.1), 0.1),
        (keras.layers.Activation("relu"), 0),
        ("leaky_relu", 0.2),
        (tf.nn.relu, 0),
        (tf.nn.leaky_relu, 0.2),
    ],
)
def test_every_kind_of_rectifier_becomes_softplus(activation, slope):
    network = dense_network(activation)
    first, last = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    before = tf.reshape(IMAGES, [2, -1]) @ first.kernel + first.bias
    smooth = slope * before + (1 - slope) * tf.math.softplus(2 * before) / 2
    np.testing.assert_allclose(softplus_surrogate(network, 2.0)(IMAGES), smooth @ last.kernel + last.bias, rtol=1e-5)


@pytest.mark.parametrize("rectifier", [keras.layers.ReLU(max_value=0.1), keras.layers.LeakyReLU(0.1), tf.nn.relu6])
def test_a_rectifier_that_is_a_layer_s_activation(rectifier, seeded):
    layers = [keras.layers.Flatten(), keras.layers.Dense(5, activation=rectifier), keras.layers.Dense(3)]
    network = keras.Sequential([keras.layers.Input((8, 8, 3)), *layers])
    np.testing.assert_allclose(softplus_surrogate(network, 1000.0)(IMAGES), network(IMAGES), atol=1e-2)
    assert np.abs(softplus_surrogate(network, 1.0)(IMAGES) - network(IMAGES)).max() > 1e-2
    assert ActivityCounter.of(network).columns(IMAGES.numpy(), IMAGES.numpy())["active"].any()
    assert gradient_bound(network) > 0


def test_it_nears_the_network_as_beta_grows():
    ceiling = keras.layers.ReLU(max_value=0.1, negative_slope=0.2)
    network = dense_network("relu", keras.layers.ReLU(max_value=6.0), "relu6", ceiling)
    gaps = [np.abs(softplus_surrogate(network, beta)(IMAGES) - network(IMAGES)).max() for beta in (1, 10, 1000)]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-2


def test_weights_are_shared_for_good():
    network = models.build("tiny_cnn", (28, 28, 1), 10)
    images = tf.random.stateless_uniform([2, 28, 28, 1], [1, 2])
    surrogate = softplus_surrogate(network)
    before = surrogate(images)
    network.get_layer("logits").bias.assign_add(tf.ones(10))
    np.testing.assert_allclose(surrogate(images), before + 1, rtol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(surrogate(images) ** 2)
    assert all(gradient is not None for gradient in tape.gradient(loss, network.trainable_variables))


def test_nested_networks_and_batch_norm():
    inner = dense_network("relu")
    outer = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.BatchNormalization(), inner])
    outer.layers[0].moving_mean.assign([0.3, 0.2, 0.1])
    gap = np.abs(softplus_surrogate(outer, 1000.0)(IMAGES) - outer(IMAGES)).max()
    assert gap < 1e-2


def test_copies_of_a_network_standardise_as_it_does():
    normalization = keras.layers.Normalization()
    normalization.adapt(5 * IMAGES.numpy() + 3)
    layers = [keras.layers.MaxPooling2D(), keras.layers.Flatten(), keras.layers.Dense(5, "relu"), keras.layers.Dense(3)]
    network = keras.Sequential([keras.layers.Input((8, 8, 3)), normalization, *layers])
    for copy in (
        softplus_surrogate(network, 1000.0),
        rar_tf.smoothed(network, 1000.0, pooling="max"),
        with_exact_pooling(network),
    ):
        np.testing.assert_allclose(copy(IMAGES), network(IMAGES), atol=1e-2)


def test_smooth_pooling_on_demand(seeded):
    network = keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(3, 2),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(3),
        ]
    )
    hard, smooth = (softplus_surrogate(network, 1000.0, smooth_pooling=choice) for choice in (False, True))
    kinds = [[type(layer).__name__ for layer in each.clone.layers] for each in (hard, smooth)]
    assert kinds[0] == ["Conv2D", "MaxPooling2D", "GlobalMaxPooling2D", "Dense"]
    assert kinds[1] == ["Conv2D", "SmoothMaxPooling2D", "SmoothGlobalMaxPooling2D", "Dense"]
    np.testing.assert_allclose(smooth(IMAGES), network(IMAGES), atol=2e-2)
    assert np.abs(softplus_surrogate(network, 1.0, smooth_pooling=True)(IMAGES) - network(IMAGES)).max() > 0.1


def test_networks_without_a_surrogate():
    with pytest.raises(UsageError, match="no ReLU or leaky ReLU was found"):
        softplus_surrogate(dense_network("gelu"))
    with pytest.raises(UsageError, match="threshold"):
        softplus_surrogate(dense_network(keras.layers.ReLU(threshold=1.0)))
    with pytest.raises(UsageError, match="must be positive"):
        softplus_surrogate(dense_network("relu"), 0.0)

    class Subclassed(keras.Model):
        def call(self, images):
            return images

    with pytest.raises(UsageError, match="cannot be cloned"):
        softplus_surrogate(Subclassed())


@pytest.mark.parametrize("kind", models.STEMS)
@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_stand_ins_see_out_of_the_dead_zone_of_a_stem(kind, activation):
    options = {"activation": activation, "pooling": "average", "stem": kind, "stem_epsilon": 0.2}
    network = models.build("tiny_cnn", (12, 12, 1), 3, **options)
    images = tf.random.stateless_uniform([2, 12, 12, 1], [1, 2], 0.0, 0.199)

    def slopes(of):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(of(images)[:, 0])
        return tape.gradient(total, images).numpy()

    climbed = without_dead_zones(network)
    assert not slopes(network).any()
    assert slopes(climbed).all() and slopes(softplus_surrogate(network, 10.0)).all()
    for place in (images, images * 4):
        np.testing.assert_allclose(climbed(place), network(place), rtol=1e-5, atol=1e-6)
    for seeing in (models.build("tiny_cnn", (12, 12, 1), 3), climbed.stand_in.clone):
        assert without_dead_zones(seeing) is seeing


def test_a_stem_that_no_clone_reaches_is_no_silent_dead_zone():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.stem, self.head = InputStem(0.2), keras.layers.Dense(3)

        def call(self, images):
            return self.head(self.stem(images))

    network = Subclassed()
    network(tf.zeros((1, 4, 4, 1)))
    with pytest.raises(UsageError, match="input stem cannot be made smooth: it cannot be cloned"):
        without_dead_zones(network)

    @keras.saving.register_keras_serializable("tests")
    class Wrapped(keras.layers.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.stem = InputStem(0.2)

        def call(self, images):
            return self.stem(images)

    network = keras.Sequential(
        [keras.layers.Input((4, 4, 1)), Wrapped(), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    with pytest.raises(UsageError, match="input stem cannot be made smooth: no input stem was found"):
        without_dead_zones(network)


@pytest.mark.parametrize(
    "name, options, activations, everything",
    [
        ("tiny_cnn", {}, False, False),
        ("tiny_cnn", {"activation": "softplus"}, True, False),
        ("tiny_cnn", {"activation": "softplus", "pooling": "average"}, True, True),
        ("tiny_cnn", {"pooling": "average"}, False, False),
        ("p2_cnn", {"activation": "silu", "pooling": "average", "stem": "dark", "stem_epsilon": 0.1}, False, False),
        ("p2_cnn", {"activation": "gelu", "pooling": "average", "feature_smoothing": True}, True, True),
        ("resnet_1", {}, False, False),
        ("resnet_1", {"activation": "gelu"}, True, True),
    ],
)
def test_smooth_networks_are_known(name, options, activations, everything):
    network = models.build(name, (28, 28, 1), 10, **options)
    assert is_smooth(network, pooling=False) is activations
    assert is_smooth(network) is everything


def test_smoothness_of_other_networks():
    class Subclassed(keras.Model):
        def call(self, images):
            return images

    class Own(keras.layers.Layer):
        def call(self, images):
            return tf.nn.relu(images)

    images = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(images)
    assert is_smooth(lambda images: images) is None
    assert is_smooth(Subclassed()) is None
    assert is_smooth(dense_network(Own())) is None
    assert is_smooth(dense_network(lambda x: x)) is None
    assert is_smooth(dense_network(Own(), "relu")) is False  # one kink is enough to know
    assert is_smooth(dense_network("tanh", "sigmoid", "elu")) is False
    assert is_smooth(dense_network("tanh", "softplus", keras.layers.Activation("silu"))) is True
    assert is_smooth(dense_network(keras.layers.PReLU())) is False
    assert is_smooth(keras.Model(images, keras.ops.tanh(flat))) is True
    assert is_smooth(keras.Model(images, keras.ops.relu(flat))) is False
    assert is_smooth(keras.Model(images, keras.ops.maximum(flat, 0.0))) is False
    assert is_smooth(keras.Sequential([images, dense_network("relu")])) is False
    assert is_smooth(keras.Sequential([images, dense_network("gelu")])) is True
    assert is_smooth(keras.Sequential([images, keras.layers.Lambda(tf.nn.relu)])) is None


def test_surrogates_are_smooth_but_for_max_pooling_that_is_left():
    network = models.build("tiny_cnn", (28, 28, 1), 10)
    assert is_smooth(softplus_surrogate(network)) is False
    assert is_smooth(softplus_surrogate(network), pooling=False) is True
    assert is_smooth(softplus_surrogate(network, smooth_pooling=True)) is True


def test_art_takes_the_gradients_of_smooth_networks_themselves():
    smooth, rectified = dense_network("softplus"), dense_network("relu")
    assert rar_tf.ART(smooth).smooth is smooth
    assert rar_tf.ART(rectified).smooth is not rectified
    assert rar_tf.ART(rectified, softplus_beta=0.0).smooth is rectified


@pytest.mark.parametrize(
    "rectifier",
    [
        keras.ops.relu,
        keras.ops.relu6,
        lambda values: keras.ops.leaky_relu(values, negative_slope=0.3),
        keras.activations.relu,
        lambda values: keras.activations.relu(values, negative_slope=0.1, max_value=1.0),
    ],
)
def test_rectifiers_that_are_operations_are_replaced_and_counted(rectifier, seeded):
    images = keras.layers.Input((8, 8, 3))
    hidden = rectifier(10 * keras.layers.Dense(5)(keras.layers.Flatten()(images)))
    network = keras.Model(images, keras.layers.Dense(3)(keras.layers.Dense(4, activation="relu")(hidden)))
    surrogate = softplus_surrogate(network, 1e4)
    assert is_smooth(surrogate) and not is_smooth(network)
    np.testing.assert_allclose(surrogate(IMAGES), network(IMAGES), atol=1e-3)
    before, after = (keras.Model(images, each)(IMAGES).numpy() for each in (hidden, network.layers[-1].input))
    count = ActivityCounter.of(network).columns(IMAGES, IMAGES)["active"]
    np.testing.assert_array_equal(count, (before > 0).sum(1) + (after > 0).sum(1))


def test_an_operation_with_a_threshold_has_no_surrogate():
    images = keras.layers.Input((8, 8, 3))
    hidden = keras.activations.relu(keras.layers.Flatten()(images), threshold=0.5)
    with pytest.raises(UsageError, match="threshold"):
        softplus_surrogate(keras.Model(images, keras.layers.Dense(3)(hidden)))


def test_layers_may_be_frozen_later(seeded):
    network = models.build("tiny_cnn", (8, 8, 3), 3)
    surrogate, labels = softplus_surrogate(network, 2.0), tf.constant([0, 1])
    split = split_first_layer(surrogate), split_first_layer(network)
    before = surrogate(IMAGES), *(each.rest(each.affine(IMAGES)) for each in split)
    maps = integrated_gradients(Target(surrogate, labels), IMAGES, steps=4, chunk=2)
    network.layers[1].trainable = False
    after = surrogate(IMAGES), *(each.rest(each.affine(IMAGES)) for each in split)
    for one, other in zip(before, after):
        np.testing.assert_array_equal(one, other)
    again = integrated_gradients(Target(surrogate, labels), IMAGES, steps=4, chunk=2)
    np.testing.assert_array_equal(maps, again)


def test_training_leaves_layers_as_they_are_that_are_frozen_later(seeded):
    network = dense_network("relu")
    model = rar_tf.ART(network, epsilon=0.1, steps=1, bounds=(0, 1))
    first, last = network.layers[1], network.layers[2]
    first.trainable = False
    before = [layer.get_weights()[0] for layer in (first, last)]
    model.compile("adam")
    model.fit(IMAGES, np.array([0, 1]), verbose=0)
    np.testing.assert_array_equal(first.get_weights()[0], before[0])
    assert not np.array_equal(last.get_weights()[0], before[1])


def test_a_kernel_with_lora_is_left_in_its_layer():
    network = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
    network.layers[0].enable_lora(2)
    assert split_first_layer(network) is None
