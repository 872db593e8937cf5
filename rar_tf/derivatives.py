"""Second derivatives that TensorFlow gets wrong without a word, or does not have, put right.

Attribution objectives and attacks on attributions differentiate gradients. There

- `tf.nn.moments`, of which Keras makes layer and group normalisation, has the mean inside the variance for a constant,
  of which first derivatives see nothing;
- the gradient of bilinear resizing is a constant itself, and that of other resizing and of softsign has none;
- the gradient of max-pool's gradient overwrites what it has yet to read, where stride 1 and padding "same" leave
  images their size.
"""

import functools

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

_MOMENTS = tf.nn.moments
_SAMPLED = ("align_corners", "half_pixel_centers")
_RESIZINGS = {
    "ResizeBilinear": _SAMPLED,
    "ResizeBicubic": _SAMPLED,
    "ResizeNearestNeighbor": _SAMPLED,
    "ScaleAndTranslate": ("kernel_type", "antialias"),
}
_OWN = {name: ops.gradient_registry.lookup(name) for name in _RESIZINGS}


def mend() -> None:
    """Have TensorFlow differentiate right in this process; values and first derivatives stay what they are."""
    tf.nn.moments = moments
    for name, function in _GRADIENTS.items():
        ops.gradient_registry._registry.pop(name)  # no public function takes the place of a gradient
        tf.RegisterGradient(name)(function)


def moments(x, axes, shift=None, keepdims=False, name=None):
    """As `tf.nn.moments`, with right derivatives of every order but for those of a batch's statistics.

    These are of training steps, which no attribution differentiates, and keep their gradients' last bits.
    """
    mean, variance = _MOMENTS(x, axes, shift, keepdims, name)
    if axes is None or 0 in np.ravel(tf.get_static_value(tf.convert_to_tensor(axes))):
        return mean, variance
    return mean, variance - tf.square(mean - tf.stop_gradient(mean))


def _resized_back(name, op, upstream):
    """The gradient of resizing, which is linear: the gradient's own gradient resizes again."""

    @tf.custom_gradient
    def back(upstream):
        def again(second):
            given = {each: op.get_attr(each) for each in _RESIZINGS[name]}
            if name == "ScaleAndTranslate":
                given |= {"scale": op.inputs[2], "translation": op.inputs[3]}
            return getattr(tf.raw_ops, name)(images=second, size=tf.shape(upstream)[1:3], **given)

        return _OWN[name](op, upstream)[0], again

    return back(upstream), *[None] * (len(op.inputs) - 1)


def _pooled_again(op, upstream):
    """The gradient of max-pool's gradient: what comes from above, of the pixels that won, on images with borders."""
    images, pooled, sizes = op.inputs[0], op.inputs[1], op.get_attr("ksize")
    padding, data_format = (tf.compat.as_str(op.get_attr(name)) for name in ("padding", "data_format"))
    zeros = tf.zeros_like(images), tf.zeros_like(pooled)
    if padding == "SAME" and set(op.get_attr("strides")) == {1}:
        borders, padding = [[(size - 1) // 2, size // 2] for size in sizes], "VALID"
        images, upstream = tf.pad(images, borders, constant_values=images.dtype.min), tf.pad(upstream, borders)
    again = tf.raw_ops.MaxPoolGradGrad(
        orig_input=images,
        orig_output=pooled,
        grad=upstream,
        ksize=sizes,
        strides=op.get_attr("strides"),
        padding=padding,
        data_format=data_format,
    )
    return *zeros, again


def _softsign_back(op, upstream):
    return upstream / tf.square(1.0 + tf.abs(op.inputs[0]))


_GRADIENTS = {
    **{name: functools.partial(_resized_back, name) for name in _RESIZINGS},
    "MaxPoolGrad": _pooled_again,
    "Softsign": _softsign_back,
}
