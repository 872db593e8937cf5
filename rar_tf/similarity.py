"""How alike the samples of two tensors are, and how long each is: differentiable, with finite gradients at zero."""

import tensorflow as tf

SMALLEST_NORM = 1e-12  # the root of a sum of squares has no gradient at zero, so lengths are no smaller than this


def flatten(x: tf.Tensor) -> tf.Tensor:
    """Return [N, ...] as [N, d]."""
    return tf.reshape(x, [tf.shape(x)[0], -1])


def norm(x: tf.Tensor, *, keepdims: bool = False) -> tf.Tensor:
    """Return the Euclidean norm of each sample, at least `SMALLEST_NORM`; its gradient at zero is zero.

    Shape: [N, ...] -> [N], or [N, 1, ...] to divide the samples by.
    """
    squares = tf.reduce_sum(tf.square(x), axis=list(range(1, x.shape.rank)), keepdims=keepdims)
    return tf.sqrt(tf.maximum(squares, SMALLEST_NORM**2))


def in_range(x: tf.Tensor) -> tf.Tensor:
    """Return each sample, in parts of its largest entry where float32 does not hold its squares.

    Shape: [N, ...] -> the same. No gradient is to flow through it.
    """
    largest = tf.reduce_max(tf.abs(x), axis=list(range(1, x.shape.rank)), keepdims=True)
    held = (largest > SMALLEST_NORM) & (largest < 1 / SMALLEST_NORM)
    return tf.where(held, x, tf.math.divide_no_nan(x, largest))


def unit(x: tf.Tensor) -> tf.Tensor:
    """Return each sample as a vector of length 1; zeros stay zeros. Shape: [N, ...] -> [N, d]."""
    return tf.math.l2_normalize(flatten(x), axis=1, epsilon=SMALLEST_NORM**2)


def cosine_similarity(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return the cosine of each sample's angle, 0 where one of the two is zero. Shape: both [N, ...] -> [N]."""
    return tf.reduce_sum(unit(a) * unit(b), axis=1)


def pearson_correlation(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return each sample's Pearson correlation, 0 where one of the two is constant. Shape: both [N, ...] -> [N]."""
    a, b = (flatten(v) for v in (a, b))
    return cosine_similarity(*(v - tf.reduce_mean(v, axis=1, keepdims=True) for v in (a, b)))
