"""The residual networks with batch norm: their convolutions, scale and second-order gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf import losses
from rar_tf.attributions.gradients import gradient
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.models.invariance import is_scale_invariant
from rar_tf.models.surrogate import softplus_surrogate
from rar_tf.models.wide_resnet import resnet_18, wide_resnet

IMAGES, LABELS = np.random.default_rng(0).uniform(size=(4, 16, 16, 3)).astype(np.float32), tf.constant([0, 1, 2, 3])


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


def test_an_attribution_of_one_image_does_not_depend_on_its_batch():
    network, images, labels = resnet_18((16, 16, 3), 4, width=2), tf.constant(IMAGES), LABELS
    together = integrated_gradients(Target(network, labels), images, steps=3)
    alone = integrated_gradients(Target(network, labels[1:2]), images[1:2], steps=3)
    np.testing.assert_allclose(alone[0], together[1], rtol=1e-4, atol=1e-7)


def test_wide_resnets_standardise_each_image():
    network = wide_resnet((16, 16, 3), 4, depth=10, width=1)
    assert is_scale_invariant(network)
    np.testing.assert_allclose(network(255 * IMAGES), network(IMAGES), rtol=1e-3, atol=1e-4)


def test_second_order_gradients_with_batch_norm_equal_finite_differences(float64):
    keras.utils.set_random_seed(0)
    network, images = resnet_18((16, 16, 3), 4, width=2), tf.constant(IMAGES, tf.float64)
    target = Target(softplus_surrogate(network, 5.0), LABELS, losses.cross_entropy)
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
