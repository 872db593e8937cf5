"""Attributions by changed images: averages over noise, and what covering a part of the image costs."""

import numpy as np
import tensorflow as tf

from rar_tf.attributions.gradients import Kind, ScoreFunction, gradient

SAMPLES, NOISE = 25, 0.15


def smooth_grad(target: ScoreFunction, images: tf.Tensor, *, samples: int = SAMPLES, noise: float = NOISE) -> tf.Tensor:
    """Return the simple gradient averaged over noisy copies of each image, signed (SmoothGrad, Smilkov et al. 2017).

    The noise is the same at every call and for every image, so that equal images have equal maps.

    Shape: images [B, H, W, C] -> [B, H, W, C].

    Args:
      samples: copies. noise: their standard deviation, in parts of each image's own range.
    """
    images = tf.convert_to_tensor(images)
    own_range = tf.reduce_max(images, [1, 2, 3], keepdims=True) - tf.reduce_min(images, [1, 2, 3], keepdims=True)
    draws = tf.random.stateless_normal(tf.concat([[samples, 1], tf.shape(images)[1:]], 0), (0, 0), dtype=images.dtype)
    noisy = images[None] + noise * own_range * draws
    flat = tf.ensure_shape(tf.reshape(noisy, tf.concat([[-1], tf.shape(images)[1:]], 0)), [None, *images.shape[1:]])
    return tf.reduce_mean(tf.reshape(gradient(target, flat), tf.shape(noisy)), axis=0)


def occlusion(target: ScoreFunction, images: tf.Tensor, *, baseline: float = 0.0) -> tf.Tensor:
    """Return by how much the score falls where a square window is covered (Zeiler and Fergus 2014).

    The window's side is a seventh of the image's longer side, and it moves by half of that; a pixel has the mean over
    the windows that cover it, divided among its channels.

    Shape: images [B, H, W, C] -> [B, H, W, C].

    Args:
      baseline: the pixel value that covers.
    """
    images = tf.convert_to_tensor(images)
    masks = tf.constant(windows(*images.shape[1:3]), images.dtype)
    score = lambda images: tf.cast(target(images), images.dtype)
    scores = score(images)
    falls = tf.map_fn(lambda mask: scores - score(images + mask * (baseline - images)), masks, parallel_iterations=1)
    covered = tf.reduce_sum(masks, axis=0)
    found = tf.tensordot(falls, masks, [[0], [0]]) / covered
    channels = images.shape[-1]
    return tf.tile(found, [1, 1, 1, channels]) / channels


def windows(height: int, width: int) -> np.ndarray:
    """Return masks, 1 in a window and 0 elsewhere, that cover every pixel. Shape: [M, H, W, 1]."""
    side = -(-max(height, width) // 7)
    stride = max(side // 2, 1)
    tops, lefts = ([*range(0, max(size - side, 0), stride), max(size - side, 0)] for size in (height, width))
    masks = np.zeros((len(tops) * len(lefts), height, width, 1))
    for mask, (top, left) in zip(masks, ((top, left) for top in tops for left in lefts)):
        mask[top : top + side, left : left + side] = 1
    return masks


SMOOTH_GRAD = Kind(smooth_grad, smooth=False)
OCCLUSION = Kind(occlusion, takes_baseline=True)
