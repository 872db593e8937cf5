"""Histogram equalisation of each channel by OpenCV's equalizeHist rule (Chen et al. 2019, for GTSRB).

Grey level g of a channel of T pixels becomes round((cdf(g) - h0) * 255 / (T - h0)), where h0 is the count of the
channel's lowest occurring level, so that this level becomes 0 and the highest 255. A constant channel stays as it is.
The quotient and the product are float32 and halves are rounded to even, as there.
"""

import numpy as np
import tensorflow as tf


def equalize(images: np.ndarray, chunk: int = 4096) -> np.ndarray:
    """Return numpy images equalised, a new array, `chunk` images at a time. Shape: [N, H, W, C] uint8, both."""
    result = np.empty_like(images)
    with tf.device("CPU"):
        for start in range(0, len(images), chunk):
            result[start : start + chunk] = equalize_batch(tf.constant(images[start : start + chunk])).numpy()
    return result


def equalize_batch(images: tf.Tensor) -> tf.Tensor:
    """Return a TensorFlow batch equalised, in tf.data too. Shape: [N, H, W, C] uint8, both."""
    return tf.ensure_shape(_equalize(images), images.shape)


@tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8)])
def _equalize(images):
    shape = tf.shape(images)
    total = shape[1] * shape[2]
    planes = tf.reshape(tf.transpose(tf.cast(images, tf.int32), [0, 3, 1, 2]), [-1, total])
    histogram = tf.math.bincount(planes, minlength=256, maxlength=256, axis=-1)
    lowest = tf.argmax(tf.cast(histogram > 0, tf.int32), axis=-1, output_type=tf.int32)
    first = tf.gather(histogram, lowest, batch_dims=1)[:, None]
    rest = total - first
    scale = np.float32(255) / tf.cast(tf.maximum(rest, 1), tf.float32)
    table = tf.round(tf.cast(tf.cumsum(histogram, axis=-1) - first, tf.float32) * scale)
    table = tf.where(rest == 0, tf.range(256)[None], tf.cast(tf.clip_by_value(table, 0.0, 255.0), tf.int32))
    planes = tf.gather(tf.cast(table, tf.uint8), planes, batch_dims=1)
    return tf.transpose(tf.reshape(planes, [shape[0], shape[3], shape[1], shape[2]]), [0, 2, 3, 1])
