"""Existing networks made smooth: the same weights, other activations and pools, files that can be read back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import export, models
from rar_tf.errors import UsageError
from rar_tf.models.pooling import with_exact_pooling
from rar_tf.models.surrogate import is_smooth, softplus_surrogate

IMAGES = tf.random.stateless_uniform([2, 8, 8, 1], [1, 2])


def network():
    keras.utils.set_random_seed(0)
    return models.build("tiny_cnn", (8, 8, 1), 3)


@pytest.mark.parametrize("pooling", ["average", "smooth_max"])
def test_it_is_the_network_that_the_options_build(pooling):
    old = network()
    built = models.build("tiny_cnn", (8, 8, 1), 3, activation="softplus", activation_beta=4.0, pooling=pooling)
    built.set_weights(old.get_weights())
    smooth = rar_tf.smoothed(old, 4.0, pooling=pooling)
    assert is_smooth(smooth) and not is_smooth(old)
    np.testing.assert_array_equal(smooth(IMAGES), built(IMAGES))


def test_it_has_weights_of_its_own():
    old = network()
    smooth = rar_tf.smoothed(old, 4.0, pooling="max")
    before = smooth(IMAGES)
    np.testing.assert_allclose(before, softplus_surrogate(old, 4.0)(IMAGES), rtol=1e-6)
    old.get_layer("logits").bias.assign_add(tf.ones(3))
    np.testing.assert_array_equal(smooth(IMAGES), before)


def test_a_stem_comes_first_and_files_hold_everything(tmp_path):
    old = keras.Sequential([keras.Input((8, 8, 1)), network(), keras.layers.Dense(3, "relu")])
    smooth = rar_tf.smoothed(old, stem="dark", stem_epsilon=51.0, bounds=(0, 255))
    images = 255 * IMAGES
    stretched = 255 * tf.nn.relu(images - 51) / (255 - 51)
    np.testing.assert_allclose(smooth(images), rar_tf.smoothed(old)(stretched), rtol=1e-5, atol=1e-4)
    smooth.save(tmp_path / "smooth.keras")
    np.testing.assert_array_equal(export.load_keras(tmp_path / "smooth.keras")(images), smooth(images))


def test_global_pools_and_paddings():
    images = keras.Input((7, 7, 1))
    hidden = keras.layers.MaxPooling2D(3, 2, padding="same")(keras.layers.Conv2D(4, 3)(images))
    old = keras.Model(images, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(hidden)))
    for each in (old, with_exact_pooling(old)):
        kinds = [type(layer).__name__ for layer in rar_tf.smoothed(each).layers]
        assert kinds == ["InputLayer", "Conv2D", "AveragePooling2D", "GlobalAveragePooling2D", "Dense"]


def test_what_cannot_be_is_refused():
    flat = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    for changes, message in (
        ({"beta": 0.0}, "beta must be positive"),
        ({"pooling": "other"}, "unknown pooling 'other'; known: max, average, smooth_max"),
        ({"stem": "other", "stem_epsilon": 0.1}, "unknown stem 'other'"),
        ({"stem": "dark"}, "needs a stem_epsilon"),
        ({"stem": "dark", "stem_epsilon": 2.0}, "stem_epsilon must be smaller than 1"),
    ):
        with pytest.raises(UsageError, match=message):
            rar_tf.smoothed(network(), **changes)
    with pytest.raises(UsageError, match="cannot be made smooth: no ReLU"):
        rar_tf.smoothed(flat)


def test_one_line_trains_an_existing_network():
    model = rar_tf.AlignAT(rar_tf.smoothed(network()), epsilon=0.05, steps=1)
    model.compile("adam")
    generator = np.random.default_rng(0)
    images, labels = generator.random((16, 8, 8, 1), np.float32), generator.integers(0, 3, 16)
    history = model.fit(images, labels, batch_size=8, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and history["attribution"][0] > 0
