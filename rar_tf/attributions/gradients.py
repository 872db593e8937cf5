"""Gradients of a target with respect to its images, and the two attributions made of one alone."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from rar_tf import derivatives
from rar_tf.errors import UsageError

ScoreFunction = Callable[[tf.Tensor], tf.Tensor]

derivatives.mend()  # what is a gradient here is differentiated once more elsewhere


class Kind(NamedTuple):
    """An attribution and what others have to know of it.

    function: (target, images [B, H, W, C]) -> signed, un-normalised attributions [B, H, W, C]; with the keywords
    `steps` and `chunk` where it takes a path. proportional: it is the image times something, so that it moves with the
    image even where the network does not. takes_path: it integrates over a path from black to the image. slope: the
    function that gives what the image is multiplied with, with the same keywords, where it is proportional.
    takes_baseline: it has the keyword `baseline`, the pixel value that stands for nothing. smooth: it is differentiable
    wherever the network's gradient is. check: (network) raises UsageError where it cannot explain that network.
    """

    function: Callable[..., tf.Tensor]
    proportional: bool = False
    takes_path: bool = False
    slope: Callable[..., tf.Tensor] | None = None
    takes_baseline: bool = False
    smooth: bool = True
    check: Callable[[object], None] = lambda network: None


def as_float(images: tf.Tensor) -> tf.Tensor:
    """Return images as they are, and grey levels of an integer dtype, which have no gradient, as float32."""
    images = tf.convert_to_tensor(images)
    return images if images.dtype.is_floating else tf.cast(images, tf.float32)


def gradient(target: ScoreFunction, images: tf.Tensor) -> tf.Tensor:
    """Return the gradient of each sample's scalar with respect to its own image.

    Shape: images [N, ...] -> [N, ...].
    """
    images = as_float(images)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        total = tf.reduce_sum(scalars(target(images)))
    return tape.gradient(total, images, unconnected_gradients="zero")


def scalars(values: tf.Tensor) -> tf.Tensor:
    """Return a target's values. Raises: UsageError where they are several for each image, as a network's logits are."""
    if values.shape.rank is not None and values.shape.rank > 1:
        raise UsageError(
            f"a target gives one scalar per image, this one gives {tuple(values.shape)}: of a network take the logit "
            "of a class, rar_tf.Target(network, labels)"
        )
    return values


def saliency_map(target: ScoreFunction, images: tf.Tensor) -> tf.Tensor:
    """Return the simple gradient ∂target/∂images, signed (Simonyan et al. 2013).

    Shape: images [B, H, W, C] -> [B, H, W, C].
    """
    return gradient(target, images)


def input_x_gradient(target: ScoreFunction, images: tf.Tensor) -> tf.Tensor:
    """Return images ⊙ ∂target/∂images, signed.

    Shape: images [B, H, W, C] -> [B, H, W, C].
    """
    images = as_float(images)
    return images * gradient(target, images)


SALIENCY = Kind(saliency_map)
INPUT_X_GRADIENT = Kind(input_x_gradient, proportional=True, slope=gradient)
