"""Data sets: records, readers, preparation, augmentation, equalisation and the tf.data pipeline.

Every name is imported on first use, so that the records and settings are known without TensorFlow.
"""

from rar_tf.registry import Registry

_PUBLIC = Registry(
    "name of rar_tf.data",
    {
        "RECORDS": "rar_tf.data.records:RECORDS",
        "Record": "rar_tf.data.records:Record",
        "DataSettings": "rar_tf.data.settings:DataSettings",
        "Split": "rar_tf.data.splits:Split",
        "Splits": "rar_tf.data.splits:Splits",
        "to_pixels": "rar_tf.data.pixels:to_pixels",
        "get": "rar_tf.data.datasets:get",
        "load": "rar_tf.data.datasets:load",
        "load_data": "rar_tf.data.datasets:load_data",
        "batches": "rar_tf.data.pipeline:batches",
        "examples": "rar_tf.data.pipeline:examples",
        "throughput": "rar_tf.data.pipeline:throughput",
    },
)
__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rar_tf.data' has no attribute {name!r}")
    return _PUBLIC[name]


def __dir__():
    return sorted([*globals(), *__all__])
