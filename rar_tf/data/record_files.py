"""Images of TFRecord and ArrayRecord files, each read by its number.

A record is a serialised tf.train.Example with an encoded image and a label, under the names of tensorflow-datasets
(`image`, `label`) or of the older ImageNet scripts (`image/encoded`, `image/class/label`). A TFRecord file has no
index, so the files are read once from end to end; where each record begins, and the labels, are kept beside them.
"""

import contextlib
import hashlib
import io
import os
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf.data.images import channels_of, decode
from rar_tf.data.splits import Split
from rar_tf.data.stored import Stored
from rar_tf.errors import UsageError, brief
from rar_tf.files import atomic_write

NAMES = (("image", "label"), ("image/encoded", "image/class/label"))
_FILES = re.compile(r"\.(tfrecords?|array_?records?)($|[-.])|-\d{5}-of-\d{5}$")
SPLIT_NAMES = {"train": "train", "test": "test", "valid": "valid", "val": "valid", "validation": "valid"}


def record_files(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Return a folder's TFRecord and ArrayRecord files, by the split that their names say last: train, valid, test.

    Files without such a name are `train`'s. Raises: UsageError where there are some, and none of `train`.
    """
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _FILES.search(path.name) and path.is_file() and not path.name.startswith("."):
            words = re.split(r"[^a-z]+", path.name.lower())
            split = next((SPLIT_NAMES[word] for word in reversed(words) if word in SPLIT_NAMES), "train")
            found.setdefault(split, []).append(path)
    if found and "train" not in found:
        raise UsageError(f"{folder}: no record files of training images, only of {' and '.join(found)}")
    return found


class TFRecords:
    """The records of TFRecord files, read by the numbers of their files and where they begin in these."""

    def __init__(self, paths: Sequence[pathlib.Path]):
        self.paths = list(paths)
        self._open: dict[int, int] = {}

    def scan(self):
        """Give (file, offset, record) of every record, in order. Raises: UsageError for a truncated file."""
        for number, path in enumerate(self.paths):
            with open(path, "rb") as file:
                if file.read(2) == b"\x1f\x8b":
                    raise UsageError(f"{path}: a compressed TFRecord file cannot be read by number; write it plain")
                file.seek(0)
                while header := file.read(12):
                    offset, size = file.tell(), int.from_bytes(header[:8], "little")
                    record = file.read(size) if len(header) == 12 and size < 2**31 else b""
                    if len(record) < size or len(file.read(4)) < 4:
                        raise UsageError(f"{path}: truncated, or no TFRecord file")
                    yield number, offset, record

    def read(self, file: int, offset: int, size: int) -> bytes:
        """Return the record of so many bytes."""
        if file not in self._open:
            self._open[file] = os.open(self.paths[file], os.O_RDONLY)
        return os.pread(self._open[file], size, offset)  # several threads share the descriptor


def cut(path: pathlib.Path, keep: Callable[[bytes], bool]) -> None:
    """Drop from a TFRecord file the first record that is not to be kept, or is torn, and all that is behind it."""
    kept = 0
    with contextlib.suppress(UsageError):
        for _, offset, record in TFRecords([path]).scan():
            if not keep(record):
                break
            kept = offset + len(record) + 4  # its checksum
    os.truncate(path, kept)


class ArrayRecords:
    """The records of ArrayRecord files, read by their numbers in all of them."""

    def __init__(self, paths: Sequence[pathlib.Path]):
        try:
            from array_record.python.array_record_data_source import ArrayRecordDataSource
        except ImportError as error:
            raise UsageError(
                f"{paths[0]}: ArrayRecord files need the package array_record, which there is for Linux and macOS "
                "only; write the data set as TFRecord files"
            ) from error
        try:
            self._source = ArrayRecordDataSource([os.fspath(path) for path in paths])
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"{paths[0]}: no ArrayRecord file that can be read ({brief(error)})") from error

    def scan(self):
        """Give (0, number, record) of every record, in order."""
        for number in range(len(self._source)):
            yield 0, number, self._source[number]

    def read(self, file: int, offset: int, size: int) -> bytes:
        """Return the record of a number."""
        return self._source[offset]


def read_examples(
    paths: Sequence[os.PathLike],
    image_shape: tuple[int, int, int] | None,
    image_size: tuple[int, int] | None = None,
    progress=iter,
) -> Split:
    """Return the images and labels of record files, none of the images decoded.

    Args:
      image_shape: (H, W, C) that they have once resized; None: of the first image, in colour unless it is grey.
      image_size: (height, width) that they are resized to; None keeps their own.
      progress: wraps the iteration over the records that are listed.

    Raises: UsageError for files that cannot be read, or records without image or label.
    """
    files = [pathlib.Path(path) for path in paths]
    records = ArrayRecords(files) if re.search("array_?record", files[0].name.lower()) else TFRecords(files)
    index = _index(records, files, progress)
    places, labels, key = index["places"], index["labels"], str(index["image"])

    def name(number):
        return f"{files[places[number, 0]]}, record {number}"

    def encoded(number):
        return io.BytesIO(_parsed(records.read(*places[number].tolist()), name(number))[key].bytes_list.value[0])

    if image_shape is None:
        own = decode(encoded(0), name(0), None, channels_of(encoded(0))).shape
        image_shape = own if image_size is None else (*image_size, own[2])

    def read(number):
        return decode(encoded(number), name(number), image_size, image_shape[2])

    return Split(Stored(read, name, image_shape, np.arange(len(labels))), labels)


def _parsed(record, name):
    try:
        return tf.train.Example.FromString(record).features.feature
    except Exception as error:  # of the protobuf package, which has several
        raise UsageError(f"{name}: no tf.train.Example ({brief(error)})") from error


def _index(records, files, progress) -> dict:
    """Where the records lie [N, 3] (file, offset, size), their labels [N], and the name of their images."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    digest = hashlib.sha256(repr(stats).encode()).hexdigest()[:16]
    kept = files[0].parent / f".rar_tf_index_{digest}.npz"
    if kept.is_file():
        with np.load(kept) as archive:
            return dict(archive)
    total = sum(size for _, size, _ in stats)
    if total > 2**30:
        logging.warning("%s and others: %.0f GiB of records are listed, once", files[0], total / 2**30)
    places: list[tuple[int, int, int]] = []
    labels: list[int] = []
    names: tuple[str, str] | None = None
    for file, offset, record in progress(records.scan()):
        features = _parsed(record, f"{files[file]}, record {len(labels)}")
        if names is None:
            names = next((pair for pair in NAMES if set(pair) <= set(features)), None)
        if names is None or not features[names[1]].int64_list.value or not features[names[0]].bytes_list.value:
            wanted = " or ".join(" and ".join(pair) for pair in NAMES)
            raise UsageError(
                f"{files[file]}, record {len(labels)}: needs the features {wanted}; it has "
                f"{', '.join(sorted(features))}"
            )
        places.append((file, offset, len(record)))
        labels.append(features[names[1]].int64_list.value[0])
    if names is None:
        raise UsageError(f"{files[0]}: no records")
    arrays = {"places": np.array(places, np.int64), "labels": np.array(labels, np.int64), "image": np.array(names[0])}
    try:
        with atomic_write(kept) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
    except UsageError as error:  # what the disk refuses, in a folder of others say
        logging.warning("the index of %s cannot be kept beside it, and is made anew each time (%s)", files[0], error)
    return arrays
