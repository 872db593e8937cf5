"""The one projected-ascent loop: every adversary, of predictions and of attributions, is an objective plus this."""

from collections.abc import Callable

import tensorflow as tf

from rar_tf.attacks.balls import LINF, Ball
from rar_tf.attacks.steps import Move, StepRule, fixed


def ascend(
    objective: Callable[..., tf.Tensor],
    images: tf.Tensor,
    start: tf.Tensor,
    *,
    epsilon: float | tf.Tensor,
    step_size: float | Callable[[tf.Tensor], tf.Tensor] | StepRule,
    steps: int,
    bounds: tuple[float, float],
    ball: Ball = LINF,
    move: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    observe: Callable | None = None,
    state=(),
    changing: bool = False,
) -> tuple[tf.Tensor, tuple]:
    """Climb `objective` from `start` inside a ball around `images` (Madry et al. 2018).

    Each step moves by step_size · direction(gradient), then projects onto the ball, then clips to the pixel range.
    The loop runs on the device as one `tf.while_loop`; no gradient flows through it.

    Shape: images, start [B, H, W, C] -> last iterate [B, H, W, C].

    Args:
      objective: maps perturbed images [B, H, W, C] to one value per sample [B], to be made large; with `changing` it
        takes the step's index as a second argument.
      epsilon: radius, a number or broadcastable to the images.
      step_size: a number, a function of the step's index 0, 1, …, or a rule of `attacks.steps`.
      steps: number of steps.
      bounds: pixel range.
      move: (iterate, proposal) -> next iterate, for adversaries that reject or round proposals.
      observe: (iterate, state) -> state, called on every new iterate: keeps the best one, records a curve.
      state: a structure of tensors of constant shape.

    Returns: the last iterate and the last state.
    """
    low, high = bounds
    rule = step_size if isinstance(step_size, StepRule) else fixed(step_size)

    def project(x):
        return tf.clip_by_value(ball.project(x, images, epsilon), low, high)

    def body(step, iterate, memory, state):
        climbed = (lambda x: objective(x, step)) if changing else objective
        value, gradient = value_and_gradient(climbed, iterate)
        here = Move(step, iterate, value, gradient, ball.direction, project)
        base, proposal, memory = rule.propose(here, memory)
        iterate = proposal if move is None else move(base, proposal)
        iterate = tf.ensure_shape(iterate, images.shape)
        return step + 1, iterate, memory, state if observe is None else observe(iterate, state)

    _, iterate, _, state = tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (0, start, rule.memory(start), state),
        parallel_iterations=1,
        maximum_iterations=steps,
    )
    return tf.stop_gradient(iterate), state


def value_and_gradient(objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return an objective's values [B] at images [B, H, W, C], and its gradient there."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        value = objective(images)
        total = tf.reduce_sum(value)
    return value, tape.gradient(total, images, unconnected_gradients="zero")
