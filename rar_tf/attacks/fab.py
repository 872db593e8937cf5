"""FAB, the fast adaptive boundary attack: the nearest image beyond the boundary (Croce and Hein 2020, ICML).

The budget plays no part in the search: each step goes to the boundary of the network as it is linearised at the
iterate, a little beyond it, and is drawn towards the image. So it is no ascent in a ball, and has a loop of its own.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks.apgd import STEPS, rivals, targeted_margin, targets_of
from rar_tf.attacks.balls import LINF, Ball
from rar_tf.attacks.predictions import Member
from rar_tf.attacks.steps import per_pixel, where_each
from rar_tf.similarity import flatten

OVERSHOOT = 1.05  # η
LARGEST_PULL = 0.1  # α_max, towards the image
RETREAT = 0.9  # β: how far from the image to go on after a success


class Nearest(NamedTuple):
    """The nearest images found that lose their labels [B, H, W, C], and how far they are [B].

    Where none was found: the image itself, and ∞.
    """

    images: tf.Tensor
    distance: tf.Tensor


def fab(
    network,
    images: tf.Tensor,
    labels: tf.Tensor,
    targets: tf.Tensor,
    *,
    steps: int,
    bounds: tuple[float, float],
    ball: Ball = LINF,
) -> Nearest:
    """Return the nearest images that lose their labels, found in a search towards the targets' side of the boundary.

    Shape: images [B, H, W, C] in `bounds`, labels and targets int [B].

    Args:
      ball: whose norm is the distance, ℓ∞ or ℓ2.
    """
    order = np.inf if ball is LINF else 2

    def length(moves):
        return tf.norm(flatten(moves), ord=order, axis=1)

    def body(step, iterate, nearest):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(iterate)
            gap = targeted_margin(network(iterate, training=False), labels, targets)
        slope = tape.gradient(gap, iterate, unconnected_gradients="zero")
        ahead = tf.reduce_sum(flatten(slope * (iterate - images)), axis=1)
        moves = to_hyperplane(
            tf.concat([iterate, images], 0),
            tf.concat([slope, slope], 0),
            tf.concat([-gap, ahead - gap], 0),
            bounds=bounds,
            ball=ball,
        )
        near, far = tf.split(tf.maximum(length(moves), 1e-8), 2)
        pull = per_pixel(tf.minimum(near / (near + far), LARGEST_PULL), images)
        from_iterate, from_image = tf.split(tf.concat([iterate, images], 0) + OVERSHOOT * moves, 2)
        proposal = tf.clip_by_value((1 - pull) * from_iterate + pull * from_image, *bounds)

        lost = losses.margin(network(proposal, training=False), labels) > 0
        distance = length(proposal - images)
        closer = lost & (distance < nearest.distance)
        nearest = Nearest(where_each(closer, proposal, nearest.images), tf.where(closer, distance, nearest.distance))
        iterate = where_each(lost, images + RETREAT * (proposal - images), proposal)
        return step + 1, tf.ensure_shape(iterate, images.shape), nearest

    nothing = Nearest(images, tf.fill(tf.shape(images)[:1], tf.constant(np.inf, images.dtype)))
    *_, nearest = tf.while_loop(
        lambda step, *_: step < steps, body, (0, images, nothing), parallel_iterations=1, maximum_iterations=steps
    )
    return tf.nest.map_structure(tf.stop_gradient, nearest)


def to_hyperplane(
    points: tf.Tensor, normal: tf.Tensor, offset: tf.Tensor, *, bounds: tuple[float, float], ball: Ball = LINF
) -> tf.Tensor:
    """Return the shortest moves with ⟨normal, move⟩ = offset inside the pixel range; out of reach, the furthest.

    The shortest move is clip(λ·r) with r the ball's direction of steepest ascent: pixels move together until each meets
    its bound. What they gain, Σ a·min(λ, b), is piecewise linear in λ, so λ is found by sorting the b (Croce and Hein
    2020, Section 2.3).

    Shape: points, normal [B, H, W, C], offset [B] -> [B, H, W, C].
    """
    low, high = bounds
    normal = normal * tf.sign(per_pixel(offset, normal))
    rate = ball.direction(normal)
    room = tf.maximum(tf.where(rate > 0, high - points, points - low), 0)
    gain = flatten(normal * rate)
    until = flatten(tf.math.divide_no_nan(room, tf.abs(rate)))

    order = tf.argsort(until, axis=1)
    until, gain = (tf.gather(values, order, axis=1, batch_dims=1) for values in (until, gain))
    zero = tf.zeros_like(until[:, :1])
    stopped = tf.concat(
        [zero, tf.cumsum(gain * until, axis=1)], axis=1
    )  # gained by the first k pixels, at their bounds
    moving = tf.concat(
        [tf.cumsum(gain, axis=1, reverse=True), zero], axis=1
    )  # gained by the others, for each unit of λ
    wanted = tf.abs(offset)[:, None]
    count = tf.reduce_sum(tf.cast(stopped[:, :-1] + moving[:, :-1] * until < wanted, tf.int32), axis=1)
    stopped, moving = (tf.gather(values, count, axis=1, batch_dims=1) for values in (stopped, moving))
    reach = tf.where(moving > 0, (wanted[:, 0] - stopped) / tf.where(moving > 0, moving, 1.0), until[:, -1])
    return tf.sign(rate) * tf.minimum(tf.abs(rate) * per_pixel(reach, rate), room)


def towards_targets(name: str = "fab_t", *, ball: Ball = LINF, steps: int = STEPS) -> Member:
    """Return FAB as a prediction attack: from the image, a run for each of the strongest rivals.

    An image found just outside the ball is brought back into it: what remains of it may still lose the label.
    """

    def perturb(network, images, labels, *, indices, seed, run, terms):
        targets = rivals(network(images, training=False), labels, run)
        found = fab(network, images, labels, targets, steps=steps, bounds=terms.bounds, ball=ball).images
        return tf.clip_by_value(ball.project(found, images, terms.epsilon), *terms.bounds)

    return Member(name, perturb, runs=targets_of)


FAB_T = (towards_targets(),)
