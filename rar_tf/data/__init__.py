"""Data sets: records, loading, augmentation, equalisation and the tf.data pipeline."""

from rar_tf.data.loading import load
from rar_tf.data.pipeline import batches, examples, throughput
from rar_tf.data.records import RECORDS, Record, get, to_pixels
from rar_tf.data.splits import Split, Splits

__all__ = ["RECORDS", "Record", "Split", "Splits", "batches", "examples", "get", "load", "throughput", "to_pixels"]
