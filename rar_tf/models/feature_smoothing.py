"""A residual block that adds smoothed feature maps to themselves (Bhusal et al. 2026).

h ← h + Conv1×1(G ∗ h), G a normalised Gaussian, channel by channel, of standard deviation σ = 0.3((w − 1)/2 − 1) + 0.8
for maps of width w.
"""

import keras
import numpy as np
import tensorflow as tf

from rar_tf.errors import UsageError


@keras.saving.register_keras_serializable("rar_tf")
class FeatureSmoothing(keras.layers.Layer):
    """h + Conv1×1(G ∗ h); maps are mirrored at their borders, so that constant ones pass G unchanged.

    Shape: [N, H, W, C] -> [N, H, W, C].

    Args:
      size: pixels of G in each direction, an odd number.

    Raises: UsageError for an even size, or maps too small for it.
    """

    def __init__(self, size: int = 3, **settings):
        super().__init__(**settings)
        if size < 1 or size % 2 == 0:
            raise UsageError(f"the size of feature smoothing must be odd, got {size}")
        self.size = size

    def build(self, input_shape):
        _, height, width, channels = input_shape
        if self.size // 2 >= min(height, width):
            raise UsageError(f"feature smoothing of size {self.size} needs larger maps than {height}×{width}")
        sigma = 0.3 * ((width - 1) / 2 - 1) + 0.8
        line = np.exp(-np.square((np.arange(self.size) - self.size // 2) / sigma) / 2)
        self.gaussian = np.outer(line, line) / np.square(line.sum())
        self.mix = keras.layers.Conv2D(channels, 1, dtype=self.dtype_policy, name="mix")
        self.mix.build(input_shape)

    def call(self, features):
        reach = [self.size // 2] * 2
        padded = tf.pad(features, [[0, 0], reach, reach, [0, 0]], "REFLECT")
        kernel = tf.constant(self.gaussian[:, :, None, None], features.dtype)
        smoothed = tf.nn.depthwise_conv2d(padded, tf.tile(kernel, [1, 1, features.shape[-1], 1]), [1] * 4, "VALID")
        return features + tf.cast(self.mix(smoothed), features.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "size": self.size}
