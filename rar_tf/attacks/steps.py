"""How far an ascent steps: a size that is given, or one that adapts to each sample (Croce and Hein 2020)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Move(NamedTuple):
    """What a step rule knows of a step.

    step [] counts from 0; iterate, gradient [B, H, W, C] and value [B] are those before the step; direction makes a
    unit step of a gradient; project brings a point back into the ball and the pixel range.
    """

    step: tf.Tensor
    iterate: tf.Tensor
    value: tf.Tensor
    gradient: tf.Tensor
    direction: Callable[[tf.Tensor], tf.Tensor]
    project: Callable[[tf.Tensor], tf.Tensor]


class StepRule(NamedTuple):
    """A step rule: memory (start [B, H, W, C]) -> tensors; propose (move, memory) -> (base, proposal, memory).

    `base` is the point that the step begins at: the iterate, or an earlier one to go on from.
    """

    memory: Callable[[tf.Tensor], Any]
    propose: Callable[[Move, Any], tuple[tf.Tensor, tf.Tensor, Any]]


def fixed(size: float | Callable[[tf.Tensor], tf.Tensor]) -> StepRule:
    """Return the rule of a step size in pixel units: a number, or a function of the step's index."""

    def propose(at, memory):
        length = size(at.step) if callable(size) else size
        return at.iterate, at.project(at.iterate + length * at.direction(at.gradient)), memory

    return StepRule(lambda start: (), propose)


class _Adaptive(NamedTuple):
    """previous iterate; best point, its gradient and value; step size; values and sizes at the last checkpoint."""

    previous: tf.Tensor
    best: tf.Tensor
    best_gradient: tf.Tensor
    best_value: tf.Tensor
    size: tf.Tensor
    last_value: tf.Tensor
    rises: tf.Tensor
    checked_size: tf.Tensor
    checked_value: tf.Tensor


def adaptive(steps: int, size: float, *, momentum: float = 0.75, rises: float = 0.75) -> StepRule:
    """Return the rule of APGD: momentum, and a step size of each sample's own that halves where progress stalls.

    At checkpoints that come closer to each other (after .22, .41, .57, … of the steps) the size halves and the sample
    goes on from its best point where fewer than `rises` of the steps rose, or where neither size nor best value changed
    since the last checkpoint (Croce and Hein 2020, Algorithm 1).

    Args:
      steps: number of steps of the ascent.
      size: the first size, in pixel units.
      momentum: share of the proposal in a step; the rest repeats the step before.
    """
    spans = tf.constant(_spans(steps))

    def memory(start):
        batch = tf.shape(start)[:1]
        low, full = tf.fill(batch, start.dtype.min), tf.fill(batch, tf.cast(size, start.dtype))
        return _Adaptive(start, start, tf.zeros_like(start), low, full, low, tf.zeros(batch, tf.int32), 2 * full, low)

    def propose(at, m):
        better = at.value > m.best_value
        best, best_gradient = where_each(better, at.iterate, m.best), where_each(better, at.gradient, m.best_gradient)
        best_value = tf.where(better, at.value, m.best_value)
        risen = m.rises + tf.cast((at.step > 0) & (at.value > m.last_value), tf.int32)
        span = spans[at.step]
        due = span > 0
        stalled = tf.cast(risen, tf.float32) < rises * tf.cast(span, tf.float32)
        unchanged = (m.checked_size == m.size) & (m.checked_value >= best_value)
        halve = due & (stalled | unchanged)
        length = tf.where(halve, m.size / 2, m.size)
        base, slope = where_each(halve, best, at.iterate), where_each(halve, best_gradient, at.gradient)
        previous = where_each(halve | (at.step == 0), base, m.previous)
        ahead = at.project(base + per_pixel(length, base) * at.direction(slope))
        proposal = at.project(base + momentum * (ahead - base) + (1 - momentum) * (base - previous))
        proposal = tf.where(at.step == 0, ahead, proposal)
        return (
            base,
            proposal,
            _Adaptive(
                base,
                best,
                best_gradient,
                best_value,
                length,
                at.value,
                tf.where(due, 0, risen),
                tf.where(due, m.size, m.checked_size),
                tf.where(due, best_value, m.checked_value),
            ),
        )

    return StepRule(memory, propose)


def _spans(steps):
    """For each step the number of steps since the last checkpoint where it is one, 0 elsewhere."""
    share, width, checkpoints = 0.0, 0.22, [0]
    while share + width < 1:
        share += width
        checkpoints.append(int(np.ceil(share * steps)))
        width = max(width - 0.03, 0.06)
    spans = np.zeros(steps + 1, np.int32)
    for last, checkpoint in zip(checkpoints, checkpoints[1:]):
        spans[checkpoint] = checkpoint - last
    return spans


def where_each(condition: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Choose whole samples. Shape: bool [B], [B, ...], [B, ...] -> [B, ...]."""
    return tf.where(condition[(...,) + (None,) * (first.shape.rank - 1)], first, second)


def per_pixel(values: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Return one value per sample so that it broadcasts to images. Shape: [B], [B, H, W, C] -> [B, 1, 1, 1]."""
    return tf.reshape(values, [-1] + [1] * (images.shape.rank - 1))
