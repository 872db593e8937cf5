"""Attacks on predictions, on networks where the worst case is known."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks import balls
from rar_tf.attacks.pgd import fgsm, pgd, random_starts

import toys

BOUNDS = (-10.0, 10.0)


@pytest.fixture(scope="module")
def linear():
    weights = np.random.default_rng(0).normal(size=(12, 2))
    images = np.random.default_rng(1).normal(size=(5, 2, 6, 1)).astype(np.float32)
    return toys.Linear(weights), tf.constant(images), tf.constant([0, 1, 0, 1, 0], tf.int64), weights


def worst_margin(linear, epsilon, dual):
    network, images, labels, weights = linear
    difference = weights[:, 1] - weights[:, 0]  # of two classes: the margin is ±difference·x
    margin = losses.margin(network(images), labels).numpy()
    return margin + epsilon * np.linalg.norm(difference, dual)


@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.margin])
def test_linf_pgd_finds_the_worst_case_of_a_linear_network(linear, loss):
    network, images, labels, _ = linear
    perturbed = pgd(network, images, labels, epsilon=0.3, step_size=0.1, steps=10, bounds=BOUNDS, loss=loss)
    np.testing.assert_allclose(losses.margin(network(perturbed), labels), worst_margin(linear, 0.3, 1), rtol=1e-5)
    assert np.abs(perturbed - images).max() <= 0.3 + 1e-6


def test_l2_pgd_finds_the_worst_case_of_a_linear_network(linear):
    network, images, labels, _ = linear
    perturbed = pgd(network, images, labels, epsilon=0.5, step_size=0.2, steps=10, bounds=BOUNDS, ball=balls.L2)
    np.testing.assert_allclose(losses.margin(network(perturbed), labels), worst_margin(linear, 0.5, 2), rtol=1e-5)


def test_fgsm_is_one_sign_step(linear):
    network, images, labels, weights = linear
    direction = np.sign(weights[:, 1] - weights[:, 0]).reshape(1, 2, 6, 1)
    expected = images + 0.3 * np.where(labels.numpy() == 0, 1, -1).reshape(-1, 1, 1, 1) * direction
    np.testing.assert_allclose(fgsm(network, images, labels, epsilon=0.3, bounds=BOUNDS), expected, rtol=1e-5)


def test_attacks_stay_in_the_pixel_range():
    images, labels = toys.digits(8)
    perturbed = pgd(
        toys.network(), tf.constant(images), tf.constant(labels), epsilon=0.4, step_size=0.1, steps=6, bounds=(0.0, 1.0)
    ).numpy()
    assert perturbed.min() >= 0 and perturbed.max() <= 1 and np.abs(perturbed - images).max() <= 0.4 + 1e-6
    assert np.mean(np.argmax(toys.network()(perturbed), 1) == labels) < 0.5


@pytest.mark.parametrize("ball", [balls.LINF, balls.L2])
def test_a_random_start_depends_on_the_image_and_not_on_its_batch(ball):
    images = tf.zeros([4, 3, 3, 1])

    def start(which, seed=1):
        return random_starts(tf.gather(images, which), tf.constant(which), epsilon=0.3, ball=ball, seed=seed).numpy()

    together = start([0, 1, 2, 3])
    np.testing.assert_array_equal(start([2, 3]), together[2:])
    assert not np.allclose(together[0], together[1]) and not np.allclose(start([0], seed=2), together[:1])
