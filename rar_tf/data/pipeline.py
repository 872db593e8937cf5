"""Batches as a pure function of (seed, step), so that training continues exactly; examples in file order."""

import contextlib
import re
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from rar_tf.data import augmentation
from rar_tf.data.pixels import to_pixels
from rar_tf.data.records import Record
from rar_tf.data.splits import Split
from rar_tf.errors import UsageError

_EVERY_IMAGE = {"crop_flip": augmentation.crop_flip, "resized_crop": augmentation.resized_crop}


def batches(
    record: Record,
    split: Split,
    batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    steps: int | None = None,
    augment: str | None = None,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Return training batches; the batch of step s depends on (seed, s) alone, whatever `start_step` is.

    Step s is batch s mod floor(N / batch_size) of epoch s // floor(N / batch_size), whose order is a seeded
    permutation. With augment="online" N counts the balanced data set (`record.examples_per_class` a class), else the
    split's images.

    Shape: each batch is images [B, H, W, C] float32 in record.bounds, labels [B] int64.

    Args:
      batch_size: images in a batch, over all workers.
      steps: number of steps; None for no end.
      augment: None, "online" (augmented copies balance the classes, drawn anew each epoch), "crop_flip" or
        "resized_crop".
      shard: (index, count): worker `index` of `count` gets the `index`-th contiguous slice of every batch.

    Raises: UsageError for fewer images than `batch_size`, or a setting that does not fit.
    """
    index, workers = shard
    if augment not in (None, "online", *_EVERY_IMAGE):
        raise UsageError(f"augment={augment!r}: must be None, 'online', 'crop_flip' or 'resized_crop'")
    if batch_size < 1 or batch_size % workers:
        raise UsageError(f"batch_size={batch_size} must be positive and a multiple of the {workers} workers")
    with tf.device("CPU"):
        labels, plan = tf.constant(split.labels, tf.int64), _plan(record, split, augment, seed)
    total = split.count if plan is None else len(plan[0])
    if total < batch_size:
        raise UsageError(f"batch_size={batch_size} is more than the {total} training images of {record.name}")
    size = batch_size // workers

    def make(step):
        epoch = step // (total // batch_size)
        start = step % (total // batch_size) * batch_size + index * size
        order = _permuted(tf.range(start, start + size), seed, epoch, total)
        rows = order if plan is None else tf.gather(plan[0], order)
        images = _rows(split.images, rows, size)
        if augment == "online":
            images = _online(images, tf.gather(plan[1], order), seed, epoch, order)
        elif augment is not None:
            images = _EVERY_IMAGE[augment](images, seed, epoch, order)
        return to_pixels(record, images), tf.ensure_shape(tf.gather(labels, rows), [size])

    end = tf.int64.max if steps is None else start_step + steps
    numbers = tf.data.Dataset.range(start_step, end)
    return _mapped(numbers, make)


def _mapped(numbers, make):
    mapped = numbers.map(
        tf.autograph.experimental.do_not_convert(make), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return mapped.prefetch(tf.data.AUTOTUNE)


def _rows(images, rows, size=None):
    """Rows [B] of images in main memory, which are neither copied nor made part of the graph."""
    taken = tf.numpy_function(lambda numbers: images[numbers], [rows], images.dtype, stateful=False)
    return tf.ensure_shape(taken, [size, *images.shape[1:]])


def _plan(record, split, augment, seed):
    """Source rows and augmentation mask of the balanced data set, or None where nothing is balanced."""
    if augment != "online":
        return None
    if split.images.dtype != "uint8":
        raise UsageError(f"augment='online' needs uint8 images; {record.name}'s are {split.images.dtype}")
    per_class = record.examples_per_class or int(np.bincount(split.labels).max())
    plan = augmentation.balance(split.labels, record.num_classes, per_class, seed)
    return tf.constant(plan.rows, tf.int64), tf.constant(plan.augmented)


def _permuted(positions, seed, epoch, total):
    """Where these positions [B] of the epoch lie in the data set of `total` images."""
    root = tf.random.experimental.stateless_fold_in([seed % 2**31, 1], epoch)
    key = tf.random.stateless_uniform([3], root, minval=None, maxval=None, dtype=tf.int32)
    # 16 rounds of the cipher: with the 4 of tf.random.experimental.index_shuffle, the orders of two epochs of 55,000
    # images have a rank correlation of up to 0.8.
    last = tf.constant(total - 1, tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=positions, seed=key, max_index=last, rounds=16)


def _online(images, augmented, seed, epoch, order):
    """The images [B, H, W, C] uint8, those that are copies augmented."""
    copies = tf.where(augmented)[:, 0]
    warp = augmentation.draw(seed, epoch, tf.gather(order, copies), images.shape[1])
    changed = augmentation.augment(tf.gather(images, copies), warp)
    return tf.tensor_scatter_nd_update(images, copies[:, None], changed)


def examples(record: Record, split: Split, count: int | None = None, batch_size: int = 64) -> tf.data.Dataset:
    """Return batches of the first `count` images (None: all) in file order; the last one may be smaller.

    Shape: each batch is images [B, H, W, C] float32 in record.bounds, labels [B] int64.
    """
    total = split.count if count is None else min(count, split.count)
    with tf.device("CPU"):
        labels = tf.constant(split.labels, tf.int64)

    def make(start):
        rows = tf.range(start, tf.minimum(start + batch_size, total))
        return to_pixels(record, _rows(split.images, rows)), tf.gather(labels, rows)

    starts = tf.data.Dataset.range(0, total, batch_size)
    return _mapped(starts, make)


class Waiting:
    """How long a training has waited for its batches, in seconds.

    On accelerators it is how long what copies the batches there has waited, an upper limit.
    """

    def __init__(self):
        self.seconds = 0.0

    def measured(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Return the same batches, each of which adds the time from its being asked for to its being there."""
        # A zip asks its parts one after the other, in the thread of whoever asks it.
        clock = tf.data.Dataset.range(tf.int64.max).map(lambda _: tf.timestamp())

        def add(asked, batch, there):
            with tf.control_dependencies([tf.numpy_function(self._add, [there - asked], tf.float64)]):
                return tf.nest.map_structure(tf.identity, batch)

        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # it would ask ahead, and never wait
        return tf.data.Dataset.zip((clock, batches, clock)).map(add).with_options(options)

    def _add(self, seconds):
        self.seconds += float(seconds)
        return seconds


def reading_error(error: tf.errors.OpError) -> UsageError | None:
    """Return the user's mistake that stopped a pipeline, such as a broken image; None for another error."""
    found = re.search(r"UsageError: (.*)", error.message or "")
    return UsageError(found[1]) if found else None


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """Raise the user's mistake that stopped a pipeline inside the block as what it is."""
    try:
        yield
    except tf.errors.OpError as error:
        mistake = reading_error(error)
        if mistake is None:
            raise
        raise mistake from error


def throughput(dataset: tf.data.Dataset, seconds: float = 3.0) -> float:
    """Return how many images a second a data set of (images, labels) gives, after its first batch."""
    batches_in_turn, count = iter(dataset), 0
    next(batches_in_turn)
    start = time.perf_counter()
    for images, _ in batches_in_turn:
        count += int(images.shape[0])
        if time.perf_counter() - start > seconds:
            break
    return count / (time.perf_counter() - start)
