"""The first affine layer apart from the rest: the same network, and the same path integrals to every order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from rar_tf import models
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.models.split import split_first_layer
from rar_tf.models.surrogate import softplus_surrogate

IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 12, 12, 2))
LABELS = tf.constant([0, 2, 1])


def convolutional(**first):
    return keras.Sequential(
        [
            layers.Input((12, 12, 2)),
            layers.Conv2D(4, 3, activation="relu", **first),
            layers.AveragePooling2D(2),
            layers.Conv2D(5, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def dense():
    images = layers.Input((12, 12, 2))
    hidden = layers.Dense(6, activation="relu")(layers.Flatten()(layers.Dense(3, activation="relu")(images)))
    return keras.Model(images, layers.Dense(3)(hidden))


NETWORKS = {
    "convolution": convolutional,
    "layers of another network": lambda: keras.Sequential([layers.Input((12, 12, 2)), *convolutional().layers]),
    "same padding, strides": lambda: convolutional(padding="same", strides=2),
    "no bias": lambda: convolutional(use_bias=False),
    "dense, functional": dense,
    "surrogate": lambda: softplus_surrogate(convolutional(padding="same"), 3.0),
    "surrogate of a functional one": lambda: softplus_surrogate(dense()),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("chunk", [None, 3])
def test_path_integrals_and_their_gradients_are_those_of_the_network(name, chunk, float64, seeded):
    network = NETWORKS[name]()
    split = split_first_layer(network)
    images = tf.constant(IMAGES)
    np.testing.assert_allclose(split.rest(split.affine(images)), network(images), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(split(images), network(images), rtol=1e-12, atol=1e-12)
    found = []
    for each in (network, split):
        with tf.GradientTape() as tape:
            tape.watch(images)
            maps = integrated_gradients(Target(each, LABELS), images, 0.1, steps=7, chunk=chunk)
            size = tf.reduce_sum(tf.square(maps))
        found.append((maps, tape.gradient(size, images)))
    for one, other in zip(*found):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


def test_it_follows_the_network_s_weights(seeded):
    network = convolutional()
    split = split_first_layer(network)
    network.set_weights([weight + 0.1 for weight in network.get_weights()])
    images = tf.constant(IMAGES, tf.float32)
    np.testing.assert_allclose(split.rest(split.affine(images)), network(images), rtol=1e-5, atol=1e-5)


def test_networks_that_do_not_begin_with_an_affine_layer_are_not_split():
    assert split_first_layer(convolutional(dilation_rate=2)) is None
    assert split_first_layer(models.build("resnet_1", (8, 8, 3), 3)) is None
    assert split_first_layer(lambda x, training=False: x) is None
    images = layers.Input((4, 4, 1))
    two_readers = keras.Model(images, layers.Add()([layers.Dense(2)(images), layers.Dense(2)(images)]))
    assert split_first_layer(two_readers) is None
    images, shared = layers.Input((4, 4, 1)), layers.Conv2D(1, 3, padding="same", activation="relu")
    assert split_first_layer(keras.Model(images, layers.Dense(2)(layers.Flatten()(shared(shared(images)))))) is None
