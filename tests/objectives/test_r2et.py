"""R2ET: ranking and curvature by hand and by numpy."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf.objectives.r2et import ranking

from by_hand import CLEAN, W, probabilities, terms

pytestmark = pytest.mark.usefixtures("float64")


def test_r2et_ranking_by_hand():
    # Sorted: 9 7 4 3 1 0; k = 3: edge 4, (4−9) + (4−7) = −8, (3−4) + (1−4) + (0−4) = −8.
    found = ranking(tf.constant([[3.0, 9.0, 0.0, 4.0, 7.0, 1.0]]), 3)
    assert found.numpy().tolist() == [-16.0]


def test_r2et_equals_numpy():
    def gradient(x):
        return W @ (probabilities(x) - np.eye(3)[0])

    x, h = CLEAN[0], 1e-3
    slope = gradient(x)
    curvature = np.linalg.norm(gradient(x + h * np.sign(slope)) - slope) / h
    found = terms("r2et", clean=[x], labels=[0], top_k=1, attribution_weight=0.1, curvature_weight=0.2)
    np.testing.assert_allclose(found["ranking"], 0.1 * (np.abs(slope).min() - np.abs(slope).max()), atol=1e-12)
    np.testing.assert_allclose(found["curvature"], 0.2 * curvature, rtol=1e-9)
