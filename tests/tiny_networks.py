"""Small networks and batches on which objectives are checked, in the precision of Keras's current policy."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def linear(weights, biases=None) -> keras.Model:
    """Return the network f(x) = xᵀW + b of images [1, d, 1]; weights [d, K]."""
    weights = np.asarray(weights, float)
    network = keras.Sequential(
        [layers.Input((1, weights.shape[0], 1)), layers.Flatten(), layers.Dense(weights.shape[1])]
    )
    network.layers[-1].set_weights([weights, np.zeros(weights.shape[1]) if biases is None else np.asarray(biases)])
    return network


def convolutional(activation="softplus", shape=(5, 4, 2), classes=3, batch_norm=False, seed=0) -> keras.Model:
    """Return a convolution, perhaps a batch norm whose statistics stay what they are, and a dense layer."""
    keras.utils.set_random_seed(seed)
    norm = [layers.BatchNormalization(momentum=1.0)] if batch_norm else []
    network = keras.Sequential(
        [
            layers.Input(shape),
            layers.Conv2D(3, 3, bias_initializer="normal"),
            *norm,
            layers.Activation(activation),
            layers.Flatten(),
            layers.Dense(classes),
        ]
    )
    if batch_norm:
        generator = np.random.default_rng(seed)
        network.layers[1].set_weights([generator.uniform(0.5, 1.5, 3) for _ in range(4)])
    return network


def batch(count=3, shape=(5, 4, 2), classes=3, radius=0.2, seed=1):
    """Return images, perturbed images and labels, float64 in [0, 1]."""
    generator = np.random.default_rng(seed)
    images = generator.uniform(0.2, 0.8, (count, *shape))
    perturbed = images + generator.uniform(-radius, radius, images.shape)
    return tf.constant(images), tf.constant(perturbed), tf.constant(generator.integers(0, classes, count))


def pixels(*rows):
    """Return rows of pixel values as float64 images [N, 1, d, 1]."""
    return tf.constant(np.asarray(rows, np.float64)[:, None, :, None])
