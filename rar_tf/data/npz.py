"""The `images`, `labels` .npz files that the 2019 reference prepares."""

import lzma
import os
import pathlib
import struct
import zipfile
import zlib

import numpy as np

from rar_tf.data.records import Record
from rar_tf.data.splits import Split, Splits, check_split, hold_out_validation
from rar_tf.errors import UsageError, brief

_BROKEN = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)


def read_arrays(path: str | os.PathLike, keys: tuple[str, ...] = ("images", "labels")) -> tuple[np.ndarray, ...]:
    """Return these arrays of an .npz, read without pickle, whatever its compression.

    Raises: UsageError for a missing, truncated or corrupt file, or a key that it does not have.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UsageError(f"{path}: a single .npy array, not an .npz with the keys {', '.join(keys)}")
        with archive:
            missing = [key for key in keys if key not in archive.files]
            if missing:
                has = ", ".join(archive.files) or "none"
                raise UsageError(f"{path}: no key {', '.join(missing)} (it has: {has})")
            return tuple(archive[key] for key in keys)
    except UsageError:
        raise
    except _BROKEN as error:
        raise UsageError(f"{path}: truncated, corrupt or no .npz without pickled objects ({brief(error)})") from error


def read_split(
    path: str | os.PathLike,
    image_shape: tuple[int, int, int] | None,
    num_classes: int | None,
    bounds: tuple[float, float] | None = None,
) -> Split:
    """Return the `images` [N, H, W, C] and `labels` [N] of an .npz, checked as by `splits.check_split`.

    Raises: UsageError for a file that cannot be read or does not pass.
    """
    images, labels = read_arrays(path)
    return check_split(images, labels, path, image_shape, num_classes, bounds)


def has_splits(folder: pathlib.Path) -> bool:
    """Return whether a folder has a train.npz or test.npz, so that both are meant to be read."""
    return any((folder / f"{split}.npz").exists() for split in ("train", "test"))


def read_splits(record: Record, folder: pathlib.Path, seed: int = 0) -> Splits:
    """Return `train.npz`, `test.npz` and, where it exists, `valid.npz` of a folder.

    Args:
      seed: of the validation images that are held out where there is no `valid.npz`.

    Raises: UsageError for a file that is missing or that `read_split` refuses.
    """
    bounds = record.bounds if record.source is not None else None

    def read(name):
        return read_split(folder / f"{name}.npz", record.image_shape, record.num_classes, bounds)

    train, test = read("train"), read("test")
    if (folder / "valid.npz").exists():
        return Splits(train, read("valid"), test)
    return hold_out_validation(train, test, record.validation, seed)
