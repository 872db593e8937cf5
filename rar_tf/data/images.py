"""Image files, decoded to one size: all of them in parallel, or each when it is asked for."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from rar_tf.data.splits import Split
from rar_tf.data.stored import Stored
from rar_tf.errors import UsageError, brief

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class Files(NamedTuple):
    """Paths [N] of image files, their labels [N] int64, and the folder that relative paths start from.

    Paths may be encoded names, an array of which takes a tenth of the memory that paths do.
    """

    paths: Sequence[pathlib.Path | bytes] | np.ndarray
    labels: np.ndarray
    folder: pathlib.Path = pathlib.Path()

    def path(self, number: int) -> pathlib.Path:
        """Return the path of one file."""
        return self.folder / os.fsdecode(self.paths[number])


def image_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the image files of a folder, by name."""
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in visible if path.suffix.lower() in SUFFIXES)


def read_image(
    path: str | os.PathLike, size: tuple[int, int] | None = None, channels: int = 3, antialias: bool = True
) -> np.ndarray:
    """Return the image of a file, see `decode`. Raises: UsageError for a file that is no image, or a truncated one."""
    return decode(path, path, size, channels, antialias)


def decode(
    source: str | os.PathLike | BinaryIO,
    name: str | os.PathLike,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    antialias: bool = True,
) -> np.ndarray:
    """Return a decoded image, turned as its EXIF data say, and resized from the whole of it by bilinear interpolation.

    Shape: [H, W, C] uint8.

    Args:
      source: a path, or a file that is open.
      name: what errors call it.
      size: (height, width); None keeps the image's own.
      channels: 1 for grey levels, 3 for RGB.
      antialias: average over the pixels that become one (Pillow's bilinear filter), else interpolate between the four
        nearest pixels only (OpenCV's default, within one grey level).

    Raises: UsageError for what is no image, or a truncated one.
    """
    try:
        with Image.open(source) as file:
            file.load()
            with contextlib.suppress(Exception):  # of damaged EXIF data
                ImageOps.exif_transpose(file, in_place=True)
            image = _of_8_bits(file, name).convert("L" if channels == 1 else "RGB")
    except UsageError:
        raise
    except _BROKEN as error:
        raise UsageError(f"{name}: truncated or no image ({brief(error)})") from error
    if size is not None and image.size != (size[1], size[0]):
        target, (width, height) = (size[1], size[0]), image.size
        if antialias:
            image = image.resize(target, Image.Resampling.BILINEAR)
        else:
            scale = (width / target[0], 0, 0, 0, height / target[1], 0)
            image = image.transform(target, Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(image.size[1], image.size[0], channels)


def channels_of(source: str | os.PathLike | BinaryIO) -> int:
    """Return 1 for an image of grey levels, else 3; 3 too for what is no image."""
    try:
        with Image.open(source) as image:
            return 1 if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I") else 3
    except _BROKEN:
        return 3  # said with its name where it is decoded


def _of_8_bits(image, name):
    """The image with 16-bit grey levels brought to 8 bits, of which Pillow would make white."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise UsageError(f"{name}: its pixels are numbers of no known range: give an .npz with --pixel_range")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))


def stored(
    files: Files, image_shape: tuple[int, int, int], size: tuple[int, int] | None, antialias: bool = True
) -> Stored:
    """Return the images of files, none of them read.

    Args:
      image_shape: (H, W, C) that they have once resized.
      size, antialias: as in `decode`.
    """

    def read(number):
        return read_image(files.path(number), size, image_shape[2], antialias)

    return Stored(read, lambda number: str(files.path(number)), image_shape, np.arange(len(files.paths)))


def read_files(
    files: Files,
    size: tuple[int, int],
    channels: int = 3,
    *,
    antialias: bool = True,
    skip_corrupt: bool = False,
    progress: Callable = iter,
) -> tuple[Split, int]:
    """Return the images of files, decoded in parallel, and how many files were left out.

    Shape: images [N, H, W, C] uint8.

    Args:
      size, channels, antialias: as in `decode`.
      skip_corrupt, progress: as in `Stored.load`.

    Raises: UsageError for a file that cannot be decoded.
    """
    images, kept = stored(files, (*size, channels), size, antialias).load(skip_corrupt=skip_corrupt, progress=progress)
    return Split(images, np.asarray(files.labels, np.int64)[kept]), int((~kept).sum())
