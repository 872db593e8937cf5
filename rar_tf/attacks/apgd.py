"""APGD: ascent with steps that adapt, on the cross-entropy or the difference-of-logits ratio (Croce and Hein 2020).

The ratio does not change when all logits are scaled or shifted, so that no network can hide behind a saturated softmax.
It divides by differences of the largest logits, and is defined from three classes on, towards a target from four.
"""

from collections.abc import Callable

import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks.ascent import ascend
from rar_tf.attacks.balls import LINF, Ball
from rar_tf.attacks.pgd import random_starts
from rar_tf.attacks.predictions import Member, Terms
from rar_tf.attacks.steps import adaptive, where_each

STEPS = 100
TARGETS = 9
SMALLEST_SPREAD = 1e-12  # of the largest logits, that a ratio divides by


def dlr(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return (max_{k≠y} z_k − z_y) / (z_π1 − z_π3), π the order of the logits z (Croce and Hein 2020, Eq. 6).

    Shape: logits [N, K] with K ≥ 3, labels int [N] -> [N].
    """
    largest = tf.math.top_k(logits, 3).values
    return losses.margin(logits, labels) / (largest[:, 0] - largest[:, 2] + SMALLEST_SPREAD)


def targeted_dlr(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return (z_t − z_y) / (z_π1 − (z_π3 + z_π4)/2) (Croce and Hein 2020, Eq. 7).

    Shape: logits [N, K] with K ≥ 4, labels and targets int [N] -> [N].
    """
    largest = tf.math.top_k(logits, 4).values
    spread = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return targeted_margin(logits, labels, targets) / (spread + SMALLEST_SPREAD)


def targeted_margin(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return z_t − z_y. Shape: logits [N, K], labels and targets int [N] -> [N]."""
    return losses.logit(logits, targets) - losses.logit(logits, labels)


def rivals(logits: tf.Tensor, labels: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
    """Return the class that comes at a rank, 0 the first, among all but the label. Shape: [N, K], [N], [] -> [N]."""
    order = tf.argsort(losses.without_label(logits, labels), direction="DESCENDING", stable=True)
    return tf.cast(tf.gather(order, rank, axis=1), labels.dtype)


def apgd(
    network,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    epsilon: float,
    steps: int,
    bounds: tuple[float, float],
    loss: Callable = losses.cross_entropy,
    ball: Ball = LINF,
    start: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the iterate with the largest margin, of an ascent whose steps begin at 2ε and halve where it stalls.

    Shape: images [B, H, W, C] in `bounds`, labels int [B] -> [B, H, W, C].

    Args:
      epsilon: in pixel units.
      loss: (logits [B, K], labels [B]) -> [B].
      start: first point of the ascent [B, H, W, C]; None starts at the images.
    """

    def logits(perturbed):
        return network(perturbed, training=False)

    def stronger(iterate, kept):
        margin = losses.margin(logits(iterate), labels)
        return where_each(margin > kept[1], iterate, kept[0]), tf.maximum(margin, kept[1])

    start = images if start is None else tf.clip_by_value(start, *bounds)
    _, (strongest, _) = ascend(
        lambda perturbed: loss(logits(perturbed), labels),
        images,
        start,
        epsilon=epsilon,
        step_size=adaptive(steps, 2 * epsilon),
        steps=steps,
        bounds=bounds,
        ball=ball,
        observe=stronger,
        state=(start, losses.margin(logits(start), labels)),
    )
    return strongest


def untargeted(name: str, loss: Callable, *, ball: Ball = LINF, classes: int = 2, steps: int = STEPS) -> Member:
    """Return APGD as a prediction attack, one run that climbs a loss defined from so many `classes` on.

    With fewer classes it climbs the margin.
    """

    def chosen(network, images, labels, run, terms):
        return loss if terms.classes >= classes else losses.margin

    return Member(name, _climbing(chosen, ball, steps), caution=_caution(name, classes))


def towards_targets(name: str = "apgd_t", *, ball: Ball = LINF, steps: int = STEPS) -> Member:
    """Return APGD on the targeted ratio as a prediction attack: a run for each of the `TARGETS` strongest rivals."""

    def chosen(network, images, labels, run, terms):
        targets = rivals(network(images, training=False), labels, run)
        loss = targeted_dlr if terms.classes >= 4 else targeted_margin
        return lambda logits, labels: loss(logits, labels, targets)

    return Member(name, _climbing(chosen, ball, steps), runs=targets_of, caution=_caution(name, 4))


def _climbing(loss_of, ball, steps):
    """A member's `perturb`: APGD from a random start on the loss that (network, images, labels, run, terms) give."""

    def perturb(network, images, labels, *, indices, seed, run, terms):
        return apgd(
            network,
            images,
            labels,
            epsilon=terms.epsilon,
            steps=steps,
            bounds=terms.bounds,
            loss=loss_of(network, images, labels, run, terms),
            ball=ball,
            start=random_starts(images, indices, epsilon=terms.epsilon, ball=ball, seed=seed),
        )

    return perturb


def targets_of(terms: Terms) -> int:
    """Return how many classes a targeted attack goes towards."""
    return min(TARGETS, terms.classes - 1)


def _caution(name, classes):
    def caution(terms):
        if terms.classes >= classes:
            return None
        return (
            f"{name}: the difference-of-logits ratio is defined for {classes} classes or more, the network has "
            f"{terms.classes}: the plain difference of the same two logits takes its place"
        )

    return caution


APGD_CE = (untargeted("apgd_ce", losses.cross_entropy),)
APGD_DLR = (untargeted("apgd_dlr", dlr, classes=3),)
APGD_T = (towards_targets(),)
