"""One record a data set: shape, classes, pixel range and preprocessing (Chen et al. 2019, appendix)."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from rar_tf.data.equalize import equalize_batch
from rar_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Record:
    """What the rest of the package has to know about a data set.

    Args:
      name: name of its folder, or of its source for anybody's own images.
      image_shape: (height, width, channels).
      num_classes: number of classes; labels are 0 ... num_classes - 1.
      bounds: (lowest, highest) pixel value that networks are given.
      equalize: whether each channel's histogram is equalised before the network, training and test images
        alike.
      augment: augmentation of the training batches: None, "online" (class-balancing) or "crop_flip".
      examples_per_class: size of a class after the class-balancing augmentation, if the papers use one.
      validation: what is held out of the training file where no validation file exists: an int n for the
        first 1/n of the rows, a float for a stratified fraction of the rows, None for nothing.
      source: where anybody's own images are: a folder, an .npz, or "tfds:NAME"; None for a known data set.
      image_size: (height, width) that own images are resized to; None where they already share one size.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    bounds: tuple[float, float]
    equalize: bool = False
    augment: str | None = None
    examples_per_class: int | None = None
    validation: int | float | None = None
    source: str | None = None
    image_size: tuple[int, int] | None = None


# 60,000 / 12: the first 5,000 rows of MNIST and Fashion-MNIST are their validation images.
_KNOWN = [
    Record("digits", (28, 28, 1), 10, (0.0, 1.0)),
    Record("mnist", (28, 28, 1), 10, (0.0, 1.0), validation=12),
    Record("fashion_mnist", (28, 28, 1), 10, (0.0, 1.0), validation=12),
    Record("gtsrb", (32, 32, 3), 43, (0.0, 255.0), equalize=True, examples_per_class=10_000, validation=0.1),
    Record("flower", (128, 128, 3), 17, (0.0, 255.0), examples_per_class=1_000),
    Record("cifar10", (32, 32, 3), 10, (0.0, 1.0), augment="crop_flip", validation=0.1),
]
RECORDS = {record.name: record for record in _KNOWN}


def get(
    name: str,
    *,
    equalize: bool | None = None,
    bounds: tuple[float, float] | None = None,
    image_size: tuple[int, int] | None = None,
) -> Record:
    """Give the record of a known data set, or of anybody's own images.

    Args:
      name: a known name; or the path of a folder (one subfolder a class, or train.npz and test.npz) or of an
        .npz; or "tfds:NAME".
      equalize: takes the place of the record's own setting.
      bounds: (lowest, highest) pixel value for networks; own images need it, known data sets have theirs.
      image_size: (height, width) to which own images are resized.
    Raises:
      UsageError: unknown name; `bounds` or `image_size` missing where needed, or given where fixed.
    """
    if name in RECORDS:
        record = RECORDS[name]
        if bounds is not None and tuple(bounds) != record.bounds:
            raise UsageError(f"the pixel range of {name} is fixed to {record.bounds}, not {tuple(bounds)}")
        if image_size is not None and tuple(image_size) != record.image_shape[:2]:
            raise UsageError(f"the image size of {name} is {record.image_shape[:2]}, not {tuple(image_size)}")
    else:
        from rar_tf.data import own

        if not own.is_source(name):
            raise UsageError(
                f"unknown data set {name!r}; known: {', '.join(RECORDS)}, or the path of a "
                "folder or .npz of your own images, or tfds:NAME"
            )
        record = own.record(name, bounds, None if image_size is None else tuple(image_size))
    return record if equalize is None else dataclasses.replace(record, equalize=bool(equalize))


def to_pixels(record: Record, images):
    """Turn stored images into what networks are given: equalised if the record says so, in its bounds.

    Args:
      record: the data set's record.
      images: [N, H, W, C], uint8 grey levels 0-255, or floats in [0, 1] (these are never equalised); numpy or
        TensorFlow.
    Returns:
      [N, H, W, C] float32 in record.bounds, numpy for numpy and TensorFlow for TensorFlow.
    """
    low, high = record.bounds
    if isinstance(images, (np.ndarray, list, tuple)):
        return _pixels_in_chunks(record, np.asarray(images))
    if images.dtype == tf.uint8:
        if record.equalize:
            images = equalize_batch(images)
        scale = (high - low) / 255.0  # exactly 1 for (0, 255), so that grey levels stay whole numbers
    else:
        scale = high - low
    return tf.cast(images, tf.float32) * np.float32(scale) + np.float32(low)


def _pixels_in_chunks(record: Record, images: np.ndarray, chunk: int = 4096) -> np.ndarray:
    with tf.device("CPU"):
        convert = functools.partial(to_pixels, record)
        parts = [convert(tf.constant(images[i : i + chunk])).numpy() for i in range(0, len(images), chunk)]
    return np.concatenate(parts) if parts else np.zeros(images.shape, np.float32)
