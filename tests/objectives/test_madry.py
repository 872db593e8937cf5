"""Adversarial training: the cross-entropy of the perturbed image, and its adversary on a linear network."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import objectives

from by_hand import CHANGED, cross_entropy, terms
from tiny_networks import linear, pixels

pytestmark = pytest.mark.usefixtures("float64")


def test_madry_equals_numpy():
    np.testing.assert_allclose(terms("madry")["cross_entropy"], cross_entropy(CHANGED), atol=1e-12)


def test_the_adversary_of_two_classes_on_a_linear_network_is_the_worst_corner():
    # The loss of class 0 grows along w = (−2, 1): the worst point of the ball is x + ε·sign(w).
    model = objectives.METHODS["madry"](linear([[1.0, -1.0], [-0.5, 0.5]]), epsilon=0.1)
    images = pixels([0.5, 0.4])
    found = model.perturb(images, tf.constant([0]), model.start(images, tf.constant(0, tf.int64)))
    np.testing.assert_allclose(found, pixels([0.4, 0.5]), atol=1e-12)
