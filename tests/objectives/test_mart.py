"""MART: its terms by numpy."""

import numpy as np
import pytest

from by_hand import CHANGED, CLEAN, LABELS, probabilities, terms

pytestmark = pytest.mark.usefixtures("float64")


def test_mart_equals_numpy():
    found = terms("mart", beta=5.0)
    p, q, rows = probabilities(CLEAN), probabilities(CHANGED), np.arange(2)
    rivals = np.where(np.eye(3, dtype=bool)[LABELS], 0.0, q).max(axis=1)
    boosted = -np.log(q[rows, LABELS]) - np.log(1.0001 - rivals)
    divergence = np.sum(p * np.log(p / q), axis=1) * (1 - p[rows, LABELS])
    np.testing.assert_allclose(found["boosted_cross_entropy"], boosted, atol=1e-12)
    np.testing.assert_allclose(found["kl"], 5.0 * divergence, atol=1e-12)
