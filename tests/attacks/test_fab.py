"""FAB against the nearest points of hyperplanes and linear networks."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks import balls
from rar_tf.attacks.fab import fab, to_hyperplane

import toys

BALLS = [(balls.LINF, np.inf), (balls.L2, 2)]


@pytest.mark.parametrize("ball, order", BALLS)
def test_the_shortest_move_to_a_hyperplane_in_a_box(ball, order):
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(6, 2, 4, 1)).astype(np.float32)
    normal = rng.normal(size=points.shape).astype(np.float32)
    normal[:, 0, 0] = 0  # a pixel without influence stays
    reach = np.sum(np.where(normal > 0, normal * (1 - points), -normal * points), axis=(1, 2, 3))
    offset = np.float32([0.1, 0.5, 0.9, -0.4, 0, 2]) * reach  # the last is out of reach
    found = to_hyperplane(*map(tf.constant, (points, normal, offset)), bounds=(0.0, 1.0), ball=ball).numpy()
    assert np.all(found[:, 0, 0] == 0) and np.all((points + found > -1e-6) & (points + found < 1 + 1e-6))
    gained = np.sum(normal * found, axis=(1, 2, 3))
    np.testing.assert_allclose(gained, [*offset[:5], reach[5]], rtol=1e-4, atol=1e-6)
    for point, w, c, move in list(zip(points, normal, offset, found))[:4]:
        point, w = point.ravel().astype(float), w.ravel().astype(float)
        length = np.linalg.norm(move.ravel(), order)
        assert length <= _shortest(point, w, float(c), order) * (1 + 1e-4)


def _shortest(point, w, c, order):
    if order == 2:
        found = scipy.optimize.minimize(
            lambda d: d @ d,
            np.zeros(8),
            jac=lambda d: 2 * d,
            bounds=list(zip(-point, 1 - point)),
            constraints={"type": "eq", "fun": lambda d: w @ d - c, "jac": lambda d: w},
            method="SLSQP",
            options={"ftol": 1e-12},
        )
        return np.sqrt(found.fun)
    # Linear program in (d, t): least t with −t ≤ d ≤ t.
    eye, ones = np.eye(8), np.ones((8, 1))
    found = scipy.optimize.linprog(
        [0] * 8 + [1],
        A_ub=np.block([[eye, -ones], [-eye, -ones]]),
        b_ub=np.zeros(16),
        A_eq=[[*w, 0]],
        b_eq=[c],
        bounds=[*zip(-point, 1 - point), (0, None)],
    )
    return found.fun


@pytest.mark.parametrize("ball, dual", [(balls.LINF, 1), (balls.L2, 2)])
def test_the_distance_of_a_linear_network(ball, dual):
    # Far from the bounds the boundary to class t is |z_y − z_t| / ‖w_y − w_t‖ away, in the dual norm.
    weights = np.random.default_rng(2).normal(size=(12, 4)).astype(np.float32)
    network = toys.Linear(weights)
    images = tf.constant(np.random.default_rng(3).normal(size=(5, 2, 6, 1)), tf.float32)
    logits = network(images).numpy()
    labels, targets = np.argmax(logits, 1), np.argsort(logits, 1)[:, -2]
    expected = (logits.max(1) - np.sort(logits, 1)[:, -2]) / np.linalg.norm(
        weights[:, labels] - weights[:, targets], dual, axis=0
    )
    found = fab(network, images, labels, tf.constant(targets), steps=20, bounds=(-10.0, 10.0), ball=ball)
    assert np.all(found.distance >= expected * (1 - 1e-5))
    np.testing.assert_allclose(found.distance, expected, rtol=0.01)
    assert np.all(losses.margin(network(found.images), labels) > 0)
    assert found.images.shape == images.shape


def test_nothing_is_found_without_a_gradient():
    images = tf.fill([2, 3, 3, 1], 0.5)

    def constant(x, training=False):
        return tf.tile([[1.0, 0.0]], [tf.shape(x)[0], 1])

    found = fab(constant, images, tf.constant([0, 0]), tf.constant([1, 1]), steps=3, bounds=(0.0, 1.0))
    np.testing.assert_array_equal(found.images, images)
    assert np.all(np.isinf(found.distance))
