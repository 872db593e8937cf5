"""Small networks and images for the tests of attacks and evaluation: real 8×8 digits, a network trained in a second."""

import functools

import keras
import numpy as np
from sklearn.datasets import load_digits


@functools.cache
def digits(count: int = 24):
    """Return digits [N, 8, 8, 1] in [0, 1] and labels [N]."""
    data = load_digits()
    return (data.images[:count, ..., None] / 16).astype(np.float32), data.target[:count].astype(np.int64)


@functools.cache
def network() -> keras.Model:
    """Return a ReLU network that classifies most digits."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = digits(1000)
    model.fit(images, labels, epochs=8, batch_size=32, verbose=0)
    return model


class Linear:
    """f(x) = xW + b, as a network."""

    def __init__(self, weights, bias=0.0):
        self.weights_matrix, self.bias = weights.astype(np.float32), bias

    def __call__(self, images, training=False):
        import tensorflow as tf

        return tf.matmul(tf.reshape(images, [tf.shape(images)[0], -1]), self.weights_matrix) + self.bias
