"""Reading and writing the `images`, `labels` .npz files that the 2019 reference prepares."""

import lzma
import os
import pathlib
import struct
import zipfile
import zlib

import numpy as np
from absl import logging

from rar_tf.data.splits import Split
from rar_tf.data.text import brief
from rar_tf.errors import UsageError

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


def read_arrays(path: str | os.PathLike, keys: tuple[str, ...] = ("images", "labels")) -> tuple:
    """Read these arrays of an .npz without pickle, whatever its compression.

    Raises:
      UsageError: missing, truncated or corrupt file, or a key that it does not have.
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
    """Read and check a split.

    Args:
      path: an .npz with `images` [N, H, W, C] and `labels` [N].
      image_shape: (H, W, C) that the images must have; None for any.
      num_classes: labels must lie in 0 ... num_classes - 1; None for any number of classes.
      bounds: if given, images may also be floats inside these bounds, which come back as float32 in [0, 1].
    Raises:
      UsageError: a file that cannot be read, wrong shape or dtype, labels out of range, NaN or out-of-range
        pixels.
    """
    return check_split(*read_arrays(path), path, image_shape, num_classes, bounds)


def check_split(images, labels, path, image_shape, num_classes, bounds=None) -> Split:
    """Check two arrays as `read_split` does; `path` names them in errors."""
    if images.ndim == 3:
        images = images[..., None]
    wanted = "(N, H, W, C)" if image_shape is None else f"(N, {', '.join(map(str, image_shape))})"
    fits = images.ndim == 4 and (image_shape is None or images.shape[1:] == tuple(image_shape))
    if not fits or not images.size:
        raise UsageError(f"{path}: images must have shape {wanted}, not {images.shape}")
    if labels.shape != images.shape[:1]:
        raise UsageError(f"{path}: labels must have shape ({len(images)},), one an image, not {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"{path}: labels must be integers, not {labels.dtype}")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or (num_classes is not None and labels.max() >= num_classes):
        top = "" if num_classes is None else f" ... {num_classes - 1}"
        raise UsageError(f"{path}: labels out of range 0{top}: they go from {labels.min()} to {labels.max()}")
    return Split(_checked_pixels(images, path, bounds), labels)


def _checked_pixels(images: np.ndarray, path, bounds) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UsageError(f"{path}: images must be uint8, not {images.dtype}")
    if not np.isfinite(images).all():
        raise UsageError(f"{path}: images have NaN or infinite pixels (and are {images.dtype}, not uint8)")
    low, high = bounds or (0.0, 255.0)
    if images.min() < low or images.max() > high:
        raise UsageError(
            f"{path}: pixels out of range [{low:g}, {high:g}]: they go from {images.min():g} to "
            f"{images.max():g} (and are {images.dtype})"
        )
    if bounds is None:
        raise UsageError(f"{path}: images must be uint8, not {images.dtype}")
    return ((images.astype(np.float32) - np.float32(low)) / np.float32(high - low)).astype(np.float32)


def require_classes(labels: np.ndarray, num_classes: int, path, allow_partial: bool = False) -> None:
    """Raise UsageError, in one line, where classes have no image; with `allow_partial` warn of them instead."""
    missing = np.flatnonzero(np.bincount(labels, minlength=num_classes) == 0)
    if not len(missing):
        return
    names = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
    problem = f"{path}: {num_classes - len(missing)} of {num_classes} classes: no image of class {names}"
    if not allow_partial:
        raise UsageError(problem)
    logging.warning("%s", problem)
