"""Similarities and norms against scipy, and their gradients at zero."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from scipy.spatial import distance

from rar_tf import similarity


def test_cosine_and_pearson_equal_scipys():
    a, b = np.random.default_rng(0).normal(size=(2, 6, 4, 5, 3))
    flat = [(x.ravel(), y.ravel()) for x, y in zip(a, b)]
    cosines = [1 - distance.cosine(x, y) for x, y in flat]
    np.testing.assert_allclose(similarity.cosine_similarity(a, b), cosines, atol=1e-12)
    correlations = [scipy.stats.pearsonr(x, y)[0] for x, y in flat]
    np.testing.assert_allclose(similarity.pearson_correlation(a, b), correlations, atol=1e-12)


def test_norms_and_unit_vectors_equal_numpys():
    x = tf.random.stateless_normal([3, 4, 5, 2], [1, 2])
    expected = np.linalg.norm(x.numpy().reshape(3, -1), axis=1)
    np.testing.assert_allclose(similarity.norm(x), expected, rtol=1e-6)
    np.testing.assert_array_equal(similarity.norm(x, keepdims=True)[:, 0, 0, 0], similarity.norm(x))
    np.testing.assert_allclose(similarity.unit(x) * expected[:, None], similarity.flatten(x), rtol=1e-5)


@pytest.mark.parametrize(
    "function, value",
    [
        (similarity.norm, similarity.SMALLEST_NORM),
        (lambda x: tf.reduce_sum(similarity.unit(x), 1), 0),
        (lambda x: similarity.cosine_similarity(x, tf.ones_like(x)), 0),
        (lambda x: similarity.pearson_correlation(x, tf.ones_like(x)), 0),
    ],
)
def test_zeros_have_values_and_gradients(function, value):
    zero = tf.zeros((1, 2, 2, 1))
    with tf.GradientTape() as tape:
        tape.watch(zero)
        found = function(zero)
    np.testing.assert_allclose(found, [value], rtol=1e-6)
    assert np.all(np.isfinite(tape.gradient(found, zero)))
