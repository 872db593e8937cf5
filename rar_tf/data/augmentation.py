"""The class-balancing augmentation of Chen et al. 2019 (GTSRB, Flower), and the usual ones of CIFAR-10 and ImageNet.

An image is rotated by U(-15, 15) degrees about its centre (edges repeated), shifted by U(-2.5, 2.5) pixels a direction
(zeros come in), then its four corners are moved by U(-d, d) pixels a coordinate, d = 0.3 * height * U(0, 0.8) (edges
repeated); bilinear each time, and truncated to uint8 at the end. Its random numbers are a function of (seed, epoch,
index) alone.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

MAX_DEGREES = 15.0
MAX_SHIFT = 2.5
CORNER_FRACTION = 0.3
MAX_WARP = 0.8


class Warp(NamedTuple):
    """Parameters of B images: degrees [B], shift [B, 2] (x, y) and corners [B, 4, 2] (x, y) in pixels."""

    degrees: tf.Tensor
    shift: tf.Tensor
    corners: tf.Tensor


def uniforms(seed: int, epoch, indices, count: int) -> tf.Tensor:
    """Return [B, count] float32 in [0, 1), row b a function of (seed, epoch, indices[b]) alone."""
    root = tf.random.experimental.stateless_fold_in([seed % 2**31, 0], tf.cast(epoch, tf.int64))

    def row(index):
        return tf.random.stateless_uniform([count], tf.random.experimental.stateless_fold_in(root, index))

    return tf.map_fn(row, tf.cast(indices, tf.int64), fn_output_signature=tf.float32)


def draw(seed: int, epoch, indices, height: int) -> Warp:
    """Return random parameters of some images.

    Args:
      epoch: scalar; offline augmentation uses 0.
      indices: [B] index of each image in the balanced data set.
      height: image height in pixels, to which the corners' movement is proportional.
    """
    u = uniforms(seed, epoch, indices, 12)
    signed = 2.0 * u - 1.0
    reach = CORNER_FRACTION * height * MAX_WARP * u[:, 3]
    corners = reach[:, None, None] * tf.reshape(signed[:, 4:], [-1, 4, 2])
    return Warp(MAX_DEGREES * signed[:, 0], MAX_SHIFT * signed[:, 1:3], corners)


def rotate(images: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    """Return images rotated counter-clockwise about their centre. Shape: [B, H, W, C] float32, degrees [B]."""
    x, y = _centre(images)
    angle = degrees * np.float32(np.pi / 180)
    cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    rows = [cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos, zero, zero]
    return _warp(images, tf.stack(rows, axis=1), "NEAREST")


def translate(images: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Return images whose content is moved by pixels (right, down); zeros come in.

    Shape: [B, H, W, C] float32, shift [B, 2] -> [B, H, W, C].
    """
    one, zero = tf.ones_like(shift[:, 0]), tf.zeros_like(shift[:, 0])
    rows = [one, zero, -shift[:, 0], zero, one, -shift[:, 1], zero, zero]
    return _warp(images, tf.stack(rows, axis=1), "CONSTANT")


def project(images: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
    """Return images whose corners (0, 0), (0, H), (W, H), (W, 0) are moved by pixels (x, y).

    Shape: [B, H, W, C] float32, corners [B, 4, 2] -> [B, H, W, C].
    """
    height, width = images.shape[1:3]
    square = tf.constant([[0, 0], [0, height], [width, height], [width, 0]], tf.float64)
    moved = square + tf.cast(corners, tf.float64)
    x, y = moved[..., 0], moved[..., 1]
    u, v = tf.broadcast_to(square[:, 0], tf.shape(x)), tf.broadcast_to(square[:, 1], tf.shape(x))
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    # Eight equations per image for the projective map that takes each moved corner (x, y) back to (u, v).
    left = tf.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=-1)
    right = tf.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=-1)
    system = tf.concat([left, right], axis=1)
    solution = tf.linalg.solve(system, tf.concat([u, v], axis=1)[..., None])[..., 0]
    return _warp(images, tf.cast(solution, tf.float32), "NEAREST")


def _centre(images):
    return np.float32((images.shape[2] - 1) / 2), np.float32((images.shape[1] - 1) / 2)


