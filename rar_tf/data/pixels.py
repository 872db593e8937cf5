"""From stored grey levels to what networks are given."""

import functools

import numpy as np
import tensorflow as tf

from rar_tf.data.equalize import equalize_batch
from rar_tf.data.records import Record


def to_pixels(record: Record, images):
    """Return stored images as networks are given them: equalised if the record says so, in its bounds.

    Shape: [N, H, W, C] uint8 grey levels 0-255, or floats in [0, 1] (these are never equalised) -> [N, H, W, C] float32
    in record.bounds, numpy for numpy and TensorFlow for TensorFlow.
    """
    low, high = record.bounds
    if isinstance(images, (np.ndarray, list, tuple)):
        return _in_chunks(record, np.asarray(images))
    if images.dtype == tf.uint8:
        if record.equalize:
            images = equalize_batch(images)
        scale = (high - low) / 255.0  # exactly 1 for (0, 255), so that grey levels stay whole numbers
    else:
        scale = high - low
    return tf.cast(images, tf.float32) * np.float32(scale) + np.float32(low)


def _in_chunks(record: Record, images: np.ndarray, chunk: int = 4096) -> np.ndarray:
    with tf.device("CPU"):
        convert = functools.partial(to_pixels, record)
        parts = [convert(tf.constant(images[i : i + chunk])).numpy() for i in range(0, len(images), chunk)]
    return np.concatenate(parts) if parts else np.zeros(images.shape, np.float32)
