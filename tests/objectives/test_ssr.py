"""SSR: the largest eigenvalue against numpy's of the full Hessian."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import rar_tf
from rar_tf.objectives.ssr import largest_eigenvalue

import tiny_networks
from by_hand import W
from tiny_networks import linear, pixels

pytestmark = pytest.mark.usefixtures("float64")


def test_ssr_eigenvalue_equals_numpys_on_the_full_matrix():
    network = tiny_networks.convolutional(shape=(5, 4, 2), classes=5)
    images = tiny_networks.batch()[0]
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = network(images)
    jacobian = tape.batch_jacobian(logits, images).numpy().reshape(3, 5, 40)
    for found, rows, p in zip(largest_eigenvalue(network, images), jacobian, scipy.special.softmax(logits, axis=1)):
        hessian = rows.T @ (np.diag(p) - np.outer(p, p)) @ rows
        assert float(found) == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-10)


def test_ssr_of_a_certain_prediction_has_a_finite_gradient():
    network = linear(1e3 * W)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(rar_tf.SSR(network).loss_terms(pixels([1, 0]), None, tf.constant([0]))["eigenvalue"])
    for gradient in tape.gradient(loss, [variable.value for variable in network.trainable_variables]):
        assert np.all(np.isfinite(gradient))


def test_ssr_of_weights_that_are_no_numbers_is_none_and_raises_nothing():
    images = pixels([1, 0], [0, 1])
    for weights in (np.full_like(W, np.nan, float), np.full_like(W, 1e300, float) * np.sign(W)):
        network = linear(weights)
        step = tf.function(lambda network=network: largest_eigenvalue(network, images))
        with tf.GradientTape() as tape:
            found = step()
        tape.gradient(found, [variable.value for variable in network.trainable_variables])
        assert not np.isfinite(found).all()
