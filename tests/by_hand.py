"""Terms of a method, and numpy's values to compare them with, on a linear network of two pixels and three classes."""

import numpy as np
import scipy.special
import tensorflow as tf

from rar_tf import objectives

from tiny_networks import linear, pixels

W = np.array([[2.0, -1.0, 0.5], [-1.5, 1.0, 0.25]])  # two pixels, three classes
B = np.array([0.1, -0.2, 0.3])
CLEAN, CHANGED, LABELS = np.array([[0.8, 0.3], [0.0, 0.6]]), np.array([[0.6, 0.5], [0.2, 0.4]]), np.array([0, 1])


def terms(method, network=None, clean=CLEAN, changed=CHANGED, labels=LABELS, **settings):
    model = objectives.METHODS[method](network or linear(W, B), **settings)
    found = model.loss_terms(pixels(*clean), pixels(*changed), tf.constant(labels))
    return {name: value.numpy() for name, value in found.items()}


def probabilities(x):
    return scipy.special.softmax(x @ W + B, axis=-1)


def cross_entropy(x):
    return -np.log(probabilities(x)[np.arange(len(x)), LABELS])


def integrated(score_gradient, start, end, steps):
    """The right Riemann sum of one image, point by point."""
    points = [start + k / steps * (end - start) for k in range(1, steps + 1)]
    return (end - start) * np.mean([score_gradient(point) for point in points], axis=0)


def probability_gradient(label):
    def gradient(x):
        p = probabilities(x)
        return p[label] * (W[:, label] - W @ p)

    return gradient
