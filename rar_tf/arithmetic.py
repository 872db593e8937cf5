"""Sums in a fixed order and products with all digits of float32: the same seed gives the same weights, to the bit."""

import functools

import tensorflow as tf


@functools.cache
def settle() -> None:
    """Have TensorFlow add in order and multiply in float32; done once, so that what is set afterwards stays.

    See `sum_in_order` and `allow_tensor_float_32`.
    """
    sum_in_order()
    allow_tensor_float_32(False)


def allow_tensor_float_32(allowed: bool) -> None:
    """Let convolutions and matrix products of float32 take TensorFloat-32, ten bits of a factor's 23, or not.

    On GPUs that have it (compute capability 8.0 and more) TensorFlow takes it unless told otherwise, without a word;
    other devices have no such thing. It holds for the process, also for functions that were traced before.
    """
    tf.config.experimental.enable_tensor_float_32_execution(allowed)


def sum_in_order() -> None:
    """Have TensorFlow add up a step's gradients in the order of its graph, not in that of their arrival.

    Where it thinks a step short of memory (on a CPU: above four fifths of a nominal 256 MiB), TensorFlow's graph
    optimizer turns sums of more than two tensors into additions to one buffer, in whatever order threads get there, so
    that two runs differ in the last bits. No public option leaves out that one pass; it is read from the configuration
    that calls of functions carry. Values are those without the pass, memory is a sum's operands alive at once.
    """
    from tensorflow.python.eager import context

    config = context.context().config
    config.graph_options.rewrite_options.memory_optimization = _NO_MEMORY_OPTIMIZATION
    context.context()._config = config
    tf.config.optimizer.set_experimental_options({})  # makes the next call read the configuration again


_NO_MEMORY_OPTIMIZATION = 1  # RewriterConfig.NO_MEM_OPT
