"""Data sets: records, readers, preparation, augmentation, equalisation and the tf.data pipeline.

Every name is imported on first use, so that the records and settings are known without TensorFlow.
"""

from rar_tf.registry import on_first_use

__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {
        "RECORDS": "rar_tf.data.records",
        "Record": "rar_tf.data.records",
        "DataSettings": "rar_tf.data.settings",
        "Split": "rar_tf.data.splits",
        "Splits": "rar_tf.data.splits",
        "to_pixels": "rar_tf.data.pixels",
        "get": "rar_tf.data.datasets",
        "load": "rar_tf.data.datasets",
        "load_data": "rar_tf.data.datasets",
        "batches": "rar_tf.data.pipeline",
        "examples": "rar_tf.data.pipeline",
        "Stored": "rar_tf.data.stored",
        "throughput": "rar_tf.data.pipeline",
    },
)
