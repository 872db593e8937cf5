"""The networks with batch norm and dropout: their sizes, surrogates and second-order gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf import losses, models, objectives
from rar_tf.attributions.gradients import gradient
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target, is_scale_invariant
from rar_tf.errors import UsageError
from rar_tf.models.surrogate import softplus_surrogate
from rar_tf.models.wide_resnet import resnet_18, wide_resnet

# Small versions of the networks with batch norm or dropout, and a shape of images each.
SMALL = {
    "resnet_18": (lambda: resnet_18((16, 16, 3), 4, width=2), (16, 16, 3)),
    "wrn": (lambda: wide_resnet((16, 16, 3), 4, depth=10, width=1), (16, 16, 3)),
    "p2_cnn": (lambda: models.build("p2_cnn", (28, 28, 1), 4), (28, 28, 1)),
}


def data(shape, count=4):
    generator = np.random.default_rng(0)
    return tf.constant(generator.uniform(size=(count, *shape)), tf.float32), tf.constant([0, 1, 2, 3][:count], tf.int64)


def trainable(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


@pytest.mark.parametrize(
    "name, shape, parameters",
    [("resnet_18", (32, 32, 3), 11_173_962), ("wrn_28_10", (32, 32, 3), 36_479_194), ("p2_cnn", (28, 28, 1), 312_202)],
)
def test_the_number_of_parameters_is_the_published_one(name, shape, parameters):
    network = models.build(name, shape, 10)
    assert trainable(network) == parameters
    assert network.output_shape == (None, 10)


def test_p2_cnn_has_4_by_4_by_64_features():
    network = models.build("p2_cnn", (28, 28, 1), 10)
    assert network.get_layer("pool2").output.shape == (None, 4, 4, 64)
    assert [type(layer).__name__ for layer in network.layers].count("Conv2D") == 4
    assert [type(layer).__name__ for layer in network.layers].count("Dense") == 3


def test_strided_convolutions_see_the_same_pixels_as_the_originals():
    # Padded by one pixel on both sides, output (i, j) is centred at pixel (2i, 2j).
    network = resnet_18((8, 8, 1), 3, width=1)
    pad, convolution = network.get_layer("block_2_0_conv1_pad"), network.get_layer("block_2_0_conv1")
    kernel = np.zeros(convolution.kernel.shape, np.float32)
    kernel[1, 1, 0, 0] = 1
    convolution.set_weights([kernel])
    image = tf.reshape(tf.range(64.0), (1, 8, 8, 1))
    np.testing.assert_array_equal(convolution(pad(image))[0, :, :, 0], image[0, ::2, ::2, 0])


def test_shortcuts_that_leave_pixels_out_first_equal_strided_convolutions(seeded):
    network = resnet_18((8, 8, 1), 3, width=2)
    subsample, convolution = network.get_layer("block_2_0_shortcut_subsample"), network.get_layer("block_2_0_shortcut")
    images = tf.random.stateless_normal([2, 8, 8, 2], [1, 2])
    expected = tf.nn.conv2d(images, convolution.kernel.value, strides=2, padding="VALID")
    np.testing.assert_allclose(convolution(subsample(images)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_attributions_and_attacks_leave_batch_statistics_alone_and_training_moves_them(name):
    build, shape = SMALL[name]
    network = build()
    images, labels = data(shape)
    model = objectives.IGRTRADES(network, epsilon=0.1, steps=2, ig_steps=2, attack_ig_steps=1)
    model.compile("sgd")
    before = [variable.numpy() for variable in network.non_trainable_variables]
    target = Target(network, labels)
    first = integrated_gradients(target, images, steps=2)
    perturbed = model.perturb(images, labels, model.start(images, tf.constant(0, tf.int64)))
    np.testing.assert_array_equal(integrated_gradients(target, images, steps=2), first)
    for variable, value in zip(network.non_trainable_variables, before):
        np.testing.assert_array_equal(variable, value)
    model.minimise(images, perturbed, labels)
    moved = [not np.array_equal(variable, value) for variable, value in zip(network.non_trainable_variables, before)]
    assert all(moved)


def test_an_attribution_of_one_image_does_not_depend_on_its_batch():
    network = SMALL["resnet_18"][0]()
    images, labels = data((16, 16, 3))
    together = integrated_gradients(Target(network, labels), images, steps=3)
    alone = integrated_gradients(Target(network, labels[1:2]), images[1:2], steps=3)
    np.testing.assert_allclose(alone[0], together[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", SMALL)
def test_softplus_surrogates_share_weights_and_approach_the_network(name):
    build, shape = SMALL[name]
    network = build()
    images, _ = data(shape)
    network(images, training=True)  # batch statistics that are not the initial ones
    logits = network(images)
    for variable in network.trainable_variables:
        variable.assign(1.1 * variable)
    changed = network(images)
    assert np.max(np.abs(changed - logits)) > 1e-4
    distances = [np.max(np.abs(softplus_surrogate(network, beta)(images) - changed)) for beta in (10.0, 1e5)]
    assert distances[1] < 1e-3 < distances[0]


def test_wide_resnets_standardise_each_image():
    network = SMALL["wrn"][0]()
    assert is_scale_invariant(network)
    images, _ = data((16, 16, 3))
    np.testing.assert_allclose(network(255 * images), network(images), rtol=1e-3, atol=1e-4)


def test_second_order_gradients_with_batch_norm_equal_finite_differences(float64):
    build, shape = SMALL["resnet_18"]
    keras.utils.set_random_seed(0)
    network = build()
    images, labels = (tf.cast(each, kind) for each, kind in zip(data(shape), (tf.float64, tf.int64)))
    target = Target(softplus_surrogate(network, 5.0), labels, losses.cross_entropy)
    direction = np.random.default_rng(1).normal(size=images.shape)

    def slope(x):
        return tf.reduce_sum(tf.square(gradient(target, x)))

    with tf.GradientTape() as tape:
        tape.watch(images)
        value = slope(images)
    found = float(tf.reduce_sum(tape.gradient(value, images) * direction))
    h = 1e-6
    expected = float(slope(images + h * direction) - slope(images - h * direction)) / (2 * h)
    assert abs(found) > 1e-8
    assert found == pytest.approx(expected, rel=1e-5)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="unknown model 'other'; known: small_cnn"):
        models.build("other", (28, 28, 1), 10)
