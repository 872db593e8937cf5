"""Clones of networks, and networks that compute something else than their graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import rar_tf
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.errors import UsageError
from rar_tf.evaluation.activity import ActivityCounter
from rar_tf.evaluation.subject import Subject
from rar_tf.models.pooling import with_exact_pooling
from rar_tf.models.split import split_first_layer
from rar_tf.models.surrogate import is_smooth, softplus_surrogate

IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 6, 6, 2)).astype(np.float32)


class Standardised(layers.Layer):
    """A convolution of images that a layer inside of it standardises."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.statistics, self.convolution = layers.Normalization(), layers.Conv2D(3, 3)

    def call(self, images):
        return self.convolution(self.statistics(images))


def ending(*first, kind=keras.Sequential):
    """Return a network that begins with these layers."""
    pooled = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(3)]
    return kind([layers.Input((6, 6, 2)), *first, *pooled])


@pytest.mark.parametrize("inside", ["layer", "pipeline", "network"])
def test_clones_standardise_images_as_the_network_wherever_the_layer_stands(inside, seeded):
    if inside == "layer":
        first = Standardised()
        statistics = first.statistics
    else:
        statistics = layers.Normalization()
        first = (layers.Pipeline if inside == "pipeline" else keras.Sequential)([statistics, layers.Rescaling(2.0)])
    network = ending(first)
    statistics.adapt(IMAGES)
    exact, smooth = with_exact_pooling(network), softplus_surrogate(network, 1e4, smooth_pooling=True)
    np.testing.assert_allclose(exact(IMAGES), network(IMAGES), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(smooth(IMAGES), network(IMAGES), atol=1e-2)
    np.testing.assert_allclose(rar_tf.smoothed(network, 1e4, pooling="max")(IMAGES), network(IMAGES), atol=1e-2)


class Doubling(keras.Sequential):
    def call(self, images, training=None, mask=None):
        return super().call(2 * images, training=training)


class Functional(keras.Model):
    def __init__(self):
        images = layers.Input((6, 6, 2))
        super().__init__(images, ending()(images))

    def call(self, images, training=None, mask=None):
        return super().call(2 * images, training=training)


class Trained(keras.Sequential):
    """A network that is a Sequential one but for its training."""

    def train_step(self, data):
        return {}


@pytest.mark.parametrize("make", [lambda: ending(kind=Doubling), Functional, lambda: ending(Doubling([layers.ReLU()]))])
def test_networks_with_a_call_of_their_own_are_not_taken_apart(make):
    network = make()
    assert split_first_layer(network) is None
    for clone in (softplus_surrogate, rar_tf.smoothed, with_exact_pooling):
        with pytest.raises(UsageError, match="has a `call` of its own"):
            clone(network)
    assert is_smooth(network) is False  # it has a ReLU
    smooth = Doubling([layers.Input((6, 6, 2)), layers.Flatten(), layers.Dense(3, activation="softplus")])
    assert is_smooth(smooth) is None
    assert ActivityCounter.of(ending(kind=Doubling)) is None


def test_maps_of_such_networks_are_their_own(seeded):
    network, labels = ending(kind=Doubling), tf.constant([0, 1, 2])
    explained = (Subject(network).explained, lambda images, training=False: network(images))
    maps = [integrated_gradients(Target(each, labels), tf.constant(IMAGES), steps=5) for each in explained]
    np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-6)


def test_a_train_step_of_its_own_changes_nothing():
    network = ending(kind=Trained)
    assert split_first_layer(network) is not None and ActivityCounter.of(network) is not None
    softplus_surrogate(network)
