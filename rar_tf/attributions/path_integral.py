"""Integrated gradients along a straight path, of images and of hidden layers, as pure functions of a target.

A *target* is a callable that maps images [r*B, H, W, C] to one scalar per sample [r*B]; `r` counts repetitions of the
batch and the sample of row `n` is `n % B` (see `rar_tf.attributions.targets.Target`). Everything here is
differentiable once more with respect to the images, the baseline and the parameters of the target.

Integrated gradients: Sundararajan et al. 2017; of a hidden layer: Chen et al. 2019, Lemma 2 and Eq. (9).
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from rar_tf import checks
from rar_tf.attributions import RULES
from rar_tf.attributions.gradients import Kind, ScoreFunction, as_float, gradient


def quadrature(rule: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the points in [0, 1] and the weights of a quadrature rule with `steps` intervals (or nodes).

    Raises: UsageError for an unknown rule or steps < 1.
    """
    checks.one_of(RULES, rule=rule)
    checks.at_least_one(ig_steps=steps)
    k = np.arange(1, steps + 1)
    uniform = np.full(steps, 1.0 / steps)
    if rule == "right":
        return k / steps, uniform
    if rule == "left":
        return (k - 1) / steps, uniform
    if rule == "midpoint":
        return (k - 0.5) / steps, uniform
    if rule == "trapezoid":
        ends = np.where((np.arange(steps + 1) % steps) == 0, 0.5, 1.0)
        return np.arange(steps + 1) / steps, ends / steps
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


