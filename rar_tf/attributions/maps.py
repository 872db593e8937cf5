"""The two protocols by which attributions become maps that are compared.

`rar` (Chen et al. 2019; Sarkar et al. 2021): absolute values summed over channels, scaled to sum to H·W; features are
the H·W pixels. `wk` (Wang and Kong 2022, 2023): the signed values themselves; features are all H·W·C.
"""

import numpy as np
import tensorflow as tf

from rar_tf.errors import UsageError
from rar_tf.similarity import flatten


def rar_map(attributions: tf.Tensor) -> tf.Tensor:
    """Return the absolute values summed over channels and scaled to sum to H·W; zeros give a map of zeros.

    Shape: attributions [B, H, W, C] -> [B, H·W].
    """
    values = _with_features(flatten(tf.reduce_sum(tf.abs(attributions), axis=-1)), attributions.shape[1:3])
    pixels = tf.cast(tf.shape(values)[1], values.dtype)
    return pixels * tf.math.divide_no_nan(values, tf.reduce_sum(values, axis=1, keepdims=True))


def wk_map(attributions: tf.Tensor) -> tf.Tensor:
    """Return the signed values themselves. Shape: attributions [B, H, W, C] -> [B, H·W·C]."""
    return _with_features(flatten(attributions), attributions.shape[1:])


def _with_features(values, shape):
    """State the number of features where it is known."""
    return tf.ensure_shape(values, [None, None if None in shape else int(np.prod(shape))])


def by_feature(grid: np.ndarray, features: int) -> np.ndarray:
    """Return numbers by pixel as numbers by a map's features, the same for every channel. Shape: [H, W] -> [D]."""
    return np.repeat(np.asarray(grid, np.float32).reshape(-1), features // np.size(grid))


def top_k_mask(maps: tf.Tensor, k: int) -> tf.Tensor:
    """Return 1 at the k largest features of each map and 0 elsewhere; of equals the first counts.

    Shape: maps [B, D] -> [B, D].

    Raises: UsageError where k is not in 1 … D.
    """
    features = maps.shape[1]
    if k < 1 or (features is not None and k > features):
        raise UsageError(f"top-k needs 1 <= k <= {features} features of a map, got k = {k}")
    return tf.reduce_sum(tf.one_hot(tf.math.top_k(maps, k).indices, tf.shape(maps)[1], dtype=maps.dtype), axis=1)


def mass_center(maps: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return the centre of mass (row, column) of maps that sum to H·W.

    Shape: maps [B, H·W] -> [B, 2], in pixels.
    """
    rows, columns = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    grid = tf.cast(tf.reshape(tf.stack([rows, columns], -1), [-1, 2]), maps.dtype)
    return tf.matmul(maps, grid) / (height * width)
