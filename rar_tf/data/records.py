"""One record a data set: shape, classes, pixel range, preprocessing (Chen et al. 2019, appendix), and its reader.

Records are known without TensorFlow. A data set from archives of its own is a file in `builders/` and a record here.
"""

import dataclasses
import os
import pathlib
import pkgutil
from collections.abc import Callable

from rar_tf.data.splits import Splits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What a reader is asked for.

    Args:
      folder: the data directory, or with `originals` where the user has the original files; None: the reader's own.
      originals: whether the splits are to be prepared: read from `folder` itself, past any cache.
      seed: of held-out images.
      official_split: number of one of the splits that the data set's archives define; 0 for the papers'.
      allow_partial: only warn where an archive is incomplete.
      skip_corrupt: leave out broken images, with a warning and a count.
      progress: wraps the iteration over images.
    """

    folder: pathlib.Path | None = None
    originals: bool = False
    seed: int = 0
    official_split: int = 0
    allow_partial: bool = False
    skip_corrupt: bool = False
    progress: Callable = iter

    def folder_of(self, name: str) -> pathlib.Path:
        """Return the folder of that name in `folder`, where there is one, else `folder` itself."""
        assert self.folder is not None
        return self.folder / name if (self.folder / name).is_dir() else self.folder


@dataclasses.dataclass(frozen=True)
class Record:
    """What the rest of the package has to know about a data set.

    Args:
      name: of its folder; the user's own images have their source's.
      image_shape: (height, width, channels).
      num_classes: labels are 0 … num_classes - 1.
      bounds: (lowest, highest) pixel value that networks are given.
      equalize: whether each channel's histogram is equalised before the network, training and test images alike.
      augment: of the training batches: None, "online" (class-balancing), "crop_flip" or "resized_crop".
      examples_per_class: size of a class after the class-balancing augmentation, if the papers use one.
      validation: what is held out of the training images where the data set has no validation images, see
        `splits.hold_out_validation`.
      source: where the user's own images are: a folder, an .npz, or "tfds:NAME"; None for a known data set.
      image_size: (height, width) that the user's own images are resized to; None where they share one size.
      reader: "module:name" of a function (record, request) -> Splits that finds the images.
      prepared: whether the train.npz and test.npz of a data directory are read where they exist.
      host: what tensorflow-datasets downloads from.
      official_splits: how many splits its archives define.
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
    reader: str = "rar_tf.data.tfds:read"
    prepared: bool = True
    host: str = "storage.googleapis.com"
    official_splits: int = 0

    def read(self, request: Request) -> Splits:
        """Return the splits that the record's reader finds. Raises: UsageError for absent or wrong data."""
        return pkgutil.resolve_name(self.reader)(self, request)


def data_directory(given: str | os.PathLike | None = None) -> pathlib.Path | None:
    """Return the data directory: the given one, else the environment's RAR_TF_DATA_DIR, else None."""
    path = given or os.environ.get("RAR_TF_DATA_DIR")
    return pathlib.Path(path).expanduser() if path else None


UNIT, GREY = (0.0, 1.0), (0.0, 255.0)

# 60,000 / 12: the first 5,000 rows of MNIST and Fashion-MNIST are their validation images.
_KNOWN = (
    Record("digits", (28, 28, 1), 10, UNIT, reader="rar_tf.data.digits:read", prepared=False),
    Record("mnist", (28, 28, 1), 10, UNIT, validation=12),
    Record(
        "fashion_mnist",
        (28, 28, 1),
        10,
        UNIT,
        validation=12,
        host="fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
    Record(
        "gtsrb",
        (32, 32, 3),
        43,
        GREY,
        equalize=True,
        examples_per_class=10_000,
        validation=0.1,
        reader="rar_tf.data.builders.gtsrb:SOURCE",
    ),
    Record(
        "flower",
        (128, 128, 3),
        17,
        GREY,
        examples_per_class=1_000,
        reader="rar_tf.data.builders.flower17:SOURCE",
        official_splits=3,
    ),
    Record("cifar10", (32, 32, 3), 10, UNIT, augment="crop_flip", validation=0.1, host="www.cs.toronto.edu"),
)
RECORDS = {record.name: record for record in _KNOWN}
