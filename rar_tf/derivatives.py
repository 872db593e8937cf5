"""Second derivatives that TensorFlow gets wrong without a word, put right.

Attribution objectives and attacks on attributions differentiate gradients. There `tf.nn.moments`, of which Keras makes
layer and group normalisation, has the mean inside the variance for a constant, of which first derivatives see nothing.
"""

import numpy as np
import tensorflow as tf

_MOMENTS = tf.nn.moments


def mend() -> None:
    """Have TensorFlow differentiate right in this process; values and first derivatives stay what they are."""
    tf.nn.moments = moments


def moments(x, axes, shift=None, keepdims=False, name=None):
    """As `tf.nn.moments`, with right derivatives of every order but for those of a batch's statistics.

    These are of training steps, which no attribution differentiates, and keep their gradients' last bits.
    """
    mean, variance = _MOMENTS(x, axes, shift, keepdims, name)
    if 0 in np.ravel(tf.get_static_value(tf.convert_to_tensor(axes))):
        return mean, variance
    return mean, variance - tf.square(mean - tf.stop_gradient(mean))
