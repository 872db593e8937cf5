"""The sets that an adversary may move in, each as three small functions: start, direction, project."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from rar_tf import similarity

_ALGORITHM = "philox"  # named, because what is chosen automatically differs between devices; XLA's draws still differ


class Ball(NamedTuple):
    """A neighbourhood of images.

    start: (images [B, ...], epsilon, seed int [2]) -> a random point of it [B, ...], not clipped to the pixel range.
    direction: ascent gradient [B, ...] -> step of unit size [B, ...].
    project: (perturbed, images, epsilon) -> the nearest point of it [B, ...].
    """

    start: Callable
    direction: Callable
    project: Callable


def _per_image_norm(x):
    return similarity.norm(x, keepdims=True)  # an image without a gradient has no direction: its step is zero, not NaN


def _linf_start(images, epsilon, seed):
    return images + epsilon * tf.random.stateless_uniform(
        tf.shape(images), seed, -1.0, 1.0, images.dtype, alg=_ALGORITHM
    )


def _l2_start(images, epsilon, seed):
    normal = tf.random.stateless_normal(tf.shape(images), seed, dtype=images.dtype, alg=_ALGORITHM)
    shape = tf.concat([tf.shape(images)[:1], tf.ones(images.shape.rank - 1, tf.int32)], 0)
    uniform = tf.random.stateless_uniform(shape, seed + [0, 1], dtype=images.dtype, alg=_ALGORITHM)
    dimension = tf.cast(tf.reduce_prod(tf.shape(images)[1:]), images.dtype)
    return images + epsilon * tf.pow(uniform, 1.0 / dimension) * normal / _per_image_norm(normal)


def _l2_direction(gradient):
    """Of length 1 also where a gradient is that of a saturated cross-entropy."""
    gradient = similarity.in_range(gradient)
    return gradient / _per_image_norm(gradient)


def _l2_project(perturbed, images, epsilon):
    delta = perturbed - images
    return images + delta * tf.minimum(1.0, epsilon / _per_image_norm(delta))


LINF = Ball(_linf_start, tf.sign, lambda x, images, epsilon: tf.clip_by_value(x, images - epsilon, images + epsilon))
L2 = Ball(_l2_start, _l2_direction, _l2_project)
# No constraint but the pixel range: a penalty inside the objective holds the adversary back. The start is random all
# the same, since the size of an attribution has no gradient at the image itself.
FREE = Ball(_linf_start, lambda gradient: gradient, lambda x, images, epsilon: x)
