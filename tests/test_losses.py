"""The label's logit against indexing, divergences against scipy's."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from rar_tf import losses

pytestmark = pytest.mark.usefixtures("float64")


def test_the_logit_of_the_label_and_its_gradients_are_those_of_indexing():
    generator = np.random.default_rng(0)
    values, labels = generator.normal(size=(5, 4)), np.array([0, 3, 1, 2, 3])
    x, infinite = tf.constant(values), tf.constant(np.where(np.arange(4) == labels[:, None], values, -np.inf))

    def each(logit):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = logit(tf.exp(x))
            slope = inner.gradient(value, x)
        return value, slope, outer.gradient(slope, x)

    for found, expected in zip(
        each(lambda z: losses.logit(z, labels)), each(lambda z: tf.gather(z, labels, axis=1, batch_dims=1))
    ):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(losses.logit(infinite, labels), values[np.arange(5), labels])


def test_divergences_equal_scipys():
    generator = np.random.default_rng(0)
    p, q = generator.normal(size=(2, 6, 10))
    np.testing.assert_allclose(
        losses.kl_divergence(p, q),
        scipy.stats.entropy(scipy.special.softmax(p, axis=1), scipy.special.softmax(q, axis=1), axis=1),
        atol=1e-12,
    )
    for scale in (1e-4, 1.0, 300.0):
        scores = scale * generator.normal(size=(3, 40))
        expected = -np.mean(np.log(40) + scipy.special.log_softmax(scores, axis=1), axis=1)
        np.testing.assert_allclose(losses.divergence_from_uniform(scores), expected, rtol=1e-7, atol=1e-15)


def test_divergence_from_uniform_of_tiny_scores_keeps_its_precision_in_float32():
    scores = 1e-3 * np.random.default_rng(0).normal(size=(2, 784))
    found = losses.divergence_from_uniform(tf.constant(scores, tf.float32))
    np.testing.assert_allclose(found, scores.var(axis=1) / 2, rtol=1e-2)  # about half the variance
