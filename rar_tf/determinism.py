"""Sums in a fixed order, so that the same seed gives the same weights bit for bit on a CPU too."""

import functools

import tensorflow as tf


@functools.cache
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
