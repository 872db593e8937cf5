"""Loading a record's splits: from .npz files, tensorflow-datasets, or scikit-learn's digits."""

import logging as python_logging
import os
import pathlib
import socket
import urllib.request

import numpy as np
import tensorflow as tf

from rar_tf.data import npz
from rar_tf.data.records import Record
from rar_tf.data.splits import Split, Splits, holdout
from rar_tf.data.text import brief
from rar_tf.errors import UsageError

# Where tensorflow-datasets downloads from: asked first, since it tries for minutes where there is no network.
_HOSTS = {
    "mnist": "storage.googleapis.com",
    "fashion_mnist": "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "cifar10": "www.cs.toronto.edu",
    "gtsrb": "sid.erda.dk",
    "flower": "www.robots.ox.ac.uk",
}


def load(
    record: Record, data_dir: str | os.PathLike | None = None, *, seed: int = 0, allow_partial: bool = False
) -> Splits:
    """Load training, validation and test images, not equalised: `to_pixels` does what the record says.

    Args:
      record: which data set.
      data_dir: folder that has `<name>/train.npz` and `test.npz` (`valid.npz` is used where it exists), or
        the directory of tensorflow-datasets; None: the environment's RAR_TF_DATA_DIR, else the directory of
        tensorflow-datasets.
      seed: chooses the validation images where the data set has none of its own.
      allow_partial: only warn where a class has no training image.
    Returns:
      Splits of images [N, H, W, C] uint8 (digits and own float images: float32 in [0, 1]) and labels [N]
      int64.
    Raises:
      UsageError: absent, unreadable or wrong data.
    """
    data_dir = data_dir or os.environ.get("RAR_TF_DATA_DIR") or None
    folder = None if data_dir is None else pathlib.Path(data_dir).expanduser() / record.name
    if record.source is not None:
        from rar_tf.data import own

        splits, origin = own.load(record, data_dir, seed), record.source
    elif record.name == "digits":
        splits, origin = _digits(), "digits"
    elif folder is not None and any((folder / f"{split}.npz").exists() for split in ("train", "test")):
        splits, origin = from_npz(record, folder, seed), folder / "train.npz"
    else:
        splits, origin = _from_tfds(record, data_dir, seed, allow_partial), record.name
    npz.require_classes(splits.train.labels, record.num_classes, origin, allow_partial)
    return splits


def from_npz(record: Record, folder: str | os.PathLike, seed: int = 0) -> Splits:
    """Read `train.npz`, `test.npz` and, where it exists, `valid.npz` of a folder."""
    folder = pathlib.Path(folder)
    bounds = record.bounds if record.source is not None else None

    def read(name):
        return npz.read_split(folder / f"{name}.npz", record.image_shape, record.num_classes, bounds)

    train, test = read("train"), read("test")
    if (folder / "valid.npz").exists():
        return Splits(train, read("valid"), test)
    return hold_out_validation(record, train, test, seed)


