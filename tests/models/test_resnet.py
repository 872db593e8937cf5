"""The residual networks without batch norm: their standardisation, their sizes and their leaky activations."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import models
from rar_tf.models.resnet import PerImageStandardization


def test_standardisation_is_tensorflows_with_finite_gradients_of_flat_images():
    images = tf.random.stateless_uniform([3, 5, 6, 2], [1, 2], 0, 255) * tf.constant(
        [1.0, 0.001, 0.0], shape=[3, 1, 1, 1]
    )
    layer = PerImageStandardization()
    direction = tf.random.stateless_normal(images.shape, [3, 4])
    found = []
    for function in (layer, tf.image.per_image_standardization):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = function(images)
            total = tf.reduce_sum(direction * value)
        found.append((value, tape.gradient(total, images)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    for image in (0, 1):
        np.testing.assert_allclose(found[0][1][image], found[1][1][image], rtol=1e-3, atol=1e-4)
    assert np.all(np.isfinite(found[0][1]))


@pytest.mark.parametrize("name, units", [("resnet_1", 1), ("resnet_2", 2)])
def test_units_a_stage(name, units):
    network = models.build(name, (16, 16, 3), 5)
    convolutions = [layer for layer in network.layers if "_conv" in layer.name and layer.name.startswith("unit")]
    assert len(convolutions) == 3 * 2 * units and network.name == name


def test_activations_leak_a_tenth():
    rectified, smooth = (
        models.build("resnet_1", (16, 16, 3), 5, activation=each, activation_beta=2.0) for each in ("relu", "softplus")
    )
    x = tf.constant([[-3.0, 0.5]])
    np.testing.assert_allclose(rectified.get_layer("final_activation")(x), [[-0.3, 0.5]], rtol=1e-6)
    expected = 0.1 * x + 0.9 * np.log1p(np.exp(2 * x)) / 2
    np.testing.assert_allclose(smooth.get_layer("final_activation")(x), expected, rtol=1e-5)
