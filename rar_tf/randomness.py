"""Random numbers as pure functions of (seed, step), the same for any number of replicas."""

import contextlib
import contextvars

import tensorflow as tf

_PART: contextvars.ContextVar = contextvars.ContextVar("part", default=None)


def step_seed(seed: int, step: tf.Tensor, purpose: int) -> tf.Tensor:
    """Return the int64 [2] seed of one purpose at one step of a run."""
    return tf.stack([tf.cast(seed, tf.int64) * 1009 + purpose, tf.cast(step, tf.int64)])


@contextlib.contextmanager
def part_of_batch(begin: tf.Tensor, size: tf.Tensor):
    """Inside, batches are parts of a replica's batch of `size` rows that start at row `begin`, for `for_replica`."""
    token = _PART.set((begin, size))
    try:
        yield
    finally:
        _PART.reset(token)


def for_replica(draw, batch: tf.Tensor) -> tf.Tensor:
    """Return this replica's rows of what `draw` makes of the global batch, or those of a `part_of_batch`.

    A global batch lies over the replicas in equal, contiguous parts. Drawing for the whole of it everywhere costs
    little and makes the numbers of a sample independent of how many replicas share the batch.

    Shape: batch [B, ...], draw: [R*B, ...] zeros -> [R*B, ...]; returns [B, ...].
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context is not None else 1
    if replicas == 1 and _PART.get() is None:
        return draw(tf.zeros_like(batch))
    rows = tf.shape(batch)[0]
    first, size = _PART.get() or (0, rows)
    zeros = tf.zeros(tf.concat([[replicas * size], tf.shape(batch)[1:]], 0), batch.dtype)
    zeros = tf.ensure_shape(zeros, [None] + batch.shape[1:].as_list())
    replica = 0 if replicas == 1 else tf.cast(context.replica_id_in_sync_group, tf.int32)
    begin = replica * size + first
    return tf.ensure_shape(tf.gather(draw(zeros), begin + tf.range(rows)), batch.shape)
