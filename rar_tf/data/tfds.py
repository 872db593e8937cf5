"""Data sets through tensorflow-datasets: found in its catalogue, downloaded, and their files read."""

import logging as python_logging
import pathlib
import socket
import urllib.request

import numpy as np

from rar_tf.data.record_files import read_examples
from rar_tf.data.records import Record, Request
from rar_tf.data.splits import Split, Splits, check_labels, hold_out_validation
from rar_tf.errors import UsageError, brief


def read(record: Record, request: Request) -> Splits:
    """Return the splits of a data set of the catalogue, from its directory or, once, from the network.

    Raises: UsageError for data that are not there and cannot be downloaded.
    """
    builder = find(record.name, request.folder)
    prepare(builder, record.name, request.folder, record.host)
    train, test = (read_split(builder, split, record) for split in ("train", "test"))
    return hold_out_validation(train, test, record.validation, request.seed)


def find(name: str, data_dir: pathlib.Path | None):
    """Return the catalogue's builder of that name. Raises: UsageError for a name that it does not have."""
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, ImportError) as error:
        raise UsageError(f"tensorflow-datasets cannot build {name!r}: {brief(error, 200)}") from error


def prepare(
    builder, name: str, data_dir: pathlib.Path | None, host: str, manual: pathlib.Path | None = None, advice: str = ""
) -> None:
    """Download and prepare a builder's data where not done yet.

    Args:
      name: of the data set's folder in the data directory.
      host: asked first, since tensorflow-datasets tries for minutes where there is no network.
      manual: a folder with the original files, which is then read instead of the network.
      advice: one more way to get the data, said in the error.

    Raises: UsageError for data that cannot be had, with what the user can do about it.
    """
    import tensorflow_datasets as tfds

    if builder.data_path.exists() and (builder.data_path / "dataset_info.json").exists():
        return
    where = data_dir if data_dir is not None else pathlib.Path("<data_dir>")
    ways = (
        f"put train.npz and test.npz (images uint8 [N, H, W, C], labels int [N]) into {where / name}/, or "
        f"run this once with a network{advice}"
    )
    if manual is None and not reachable(host):
        raise UsageError(f"data set {name} is not in {where}/ and {host} cannot be reached: {ways}")
    python_logging.getLogger("urllib3").setLevel(python_logging.ERROR)
    config = tfds.download.DownloadConfig(manual_dir=manual) if manual else tfds.download.DownloadConfig()
    try:
        builder.download_and_prepare(download_config=config)
    except UsageError:
        raise
    except (
        OSError,
        ValueError,
        RuntimeError,
        AssertionError,
        ImportError,
        tfds.download.DownloadError,
        tfds.core.download.download_manager.NonMatchingChecksumError,
    ) as error:
        raise UsageError(f"data set {name} could not be prepared ({brief(error, 200)}); {ways}") from error


def reachable(host: str, seconds: float = 5.0) -> bool:
    """Return whether a download host answers; through a proxy that is taken for granted."""
    if urllib.request.getproxies():
        return True
    try:
        socket.create_connection((host, 443), timeout=seconds).close()
        return True
    except OSError:
        return False


def read_split(builder, split: str, record: Record) -> Split:
    """Return a split of a prepared builder, in the order of its files; an empty one where it has none.

    Raises: UsageError for images of several sizes, or that are not as the record says.
    """
    if split not in builder.info.splits or not builder.info.splits[split].num_examples:
        return Split(np.zeros((0, *record.image_shape), np.uint8), np.zeros(0, np.int64))
    if builder.info.file_format.value not in ("tfrecord", "array_record"):
        raise UsageError(
            f"{builder.data_path}: prepared as {builder.info.file_format.value}, which is not read by number; prepare "
            "it as array_record or tfrecord"
        )
    found = read_examples(builder.info.splits[split].filepaths, record.image_shape, record.image_size)
    check_labels(found.labels, f"tfds:{builder.name}/{split}", record.num_classes)
    return found
