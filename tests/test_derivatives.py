"""Second derivatives of layers where TensorFlow's own are wrong, against differences of the first ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from rar_tf import derivatives, export
from rar_tf.attributions.gradients import gradient

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.permutation(np.linspace(-1, 1, 288)).reshape(2, 6, 6, 4)  # no two of a window change places
TOWARDS, ALONG = RANDOM.uniform(-1, 1, (2, *IMAGES.shape))
KINDS = {
    "layer_normalization": layers.LayerNormalization,
    "over_all_features": lambda: layers.LayerNormalization(axis=(1, 2, 3)),
    "group_normalization": lambda: layers.GroupNormalization(2),
    "resizing": lambda: layers.Resizing(9, 4),
    "resizing_nearest": lambda: layers.Resizing(9, 4, interpolation="nearest"),
    "resizing_bicubic": lambda: layers.Resizing(9, 4, interpolation="bicubic"),
    "resizing_antialias": lambda: layers.Resizing(9, 4, antialias=True, dtype="float32"),
    "softsign": lambda: layers.Activation("softsign"),
    "up_sampling": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    **{
        f"max_pool_{size}": lambda size=size: layers.MaxPooling2D(size, strides=1, padding="same") for size in (2, 3, 4)
    },
    "max_pool_of_two_strides": lambda: layers.MaxPooling2D(2, strides=(1, 2), padding="same"),
    "max_pool_valid": lambda: layers.MaxPooling2D(3, strides=1),
}


def assert_second_derivatives_are_those_of_the_first(score, images):
    """Of a function of images [N, H, W, C] -> [N], eagerly and as a graph."""
    towards, along = (tf.cast(each, images.dtype) for each in (TOWARDS, ALONG))

    def first(images):
        return tf.reduce_sum(towards * gradient(score, images))

    def second(images):
        return tf.reduce_sum(along * gradient(lambda x: first(x)[None], images))

    step = 1e-3  # resizing is in float32
    wanted = (first(images + step * along) - first(images - step * along)) / (2 * step)
    for found in (second(images), tf.function(second, autograph=False)(images)):
        np.testing.assert_allclose(found, wanted, rtol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_are_those_of_the_first(kind, float64):
    layer = KINDS[kind]()
    weights = np.random.default_rng(1).normal(size=layer(IMAGES).shape)

    def score(images):
        return tf.reduce_sum(weights * tf.tanh(tf.cast(layer(tf.sin(images)), images.dtype)), [1, 2, 3])

    assert_second_derivatives_are_those_of_the_first(score, tf.constant(IMAGES))


def test_second_derivatives_of_exported_networks(tmp_path, seeded):
    kinds = [layers.Input(IMAGES.shape[1:]), layers.LayerNormalization(), layers.Activation("tanh"), layers.Flatten()]
    export.export_saved_model(keras.Sequential([*kinds, layers.Dense(2)]), tmp_path / "saved")
    network = export.SavedNetwork(tmp_path / "saved")
    assert_second_derivatives_are_those_of_the_first(lambda x: network(x)[:, 0], tf.constant(IMAGES, tf.float32))


def test_values_and_first_derivatives_are_tensorflow_s_own_of_a_batch_s_statistics_to_the_bit():
    images = tf.constant(IMAGES, tf.float32)

    def derived(moments, axes):
        def score(x):
            mean, variance = moments(x, axes, keepdims=True)
            return tf.reduce_sum(tf.sin((x - mean) * tf.math.rsqrt(variance + 1e-3)), [1, 2, 3])

        return score(images), gradient(score, images)

    for axes, tolerance in ((None, 0), ([0, 1, 2], 0), ([-1], 1e-6)):
        (value, slope), others = (derived(moments, axes) for moments in (derivatives.moments, derivatives._MOMENTS))
        np.testing.assert_array_equal(value, others[0])
        np.testing.assert_allclose(slope, others[1], rtol=0, atol=tolerance)


def test_two_uses_are_as_one():
    derivatives.mend()
    derivatives.mend()
    assert tf.nn.moments is derivatives.moments
    assert keras.ops.moments(np.float32([[1.0, 3.0]]), 1)[1] == 1.0
