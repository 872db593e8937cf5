"""Square attack: the worst case of linear networks, masked gradients, and what it draws at random."""

import numpy as np
import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks.apgd import apgd
from rar_tf.attacks.square import square

import toys


def test_worst_case_of_a_linear_network_in_a_range_of_255():
    # Two classes with boundaries out of reach: the search ends at the vertex of the ball, but for a pixel at most.
    rng = np.random.default_rng(0)
    weights = rng.choice([-1.0, 1.0], size=18) * rng.uniform(0.5, 1, 18)
    network = toys.Linear(np.stack([weights, -weights], 1), np.array([9e3, 0], np.float32))
    images = tf.constant(rng.uniform(20, 235, size=(3, 3, 3, 2)), tf.float32)
    labels = tf.constant([0, 0, 0], tf.int64)
    found = _square(network, images, labels, tf.range(3), epsilon=8.0, bounds=(0.0, 255.0), queries=1500)
    worst = losses.margin(network(images), labels) + 8 * np.abs(2 * weights).sum()
    np.testing.assert_allclose(losses.margin(network(found), labels), worst, atol=0.1)
    assert np.abs(found - images).max() <= 8 + 1e-4


def test_breaks_a_network_that_quantises_its_input():
    images, labels = (tf.constant(array) for array in toys.digits(8))

    def network(x, training=False):
        return toys.network()(tf.round(4 * x) / 4, training=training)

    found = {
        "apgd": apgd(network, images, labels, epsilon=0.3, steps=10, bounds=(0.0, 1.0)),
        "square": _square(network, images, labels, tf.range(8, dtype=tf.int64)),
    }
    standing = {name: np.sum(np.argmax(network(perturbed), 1) == labels) for name, perturbed in found.items()}
    assert standing["apgd"] == np.sum(np.argmax(network(images), 1) == labels) >= 7
    assert standing["square"] <= 2


def test_an_image_finds_the_same_alone_and_in_a_batch():
    images, labels = (tf.constant(array) for array in toys.digits(4))
    together = _square(toys.network(), images, labels, tf.constant([5, 6, 7, 8], tf.int64))
    alone = _square(toys.network(), images[2:3], labels[2:3], tf.constant([7], tf.int64))
    np.testing.assert_allclose(together[2:3], alone, atol=1e-6)
    other = _square(toys.network(), images[2:3], labels[2:3], tf.constant([8], tf.int64))
    assert np.abs(other - alone).max() > 0.1


@tf.function
def _square(network, images, labels, indices, epsilon=0.3, bounds=(0.0, 1.0), queries=300):
    seed = tf.constant(1, tf.int64)
    return square(network, images, labels, indices, epsilon=epsilon, bounds=bounds, queries=queries, seed=seed)