def hold_out_validation(record: Record, train: Split, test: Split, seed: int) -> Splits:
    """Take the record's share of validation images out of the training images."""
    held = np.zeros(train.count, bool)
    if isinstance(record.validation, int):
        held[: train.count // record.validation] = True
    elif record.validation is not None:
        held = holdout(train.labels, round(record.validation * train.count), seed)
    valid = train.take(held)
    return Splits(train.take(~held) if held.any() else train, valid, test)


def _digits() -> Splits:
    """The 1,797 digits of scikit-learn in [0, 1], bilinear to 28x28: 1,437 for training, 360 for test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    with tf.device("CPU"):
        images = tf.image.resize(data.images[..., None].astype(np.float32) / 16, (28, 28)).numpy()
    labels = data.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    every = Split(images, labels)
    return Splits(every.take(train), every.take([]), every.take(test))


def _from_tfds(record: Record, data_dir, seed: int, allow_partial: bool) -> Splits:
    builder = tfds_builder(record, data_dir, allow_partial=allow_partial)
    prepare_builder(builder, record.name, data_dir)
    train, test = (read_tfds(builder, split, record) for split in ("train", "test"))
    if "validation" in builder.info.splits and record.name in ("gtsrb", "flower"):
        return Splits(train, read_tfds(builder, "validation", record), test)
    return hold_out_validation(record, train, test, seed)


def tfds_builder(record: Record, data_dir, name: str | None = None, allow_partial: bool = False):
    """Give the tensorflow-datasets builder of a record: this package's own for GTSRB and Flower-17."""
    import tensorflow_datasets as tfds

    from rar_tf.data import builders

    data_dir = None if data_dir is None else pathlib.Path(data_dir).expanduser()
    own = {"gtsrb": builders.Gtsrb, "flower": builders.Flower17}.get(record.name)
    try:
        return (
            own(config="partial" if allow_partial else "default", data_dir=data_dir)
            if own
            else tfds.builder(name or record.name, data_dir=data_dir)
        )
    except (tfds.core.DatasetNotFoundError, ValueError, ImportError) as error:
        what = name or record.name
        raise UsageError(f"tensorflow-datasets cannot build {what!r}: {brief(error, 200)}") from error


def prepare_builder(builder, name: str, data_dir) -> None:
    """Download and prepare a builder's data where not done yet, or say in one line how to get them."""
    import tensorflow_datasets as tfds

    from rar_tf.data.builders import archives, flower17, gtsrb

    if builder.data_path.exists() and (builder.data_path / "dataset_info.json").exists():
        return
    where = pathlib.Path(data_dir) if data_dir is not None else pathlib.Path("<data_dir>")
    manual = where / name
    reader = {"gtsrb": gtsrb, "flower": flower17}.get(name)
    # A user's folder of official files first (`<data_dir>/gtsrb`, `<data_dir>/flower`), then the network.
    offline = manual if reader and archives.has_any(manual, reader.PRESENT) else None
    host = _HOSTS.get(name, "storage.googleapis.com")
    advice = (
        f"put train.npz and test.npz (images uint8 [N, H, W, C], labels int [N]) into {manual}/, or "
        "run this once with a network"
    )
    if reader:
        advice += f", or put the official files there: {' '.join(reader.INSTRUCTIONS.split())}"
    if offline is None and not reachable(host):
        raise UsageError(f"data set {name} is not in {where}/ and {host} cannot be reached: {advice}")
    python_logging.getLogger("urllib3").setLevel(python_logging.ERROR)
    config = tfds.download.DownloadConfig(manual_dir=offline) if offline else tfds.download.DownloadConfig()
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
        raise UsageError(f"data set {name} could not be prepared ({brief(error, 200)}); {advice}") from error


def reachable(host: str, seconds: float = 5.0) -> bool:
    """Say whether a download host answers; through a proxy that is taken for granted."""
    if urllib.request.getproxies():
        return True
    try:
        socket.create_connection((host, 443), timeout=seconds).close()
        return True
    except OSError:
        return False


def read_tfds(builder, split: str, record: Record) -> Split:
    """Read a whole split of a prepared builder, in the builder's order, into memory."""
    import tensorflow_datasets as tfds

    if split not in builder.info.splits or not builder.info.splits[split].num_examples:
        return Split(np.zeros((0, *record.image_shape), np.uint8), np.zeros(0, np.int64))
    with tf.device("CPU"):
        pairs = builder.as_dataset(split=split, batch_size=None, shuffle_files=False)
        images, labels = [], []
        for example in tfds.as_numpy(pairs):
            images.append(example["image"])
            labels.append(example["label"])
    if len({image.shape for image in images}) > 1:
        raise UsageError(f"tfds:{builder.name}: images of several sizes; give an image size")
    origin = f"tfds:{builder.name}/{split}"
    images, labels = np.stack(images), np.asarray(labels)
    return npz.check_split(images, labels, origin, record.image_shape, record.num_classes)
