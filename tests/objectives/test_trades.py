"""TRADES: its terms by numpy and scipy, and where its adversary starts."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import rar_tf

from by_hand import CHANGED, CLEAN, W, cross_entropy, probabilities, terms
from tiny_networks import linear

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("clean_term", [True, False])
def test_trades_equals_numpy(clean_term):
    found = terms("trades", beta=6.0, clean_term=clean_term)
    divergence = [scipy.stats.entropy(p, q) for p, q in zip(probabilities(CLEAN), probabilities(CHANGED))]
    np.testing.assert_allclose(found["cross_entropy"], cross_entropy(CLEAN if clean_term else CHANGED), atol=1e-12)
    np.testing.assert_allclose(found["kl"], 6.0 * np.array(divergence), atol=1e-12)


def test_trades_starts_from_a_little_noise_in_parts_of_the_pixel_range():
    images = tf.zeros((4, 20, 20, 3))
    for bounds, scale in (((0, 1), 1e-3), ((0, 255), 0.255)):
        model = rar_tf.TRADES(linear(W), bounds=bounds, seed=5)
        noise = model.start(images, tf.constant(3, tf.int64)).numpy()
        assert noise.std() == pytest.approx(scale, rel=0.05) and abs(noise.mean()) < 0.05 * scale
        np.testing.assert_array_equal(noise, model.start(images, tf.constant(3, tf.int64)))
        assert np.any(noise != model.start(images, tf.constant(4, tf.int64)))
