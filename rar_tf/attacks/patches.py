"""Random search in square patches: no gradients, ℓ∞ (Andriushchenko et al. 2020, Algorithms 1 and 2)."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from rar_tf.attacks.balls import LINF
from rar_tf.attacks.pgd import random_starts
from rar_tf.attacks.steps import where_each

FIRST_SHARE = 0.8  # p, the share of the pixels in a square
HALVINGS = np.array([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])  # queries after which p halves


def patch_search(
    value: Callable[[tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    start: tf.Tensor,
    draws: tf.Tensor,
    *,
    epsilon: float,
    bounds: tuple[float, float],
    sides: np.ndarray,
    done: Callable[[tf.Tensor], tf.Tensor] = lambda values: tf.zeros_like(values, tf.bool),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the points with the largest value of a random search, and these values.

    Each query moves one square to a vertex of the ball, one sign a channel, and stays there if the value grows.

    Shape: images, start [B, H, W, C] in `bounds` -> [B, H, W, C], [B].

    Args:
      value: images [B, H, W, C] -> [B], to be made large.
      draws: [B, queries, 2 + C], uniform in [−1, 1): places and signs, see `uniform_draws`.
      sides: the side of each query's square, see `square_sides`.
      done: values [B] -> bool [B]: images that are left alone; the search ends with its queries, or when all are.
    """
    height, width = images.shape[1:3]
    queries, sides = len(sides), tf.constant(sides, tf.int32)

    def body(query, best, values):
        side, draw = sides[query], draws[:, query]
        places = tf.cast([height - side, width - side], draw.dtype) + 1  # of the upper left corner
        corner = tf.cast(tf.floor((draw[:, :2] + 1) / 2 * places), tf.int32)
        window = _between(corner[:, 0], side, height)[:, :, None] & _between(corner[:, 1], side, width)[:, None, :]
        vertex = tf.clip_by_value(images + epsilon * tf.sign(draw[:, None, None, 2:]), *bounds)
        proposal = tf.where(window[..., None], vertex, best)
        proposed = value(proposal)
        better = (proposed > values) & ~done(values)
        return query + 1, where_each(better, proposal, best), tf.where(better, proposed, values)

    _, best, values = tf.while_loop(
        lambda query, best, values: (query < queries) & ~tf.reduce_all(done(values)),
        body,
        (0, start, value(start)),
        parallel_iterations=1,
        maximum_iterations=queries,
    )
    return tf.stop_gradient(best), values


def square_sides(queries: int, height: int, width: int, *, pace: float = 1.0) -> np.ndarray:
    """Return the side of each query's square, as published; with a pace above 1 the schedule ends so much earlier."""
    halvings = np.sum(np.arange(queries)[:, None] * pace > HALVINGS, axis=1)
    sides = np.round(np.sqrt(FIRST_SHARE / 2.0**halvings * height * width))
    return np.clip(sides, 1, min(height, width)).astype(np.int32)


def uniform_draws(indices: tf.Tensor, seed: tf.Tensor, *shapes: tuple[int, ...]) -> list[tf.Tensor]:
    """Return for each image numbers uniform in [−1, 1) of these shapes, from (seed, index) alone."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    centre = tf.zeros([tf.shape(indices)[0], sum(sizes)])
    numbers = random_starts(centre, indices, epsilon=1.0, ball=LINF, seed=seed)
    return [tf.reshape(part, [-1, *shape]) for part, shape in zip(tf.split(numbers, sizes, axis=1), shapes)]


def _between(first, count, size):
    """Which places of a row lie in a run of `count` from `first` [B] on; bool [B, size]."""
    places = tf.range(size)[None]
    return (places >= first[:, None]) & (places < first[:, None] + count)
