"""Random numbers as pure functions of (seed, step), the same for any number of replicas."""

import tensorflow as tf


def step_seed(seed: int, step: tf.Tensor, purpose: int) -> tf.Tensor:
    """Return the int64 [2] seed of one purpose at one step of a run."""
    return tf.stack([tf.cast(seed, tf.int64) * 1009 + purpose, tf.cast(step, tf.int64)])


def for_replica(draw, batch: tf.Tensor) -> tf.Tensor:
    """Return this replica's rows of what `draw` makes of the global batch.

    A global batch lies over the replicas in equal, contiguous parts. Drawing for the whole of it everywhere costs
    little and makes the numbers of a sample independent of how many replicas share the batch.

    Shape: batch [B, ...], draw: [R*B, ...] zeros -> [R*B, ...]; returns [B, ...].
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context is not None else 1
    if replicas == 1:
        return draw(tf.zeros_like(batch))
    size = tf.shape(batch)[0]
    zeros = tf.zeros(tf.concat([[replicas * size], tf.shape(batch)[1:]], 0), batch.dtype)
    zeros = tf.ensure_shape(zeros, [None] + batch.shape[1:].as_list())
    begin = tf.cast(context.replica_id_in_sync_group, tf.int32) * size
    return tf.ensure_shape(draw(zeros)[begin : begin + size], batch.shape)
