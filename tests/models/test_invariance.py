"""Networks that declare that they do not see the scale of their images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf import models
from rar_tf.models.invariance import is_scale_invariant
from rar_tf.models.surrogate import softplus_surrogate


@pytest.fixture
def network(seeded):
    return models.build("resnet_1", (16, 16, 3), 5)


def test_the_residual_networks_declare_it_and_have_it(network):
    images = tf.random.stateless_uniform([2, 16, 16, 3], [1, 1], 0, 255)
    assert is_scale_invariant(network) and is_scale_invariant(softplus_surrogate(network))
    np.testing.assert_allclose(network(0.3 * images), network(images), atol=1e-4)


def test_other_networks_do_not_declare_it():
    assert not is_scale_invariant(models.build("tiny_cnn", (28, 28, 1), 10))
    assert not is_scale_invariant(lambda images: images)


def test_a_second_reader_of_the_input_ends_it(network):
    images = network.inputs[0]
    mean = keras.layers.Dense(5)(keras.layers.Flatten()(images))
    assert not is_scale_invariant(keras.Model(images, keras.layers.Add()([network.outputs[0], mean])))
    small = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 1)(2 * images))  # an operation, no layer
    assert not is_scale_invariant(keras.Model(images, keras.layers.Add()([network.outputs[0], small])))
