"""Divergences against scipy's."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from rar_tf import losses

pytestmark = pytest.mark.usefixtures("float64")


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
