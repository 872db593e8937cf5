"""Attacks on predictions: FGSM (Goodfellow et al. 2015), PGD (Madry et al. 2018), CW∞ (Carlini and Wagner 2017).

All are the one ascent loop on a loss of the logits.
"""

from collections.abc import Callable

import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks.ascent import ascend
from rar_tf.attacks.balls import L2, LINF, Ball
from rar_tf.attacks.predictions import Member


def pgd(
    network,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    bounds: tuple[float, float],
    loss: Callable = losses.cross_entropy,
    ball: Ball = LINF,
    start: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the last iterate of projected gradient ascent on a loss of the logits.

    Shape: images [B, H, W, C] in `bounds`, labels int [B] -> [B, H, W, C].

    Args:
      epsilon, step_size: in pixel units.
      loss: (logits [B, K], labels [B]) -> [B]; `losses.margin` makes it CW∞.
      start: first point of the ascent [B, H, W, C]; None starts at the images.
    """
    return ascend(
        lambda perturbed: loss(network(perturbed, training=False), labels),
        images,
        images if start is None else start,
        epsilon=epsilon,
        step_size=step_size,
        steps=steps,
        bounds=bounds,
        ball=ball,
    )[0]


def fgsm(network, images: tf.Tensor, labels: tf.Tensor, *, epsilon: float, bounds: tuple[float, float]) -> tf.Tensor:
    """Return images + ε·sign(∇ cross-entropy), one step without a random start. Shape: as `pgd`."""
    return pgd(network, images, labels, epsilon=epsilon, step_size=epsilon, steps=1, bounds=bounds)


def random_starts(images: tf.Tensor, indices: tf.Tensor, *, epsilon: float, ball: Ball, seed: tf.Tensor) -> tf.Tensor:
    """Return a random point of the ball around each image that depends on (seed, index) only, not on the batch.

    Shape: images [B, H, W, C], indices int64 [B], seed int64 [] or [1] -> [B, H, W, C], not clipped.
    """

    def one(pair):
        image, index = pair
        return ball.start(image[None], epsilon, tf.stack([tf.reshape(tf.cast(seed, tf.int64), []), index]))[0]

    return tf.map_fn(one, (images, tf.cast(indices, tf.int64)), fn_output_signature=images.dtype)


def member(
    name: str,
    *,
    loss: Callable = losses.cross_entropy,
    ball: Ball | None = LINF,
    steps: int | None = None,
    step: float | None = None,
    random_start: bool = True,
) -> Member:
    """Return PGD as a prediction attack: what it has of its own; the rest it takes from an evaluation's terms.

    Args:
      loss: what it climbs.
      ball: None is that of the terms.
      steps: its number of steps; step: their size in parts of epsilon, 2.5/steps by default.
      random_start: whether it starts at a random point of the ball; otherwise it starts at the images, once.
    """

    def perturb(network, images, labels, *, indices, seed, run, terms):
        size, within = terms.step_size, terms.ball if ball is None else ball
        if steps is not None:
            size = terms.epsilon * (2.5 / steps if step is None else step)
        start = random_starts(images, indices, epsilon=terms.epsilon, ball=within, seed=seed) if random_start else None
        return pgd(
            network,
            images,
            labels,
            epsilon=terms.epsilon,
            step_size=size,
            steps=terms.steps if steps is None else steps,
            bounds=terms.bounds,
            loss=loss,
            ball=within,
            start=start,
        )

    return Member(name, perturb, runs=lambda terms: terms.restarts if random_start else 1)


PGD = (member("pgd", ball=None),)
PGD_L2 = (member("pgd_l2", ball=L2),)
CW = (member("cw", loss=losses.margin),)
FGSM = (member("fgsm", steps=1, step=1.0, random_start=False),)
PGD20 = (member("pgd20", steps=20),)
PGD40 = (member("pgd40", steps=40),)
