"""Feature-map smoothing: the Gaussian by scipy, the block by hand, gradients, files, bfloat16."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from rar_tf.errors import UsageError
from rar_tf.models.feature_smoothing import FeatureSmoothing
from rar_tf.models.precision import set_compute_dtype


def block(shape, size=3, seed=0):
    """A block and its 1×1 kernel [C, C] and bias [C]."""
    layer = FeatureSmoothing(size)
    layer.build((None, *shape))
    generator = np.random.default_rng(seed)
    weights = [generator.normal(size=variable.shape) for variable in layer.weights]
    layer.set_weights(weights)
    return layer, weights[0][0, 0], weights[1]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_values_are_those_of_scipys_gaussian(float64, size):
    shape = (7, 9, 2)
    layer, kernel, bias = block(shape, size)
    features = np.random.default_rng(1).normal(size=(2, *shape))
    sigma = 0.3 * ((9 - 1) / 2 - 1) + 0.8
    smoothed = ndimage.gaussian_filter(features, sigma, axes=(1, 2), radius=size // 2, mode="mirror")
    np.testing.assert_allclose(layer(features), features + smoothed @ kernel + bias, rtol=1e-10)


def test_constant_maps_pass_the_gaussian():
    layer, kernel, bias = block((6, 6, 3))
    constant = tf.ones([1, 6, 6, 3]) * [1.0, -2.0, 3.0]
    expected = constant + np.array([1.0, -2.0, 3.0]) @ kernel + bias
    np.testing.assert_allclose(layer(constant), expected, rtol=1e-5)


def test_second_order_gradients_equal_differences(float64):
    layer, _, _ = block((5, 5, 2))
    generator = np.random.default_rng(2)
    features, direction = (tf.constant(generator.normal(size=[1, 5, 5, 2])) for _ in range(2))

    def slope(step):
        moved = features + step * direction
        with tf.GradientTape() as outer:
            outer.watch(moved)
            with tf.GradientTape() as inner:
                inner.watch(moved)
                value = tf.reduce_sum(layer(moved) ** 3)
            along = tf.reduce_sum(direction * inner.gradient(value, moved))
        return along, tf.reduce_sum(direction * outer.gradient(along, moved))

    h = 1e-5
    np.testing.assert_allclose(slope(0.0)[1], (slope(h)[0] - slope(-h)[0]) / (2 * h), rtol=1e-7)


def test_files_and_clones(tmp_path):
    network = keras.Sequential([keras.layers.Input((6, 6, 2)), FeatureSmoothing(5)])
    network.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(network)
    clone.set_weights(network.get_weights())
    x = tf.random.stateless_normal([2, 6, 6, 2], [1, 2])
    for other in (keras.saving.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_array_equal(other(x), network(x))


def test_its_products_may_be_bfloat16():
    network = keras.Sequential(
        [keras.layers.Input((6, 6, 2)), FeatureSmoothing(), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    x = tf.random.stateless_normal([2, 6, 6, 2], [1, 2])
    before = network(x)
    set_compute_dtype(network, "bfloat16")
    gap = np.abs(network(x) - before).max()
    assert network(x).dtype == tf.float32 and 0 < gap < 0.05


@pytest.mark.parametrize(
    "size, shape, message", [(4, (8, 8, 1), "must be odd, got 4"), (5, (2, 8, 1), "needs larger maps than 2×8")]
)
def test_what_cannot_be_is_refused(size, shape, message):
    with pytest.raises(UsageError, match=message):
        FeatureSmoothing(size).build((None, *shape))
