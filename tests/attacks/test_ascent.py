"""Balls, the ascent loop and random numbers."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf.attacks import BALLS, balls
from rar_tf.attacks.ascent import ascend
from rar_tf.errors import UsageError

IMAGES = tf.fill([3, 4, 4, 1], 0.5)


def distance(points, order):
    return np.linalg.norm(np.reshape(points - IMAGES, [3, -1]), ord=order, axis=1)


@pytest.mark.parametrize("name,order", [("linf", np.inf), ("l2", 2)])
def test_start_and_projection_stay_inside(name, order):
    ball = BALLS[name]
    start = ball.start(IMAGES, 0.2, tf.constant([1, 2], tf.int64))
    assert (distance(start, order) <= 0.2 + 1e-6).all() and (distance(start, order) > 0.1).all()
    projected = ball.project(IMAGES + 3 * (start - IMAGES), IMAGES, 0.2)
    assert (distance(projected, order) <= 0.2 + 1e-6).all()
    np.testing.assert_array_equal(ball.start(IMAGES, 0.2, tf.constant([1, 2], tf.int64)), start)


def test_directions():
    gradient = tf.constant([[3.0, -4.0, 0.0]])
    np.testing.assert_allclose(balls.LINF.direction(gradient), [[1, -1, 0]])
    np.testing.assert_allclose(balls.L2.direction(gradient), [[0.6, -0.8, 0]], rtol=1e-6)
    np.testing.assert_array_equal(balls.L2.direction(tf.zeros([1, 3])), np.zeros([1, 3]))
    for scale in (1e-30, 1e-20, 1e-12, 1e20, 1e30):  # squares of most of them are 0 or ∞ in float32
        np.testing.assert_allclose(balls.L2.direction(scale * gradient), [[0.6, -0.8, 0]], rtol=1e-6)


@pytest.mark.parametrize("ball,expected", [(balls.LINF, 0.1), (balls.L2, 0.1 / 4)])
def test_a_linear_objective_is_climbed_to_the_border(ball, expected):
    found, _ = ascend(
        lambda x: tf.reduce_sum(x, [1, 2, 3]),
        IMAGES,
        IMAGES,
        epsilon=0.1,
        step_size=0.03,
        steps=10,
        bounds=(0, 1),
        ball=ball,
    )
    np.testing.assert_allclose(found - IMAGES, np.full(IMAGES.shape, expected), rtol=1e-5)


def test_pixels_stay_in_range():
    found, _ = ascend(
        lambda x: tf.reduce_sum(x, [1, 2, 3]), IMAGES, IMAGES, epsilon=0.8, step_size=0.3, steps=5, bounds=(0, 1)
    )
    assert float(tf.reduce_max(found)) == 1.0


def test_move_and_observe():
    # Every other proposal is refused: after four proposals the iterate has moved twice.
    state = (tf.constant(0), tf.constant(0.0))
    found, (count, best) = ascend(
        lambda x: tf.reduce_sum(x, [1, 2, 3]),
        IMAGES,
        IMAGES,
        epsilon=1.0,
        step_size=lambda t: 0.1 * tf.cast(t + 1, "float32"),
        steps=4,
        bounds=(0, 2),
        move=lambda old, new: tf.where(tf.reduce_max(new) > 1.2, old, new),
        observe=lambda x, state: (state[0] + 1, tf.maximum(state[1], tf.reduce_max(x))),
        state=state,
    )
    assert int(count) == 4
    assert float(best) == pytest.approx(0.5 + 0.1 + 0.2 + 0.3) and float(tf.reduce_max(found)) == pytest.approx(1.1)


def test_unknown_constraint():
    with pytest.raises(UsageError, match="unknown constraint 'l7'"):
        BALLS["l7"]
