"""APGD's losses against their formulas, and what they see that cross-entropy does not."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks import balls
from rar_tf.attacks.apgd import apgd, dlr, rivals, targeted_dlr
from rar_tf.attacks.pgd import pgd

import toys

LOGITS = tf.constant([[5.0, 2.0, 4.0, 1.0, 0.0], [1.0, 3.0, 2.0, 6.0, 3.5]])
LABELS = tf.constant([0, 1], tf.int64)


def test_difference_of_logits_ratios():
    # Sorted: 5 4 2 1 0 and 6 3.5 3 2 1. The label is the largest logit of the first and the third of the second sample.
    np.testing.assert_allclose(dlr(LOGITS, LABELS), [(4 - 5) / (5 - 2), (6 - 3) / (6 - 3)])
    targets = tf.constant([3, 4], tf.int64)
    expected = [(1 - 5) / (5 - (2 + 1) / 2), (3.5 - 3) / (6 - (3 + 2) / 2)]
    np.testing.assert_allclose(targeted_dlr(LOGITS, LABELS, targets), expected)
    for scaled in (1000 * LOGITS, LOGITS - 7):
        np.testing.assert_allclose(targeted_dlr(scaled, LABELS, targets), expected, rtol=1e-5)
        np.testing.assert_allclose(dlr(scaled, LABELS), dlr(LOGITS, LABELS), rtol=1e-5)


def test_rivals_are_in_the_order_of_their_logits_and_never_the_label():
    ranks = [rivals(LOGITS, LABELS, rank).numpy().tolist() for rank in range(4)]
    assert np.transpose(ranks).tolist() == [[2, 1, 3, 4], [3, 4, 2, 0]]


@pytest.mark.parametrize("ball, dual", [(balls.LINF, 1), (balls.L2, 2)])
@pytest.mark.parametrize("loss", [losses.cross_entropy, dlr])
def test_worst_case_of_a_linear_network(ball, dual, loss):
    # Three classes on the line that two of them span, so that the strongest rival stays the same inside the ball.
    direction = np.random.default_rng(0).normal(size=12)
    network = toys.Linear(np.stack([direction, -direction, -9 * direction], 1), np.array([0, 0, -999.0], np.float32))
    images = tf.constant(np.random.default_rng(1).normal(size=(4, 2, 6, 1)), tf.float32)
    labels = tf.constant([0, 1, 0, 1], tf.int64)
    found = apgd(network, images, labels, epsilon=0.3, steps=30, bounds=(-10.0, 10.0), loss=loss, ball=ball)
    worst = losses.margin(network(images), labels) + 0.3 * np.linalg.norm(2 * direction, dual)
    np.testing.assert_allclose(losses.margin(network(found), labels), worst, rtol=1e-3)
    assert np.linalg.norm(np.reshape(found - images, [4, -1]), {1: np.inf, 2: 2}[dual], axis=1).max() <= 0.3 + 1e-5


def test_the_ratio_sees_through_a_saturated_softmax():
    def network(x, training=False):
        return 1e6 * toys.network()(x, training=training)  # nothing is left of the cross-entropy's gradient in float32

    images, labels = toys.digits(10)
    right = np.argmax(network(images), 1) == labels
    images, labels = tf.constant(images[right]), tf.constant(labels[right])
    budget = {"epsilon": 0.4, "steps": 20, "bounds": (0.0, 1.0)}

    def still_correct(perturbed):
        return np.mean(np.argmax(network(perturbed), 1) == labels)

    assert len(images) >= 5 and still_correct(pgd(network, images, labels, step_size=0.05, **budget)) == 1
    assert still_correct(apgd(network, images, labels, loss=dlr, **budget)) == 0
