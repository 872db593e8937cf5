"""Decoding image files, in parallel, to one size."""

import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from absl import logging
from PIL import Image

from rar_tf.data.splits import Split
from rar_tf.errors import UsageError, brief

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class Files(NamedTuple):
    """Paths [N] of image files, and their labels [N] int64."""

    paths: Sequence[pathlib.Path]
    labels: np.ndarray


def image_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the image files of a folder, by name."""
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in visible if path.suffix.lower() in SUFFIXES)


def read_image(
    path: pathlib.Path, size: tuple[int, int] | None = None, channels: int = 3, antialias: bool = True
) -> np.ndarray:
    """Return a decoded image, resized from the whole image by bilinear interpolation.

    Shape: [H, W, C] uint8.

    Args:
      size: (height, width); None keeps the image's own.
      channels: 1 for grey levels, 3 for RGB.
      antialias: average over the pixels that become one (Pillow's bilinear filter), else interpolate between the four
        nearest pixels only (OpenCV's default, within one grey level).

    Raises: UsageError for a file that is no image, or a truncated one.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("L" if channels == 1 else "RGB")
    except _BROKEN as error:
        raise UsageError(f"{path}: truncated or no image ({brief(error)})") from error
    if size is not None and image.size != (size[1], size[0]):
        target, (width, height) = (size[1], size[0]), image.size
        if antialias:
            image = image.resize(target, Image.Resampling.BILINEAR)
        else:
            scale = (width / target[0], 0, 0, 0, height / target[1], 0)
            image = image.transform(target, Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(image.size[1], image.size[0], channels)


def read_files(
    files: Files,
    size: tuple[int, int] | None,
    channels: int = 3,
    *,
    antialias: bool = True,
    skip_corrupt: bool = False,
    progress: Callable = iter,
) -> tuple[Split, int]:
    """Return the images of files, decoded in parallel, and how many files were left out.

    Shape: images [N, H, W, C] uint8.

    Args:
      size, channels, antialias: as in `read_image`.
      skip_corrupt: leave out files that cannot be decoded, with a warning, instead of raising.
      progress: wraps the iteration over images, for example tqdm.

    Raises: UsageError for a file that cannot be decoded, or images of different sizes where `size` is None.
    """

    def read(path):
        try:
            return read_image(path, size, channels, antialias)
        except UsageError as error:
            if not skip_corrupt:
                raise
            logging.warning("skipped: %s", error)
            return None

    with ThreadPoolExecutor() as pool:
        images, kept = np.zeros((0, *(size or (0, 0)), channels), np.uint8), np.zeros(len(files.paths), bool)
        for row, image in enumerate(progress(pool.map(read, files.paths))):
            if image is None:
                continue
            if not kept.any():
                images = np.empty((len(files.paths), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise UsageError(
                    f"{files.paths[row]}: this image is {image.shape[:2]} and the first one is "
                    f"{images.shape[1:3]}; give an image size"
                )
            images[row], kept[row] = image, True
    split = Split(images, np.asarray(files.labels, np.int64))
    return (split if kept.all() else split.take(kept)), int((~kept).sum())