def _warp(images, transforms, fill_mode):
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill_mode,
    )


def augment(images: tf.Tensor, warp: Warp) -> tf.Tensor:
    """Return images rotated, translated and projected. Shape: [B, H, W, C] uint8 -> [B, H, W, C] uint8, truncated."""
    moved = project(translate(rotate(tf.cast(images, tf.float32), warp.degrees), warp.shift), warp.corners)
    # Bilinear weights sum to 1 up to 1e-6 only: without the 1e-3 a flat area would lose a grey level.
    return tf.cast(tf.clip_by_value(moved + 1e-3, 0.0, 255.0), tf.uint8)


def crop_flip(images: tf.Tensor, seed: int, epoch, indices, padding: int = 4) -> tf.Tensor:
    """Return images padded with zeros, cropped at random to their size, and half of them mirrored.

    Shape: [B, H, W, C] of any dtype, kept.

    Args:
      seed, epoch, indices: as in `draw`.
      padding: pixels a side.
    """
    height, width = images.shape[1:3]
    u = uniforms(seed, epoch, indices, 3)
    offset = tf.cast(u[:, :2] * (2 * padding + 1), tf.int32)
    padded = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
    rows = offset[:, :1] + tf.range(height)
    columns = offset[:, 1:] + tf.range(width)
    columns = tf.where(u[:, 2:] < 0.5, columns, columns[:, ::-1])
    cropped = tf.gather(padded, rows, axis=1, batch_dims=1)
    cropped = tf.gather(cropped, columns, axis=2, batch_dims=1)
    return tf.ensure_shape(cropped, images.shape)


def resized_crop(images: tf.Tensor, seed: int, epoch, indices) -> tf.Tensor:
    """Return a random part of each image, scaled to the image's size, and half of them mirrored (Szegedy et al. 2015).

    The part has U(0.08, 1) of the image's area and, relative to the image, an aspect ratio from 3/4 to 4/3, uniform in
    its logarithm; sides longer than the image are cut to it. Bilinear; grey levels are rounded.

    Shape: [B, H, W, C] of any dtype, kept.

    Args:
      seed, epoch, indices: as in `draw`.
    """
    u = uniforms(seed, epoch, indices, 5)
    area, ratio = 0.08 + 0.92 * u[:, 0], tf.exp((2.0 * u[:, 1] - 1.0) * np.float32(np.log(4 / 3)))
    height, width = tf.minimum(tf.sqrt(area / ratio), 1.0), tf.minimum(tf.sqrt(area * ratio), 1.0)
    top, left = u[:, 2] * (1.0 - height), u[:, 3] * (1.0 - width)
    mirrored = u[:, 4] < 0.5
    first, last = tf.where(mirrored, left + width, left), tf.where(mirrored, left, left + width)
    boxes = tf.stack([top, first, top + height, last], axis=1)
    taken = tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), images.shape[1:3])
    return tf.ensure_shape(tf.cast(tf.round(taken) if images.dtype.is_integer else taken, images.dtype), images.shape)


class Balance(NamedTuple):
    """A balanced data set, class after class: source row, whether it is augmented, and label, [M] each."""

    rows: np.ndarray
    augmented: np.ndarray
    labels: np.ndarray


def balance(labels: np.ndarray, num_classes: int, examples_per_class: int, seed: int) -> Balance:
    """Return a plan of exactly `examples_per_class` images per class: originals, then augmented copies of them in turn.

    A class with more originals than that gives a random choice of them; a class without any gives nothing.

    Shape: labels [N] -> M rows.
    """
    rows, augmented, classes = [], [], []
    for label in range(num_classes):
        originals = np.flatnonzero(labels == label)
        if not len(originals):
            continue
        if len(originals) > examples_per_class:
            chosen = np.random.default_rng([seed, label]).permutation(len(originals))[:examples_per_class]
            originals = originals[np.sort(chosen)]
        position = np.arange(examples_per_class)
        rows.append(originals[position % len(originals)])
        augmented.append(position >= len(originals))
        classes.append(np.full(examples_per_class, label, np.int64))
    return Balance(np.concatenate(rows), np.concatenate(augmented), np.concatenate(classes))
