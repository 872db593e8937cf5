"""Square attack: random search in square patches, no gradients, ℓ∞ (Andriushchenko et al. 2020, Algorithms 1, 2)."""

import numpy as np
import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks.balls import LINF
from rar_tf.attacks.pgd import random_starts
from rar_tf.attacks.predictions import Member
from rar_tf.attacks.steps import where_each

QUERIES = 5000
FIRST_SHARE = 0.8  # p, the share of the pixels in a square
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which p halves


def square(
    network,
    images: tf.Tensor,
    labels: tf.Tensor,
    indices: tf.Tensor,
    *,
    epsilon: float,
    bounds: tuple[float, float],
    queries: int,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Return the images with the largest margin of a random search that begins with vertical stripes.

    Each query moves one square to a vertex of the ball, one sign a channel, and stays there if the margin grows. An
    image that has lost its label is left alone; the search ends with its queries, or when all images have.

    Shape: images [B, H, W, C] in `bounds`, labels int [B], indices int64 [B], seed int64 [] -> [B, H, W, C].
    """
    height, width, channels = images.shape[1:]
    sides = tf.constant(_sides(queries, height, width))
    stripes, draws = _draws(indices, seed, (1, width, channels), (queries, 2 + channels))

    def perturbed(signs):
        return tf.clip_by_value(images + epsilon * tf.sign(signs), *bounds)

    def margins(candidates):
        return losses.margin(network(candidates, training=False), labels)

    def body(query, best, margin):
        side, draw = sides[query], draws[:, query]
        places = tf.cast([height - side, width - side], draw.dtype) + 1  # of the upper left corner
        corner = tf.cast(tf.floor((draw[:, :2] + 1) / 2 * places), tf.int32)
        window = _between(corner[:, 0], side, height)[:, :, None] & _between(corner[:, 1], side, width)[:, None, :]
        proposal = tf.where(window[..., None], perturbed(draw[:, None, None, 2:]), best)
        proposed = margins(proposal)
        better = (proposed > margin) & (margin <= 0)
        return query + 1, where_each(better, proposal, best), tf.where(better, proposed, margin)

    start = perturbed(stripes)
    _, best, _ = tf.while_loop(
        lambda query, best, margin: (query < queries) & tf.reduce_any(margin <= 0),
        body,
        (0, start, margins(start)),
        parallel_iterations=1,
        maximum_iterations=queries,
    )
    return tf.stop_gradient(best)


def _sides(queries, height, width):
    """The side of the square of each query."""
    halvings = np.sum(np.arange(queries)[:, None] > np.array(HALVINGS), axis=1)
    sides = np.round(np.sqrt(FIRST_SHARE / 2.0**halvings * height * width))
    return np.clip(sides, 1, min(height, width)).astype(np.int32)


def _draws(indices, seed, *shapes):
    """For each image numbers uniform in [−1, 1) of these shapes, from (seed, index) alone."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    centre = tf.zeros([tf.shape(indices)[0], sum(sizes)])
    numbers = random_starts(centre, indices, epsilon=1.0, ball=LINF, seed=seed)
    return [tf.reshape(part, [-1, *shape]) for part, shape in zip(tf.split(numbers, sizes, axis=1), shapes)]


def _between(first, count, size):
    """Which places of a row lie in a run of `count` from `first` [B] on; bool [B, size]."""
    places = tf.range(size)[None]
    return (places >= first[:, None]) & (places < first[:, None] + count)


def member(name: str = "square", *, queries: int = QUERIES) -> Member:
    """Return the attack as a prediction attack, one run of it."""

    def perturb(network, images, labels, *, indices, seed, run, terms):
        return square(
            network,
            images,
            labels,
            indices,
            epsilon=terms.epsilon,
            bounds=terms.bounds,
            queries=queries,
            seed=seed,
        )

    return Member(name, perturb)


SQUARE = (member(),)
