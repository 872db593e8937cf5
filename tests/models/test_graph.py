"""Clones of networks, and networks that compute something else than their graph."""

import keras
import numpy as np
import pytest
from keras import layers

import rar_tf
from rar_tf.models.pooling import with_exact_pooling
from rar_tf.models.surrogate import softplus_surrogate

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
