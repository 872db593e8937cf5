"""Counts of active rectifiers, by hand."""

import keras
import numpy as np
import pytest

from rar_tf.evaluation.activity import ActivityCounter

WEIGHTS = [np.array([[1.0, -1.0, 1.0], [0.0, 0.0, -1.0]]), np.zeros(3)]  # units x₀, −x₀, x₀ − x₁
IMAGES, PERTURBED = (
    np.array(rows, np.float32).reshape(2, 1, 2, 1) for rows in ([[1, 0.5], [1, 2]], [[1, 2], [-1, -2]])
)


def network(*rectifiers):
    layers = [keras.layers.Input((1, 2, 1)), keras.layers.Flatten()]
    for rectifier in rectifiers:
        layers += [keras.layers.Dense(3), rectifier]
    built = keras.Sequential([*layers, keras.layers.Dense(2)])
    built.layers[1].set_weights(WEIGHTS)
    return built


@pytest.mark.parametrize("rectifier", [keras.layers.ReLU(), keras.layers.LeakyReLU(), keras.layers.Activation("relu")])
def test_one_rectifier(rectifier):
    found = ActivityCounter.of(network(rectifier)).columns(IMAGES, PERTURBED)
    # Image 1: {x₀, x₀ − x₁} and {x₀}; image 2: {x₀} and {−x₀, x₀ − x₁}.
    expected = {"active": [2, 1], "active_perturbed": [1, 2], "active_both": [1, 0]}
    assert {name: list(values) for name, values in found.items()} == expected


def test_two_rectifiers():
    built = network(keras.layers.ReLU(), keras.layers.ReLU())
    built.layers[3].set_weights([np.eye(3), np.zeros(3)])  # active where those before are
    found = ActivityCounter.of(built).columns(IMAGES, PERTURBED)
    expected = {"active": [4, 2], "active_perturbed": [2, 4], "active_both": [2, 0]}
    assert {name: list(values) for name, values in found.items()} == expected


def test_layers_of_another_network_and_one_that_is_applied_twice():
    other = network(keras.layers.ReLU())
    own = keras.Sequential([keras.layers.Input((1, 2, 1)), *other.layers])
    expected = {"active": [2, 1], "active_perturbed": [1, 2], "active_both": [1, 0]}
    found = ActivityCounter.of(own).columns(IMAGES, PERTURBED)
    assert {name: list(values) for name, values in found.items()} == expected
    images, (flatten, dense, rectifier, last) = keras.layers.Input((1, 2, 1)), other.layers
    twice = keras.Model(images, last(rectifier(rectifier(dense(flatten(images))))))
    found = ActivityCounter.of(twice).columns(IMAGES, PERTURBED)
    assert {name: list(values / 2) for name, values in found.items()} == expected


def test_networks_inside_are_counted_and_layers_that_hide_rectifiers_are_not():
    inner = network(keras.layers.ReLU())
    features = keras.Model(inner.inputs, inner.layers[2].output, name="features")
    images = keras.layers.Input((1, 2, 1))
    hidden = keras.layers.Dense(3, activation=keras.layers.ReLU())
    nested = keras.Model(images, keras.layers.Dense(2)(hidden(features(images))))
    hidden.set_weights([np.eye(3), np.zeros(3)])
    found = ActivityCounter.of(nested).columns(IMAGES, PERTURBED)
    expected = {"active": [4, 2], "active_perturbed": [2, 4], "active_both": [2, 0]}
    assert {name: list(values) for name, values in found.items()} == expected
    wrapped = keras.layers.TimeDistributed(keras.layers.Dense(3, activation="relu"))
    layers = [images, wrapped, keras.layers.Flatten(), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(2)]
    assert ActivityCounter.of(keras.Sequential(layers)) is None


def test_networks_without_rectifiers_have_no_counter():
    assert ActivityCounter.of(network(keras.layers.Activation("softplus"))) is None
    assert ActivityCounter.of(lambda images: images) is None
