"""tensorflow-datasets builders for GTSRB and Flower-17, which tensorflow-datasets does not have."""

from rar_tf.data.builders.tfds import Config, Flower17, Gtsrb

__all__ = ["Config", "Flower17", "Gtsrb"]