def integrated_gradients(
    target: ScoreFunction,
    images: tf.Tensor,
    baseline: float | tf.Tensor = 0.0,
    *,
    steps: int = 50,
    rule: str = "right",
    chunk: int | None = None,
    shift: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the integrated gradients of `target` from `baseline` to `images`, signed and un-normalised.

    IG_i = (x_i − b_i) Σ_k w_k ∂target/∂z_i at z = b + t_k (x − b).

    Where the target declares itself invariant to the scale of its images (`target.scale_invariant`) and the baseline is
    the number 0, the sum has the closed form Σ_k (w_k/t_k) x ⊙ ∇target(x), with the rule `right` (1 + 1/2 + … +
    1/steps) x ⊙ ∇target(x), which takes one gradient instead of `steps`. Path points that are too dark for it, below
    the floor of per-image standardisation, std(x)·t_k < 1/sqrt(HWC), are summed one by one, not chunked.

    Shape: images [B, H, W, C], baseline a number or broadcastable to the images -> [B, H, W, C].

    Args:
      steps: number m of path intervals (of nodes for gauss_legendre), at least 1.
      rule: one of `RULES`; `right` is the papers'.
      target: a `Target` of a split network (`models.split`) has its first layer computed at both ends of the path only.
      chunk: path points held in memory at once; None takes all in one batch. The values are the same. Gradients of
        a chunked sum reach images, baseline and `target.parameters` (recomputed chunk by chunk), nothing else.
      shift: moves the path points, by a part of an interval in [−1/2, 1/2], for attacks that must not fit themselves to
        a few points.

    Raises: UsageError for an unknown rule, steps < 1 or chunk < 1.
    """
    images = as_float(images)
    if _is_along_a_ray(target, baseline):
        return _ray_sum(target, images, steps, rule, shift, times=images)
    return _path_integrated_gradients(target, images, baseline, steps, rule, chunk, shift)


def mean_gradient(
    target: ScoreFunction,
    images: tf.Tensor,
    baseline: float | tf.Tensor = 0.0,
    *,
    steps: int = 50,
    rule: str = "right",
    chunk: int | None = None,
) -> tf.Tensor:
    """Return the gradient of `target` averaged over the path, of which IG(x) = (x − baseline) ⊙ mean gradient.

    Shape: images [B, H, W, C] -> [B, H, W, C]. Args and Raises: as `integrated_gradients`.
    """
    images = as_float(images)
    if _is_along_a_ray(target, baseline):
        return _ray_sum(target, images, steps, rule)
    return _path_slope(target, _start(images, baseline), images, steps, rule, chunk)


def _start(images, baseline):
    start = tf.broadcast_to(tf.cast(baseline, images.dtype), tf.shape(images))
    return tf.ensure_shape(start, images.shape)


def _is_along_a_ray(target, baseline):
    return isinstance(baseline, (int, float)) and baseline == 0 and getattr(target, "scale_invariant", False)


def _path_integrated_gradients(target, images, baseline, steps, rule, chunk, shift=None):
    start = _start(images, baseline)
    return (images - start) * _path_slope(target, start, images, steps, rule, chunk, shift)


def _path_slope(target, start, images, steps, rule, chunk, shift=None):
    """Σ_k w_k ∂target/∂z at z = start + t_k (images − start), the first layer apart where the network is split."""
    split = getattr(target, "split", None)
    if split is None:
        return _path_gradient(target, start, images, steps, rule, chunk, shift)
    ends = split.affine(start), split.affine(images)
    return split.pull_back(_path_gradient(target.after_split, *ends, steps, rule, chunk, shift), images)


def _path_gradient(target, start, end, steps, rule, chunk, shift=None):
    """Σ_k w_k ∂target/∂z at z = start + t_k (end − start), so many path points at once."""
    points, weights = quadrature(rule, steps)
    if chunk is None or chunk >= len(points):
        return _mean_gradient(
            target, start, end, _shifted(points, steps, shift, end.dtype), tf.constant(weights, end.dtype)
        )
    checks.at_least_one(ig_chunk=chunk)
    padding = -len(points) % chunk  # padded points weigh nothing
    points, weights = (np.pad(values, (0, padding)).reshape(-1, chunk) for values in (points, weights))
    points, weights = _shifted(points, steps, shift, end.dtype), tf.constant(weights, end.dtype)
    return _chunked_path_gradient(target, start, end, points, weights)


def _shifted(points, steps, shift, dtype):
    """The path points as a tensor, moved by a part of an interval."""
    points = tf.constant(points, dtype)
    return points if shift is None else points + tf.cast(shift, dtype) / steps


def _mean_gradient(target, start, end, points, weights):
    """Σ_k w_k ∂target/∂z at z = start + t_k (end − start), all path points in one batch.

    Shape: start, end [B, ...], points [K], weights [K] or one for each image [K, B, 1, ...] -> [B, ...].
    """
    along = tf.reshape(points, [-1] + [1] * end.shape.rank)
    path = start[None] + along * (end - start)[None]
    flat = tf.reshape(path, tf.concat([[-1], tf.shape(end)[1:]], 0))
    flat.set_shape([None] + end.shape[1:].as_list())
    gradients = tf.reshape(gradient(target, flat), tf.shape(path))
    return tf.tensordot(weights, gradients, 1) if weights.shape.rank == 1 else tf.reduce_sum(weights * gradients, 0)


def _ray_sum(target, images, steps, rule, shift=None, times=1.0):
    """times ⊙ Σ_k w_k ∇f(t_k x) where f(αx) = f(x) holds above the floor of standardisation, and is not used below.

    There ∇f(t x) = ∇f(x)/t, so that the points from the first one above the floor on weigh Σ w_k/t_k together.
    """
    points, weights = quadrature(rule, steps)  # rising
    together = tf.math.cumsum(tf.constant(weights) / _shifted(points, steps, shift, tf.float64), reverse=True)
    together = tf.cast(tf.concat([together, [0.0]], 0), images.dtype)
    points = _shifted(points, steps, shift, images.dtype)
    floor = tf.math.rsqrt(tf.cast(tf.reduce_prod(tf.shape(images)[1:]), images.dtype))
    deviation = tf.stop_gradient(tf.math.reduce_std(images, axis=[1, 2, 3], keepdims=True))
    is_dark = tf.reshape(points, [-1, 1, 1, 1, 1]) * deviation[None] < floor
    dark = tf.reduce_sum(tf.cast(is_dark, tf.int32), 0)
    bright = tf.gather(together, dark) * (times * gradient(target, images))

    def with_dark(count):
        """`bright` and the dark ones among the first `count` points, all of them in one batch."""
        own = tf.cast(is_dark[:count], images.dtype)
        own *= tf.reshape(tf.constant(weights[:count], images.dtype), [-1, 1, 1, 1, 1])
        # Not chunked: TensorFlow cannot differentiate a chunked sum in a branch of a cond inside a loop.
        return bright + times * _mean_gradient(target, tf.zeros_like(images), images, points[:count], own)

    # Few numbers of points and not as many as there are dark ones: XLA compiles for fixed shapes.
    darkest, few = tf.reduce_max(dark), -(-len(weights) // 4)
    return tf.cond(
        darkest == 0,
        lambda: bright,
        lambda: tf.cond(darkest <= few, lambda: with_dark(few), lambda: with_dark(len(weights))),
    )


def _chunked_path_gradient(target, start, end, points, weights):
    """The path sum and its gradient with only one row of path points [chunks, chunk] alive at a time.

    With u the upstream gradient, ∂L is Σ_k over the path of the gradient of ⟨u w_k, ∇target(z_k)⟩, so the backward pass
    visits the chunks once more. Inputs and parameters have a loop each, because a graph drops the one
    whose result nobody asks for: adversaries differentiate by images, training steps by parameters.
    """
    variables = list(getattr(target, "parameters", ()))

    def accumulate(part, zeros):
        """Sum part(points, weights) over the chunks, one after the other."""
        one = tf.function(part, autograph=False, experimental_attributes={"_noinline": True})

        def body(index, totals):
            return index + 1, [total + value for total, value in zip(totals, one(points[index], weights[index]))]

        count = points.shape[0]
        return tf.while_loop(
            lambda index, _: index < count, body, (0, zeros), parallel_iterations=1, maximum_iterations=count
        )[1]

    @tf.custom_gradient
    def mean_gradient(start, end, *parameters):
        def with_parameters(images):
            return target(images, parameters=parameters) if parameters else target(images)

        def backward(upstream, variables=()):
            def part(sources):
                def gradients(points, weights):
                    with tf.GradientTape(watch_accessed_variables=False) as tape:
                        tape.watch(sources)
                        total = tf.reduce_sum(upstream * _mean_gradient(with_parameters, start, end, points, weights))
                    return tape.gradient(total, sources, unconnected_gradients="zero")

                return accumulate(gradients, [tf.zeros_like(source) for source in sources])

            inputs = (*part([start, end]), *(part(list(parameters)) if parameters else ()))
            return (inputs, [None] * len(variables)) if variables else inputs

        (value,) = accumulate(
            lambda points, weights: [_mean_gradient(with_parameters, start, end, points, weights)], [tf.zeros_like(end)]
        )
        return value, backward

    return mean_gradient(start, end, *[tf.convert_to_tensor(variable) for variable in variables])


def hidden_integrated_gradients(
    target: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    images: tf.Tensor,
    baseline: float | tf.Tensor = 0.0,
    *,
    steps: int = 50,
    rule: str = "right",
) -> tf.Tensor:
    """Return the integrated gradients of the units of a hidden layer along the curve that the straight path induces.

    IG_i = Σ_k w_k (∂f/∂h_i at h(z_k)) · Σ_j (∂h_i/∂x_j)(x_j − b_j) (Chen et al. 2019, Lemma 2, Eq. (9)); the second
    factor is a Jacobian-vector product.

    Shape: images [B, H, W, C] -> [B, ...], the hidden layer's shape.

    Args:
      target: maps images [r*B, H, W, C] to (hidden [r*B, ...], scalars [r*B]), the scalars computed from the hidden.
    """
    start = tf.broadcast_to(tf.cast(baseline, images.dtype), tf.shape(images))
    points, weights = quadrature(rule, steps)
    along = tf.reshape(tf.constant(points, images.dtype), [-1] + [1] * images.shape.rank)
    path = start[None] + along * (images - start)[None]
    shape = tf.concat([[-1], tf.shape(images)[1:]], 0)
    flat = tf.ensure_shape(tf.reshape(path, shape), [None] + images.shape[1:].as_list())
    direction = tf.reshape(tf.broadcast_to((images - start)[None], tf.shape(path)), shape)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(flat)
        with tf.autodiff.ForwardAccumulator(flat, direction) as accumulator:
            hidden, values = target(flat)
        total = tf.reduce_sum(values)
    change = tape.gradient(total, hidden) * accumulator.jvp(hidden)
    change = tf.reshape(change, tf.concat([[len(points), -1], tf.shape(hidden)[1:]], 0))
    return tf.tensordot(tf.constant(weights, images.dtype), change, 1)


INTEGRATED_GRADIENTS = Kind(
    integrated_gradients, proportional=True, takes_path=True, slope=mean_gradient, takes_baseline=True
)
