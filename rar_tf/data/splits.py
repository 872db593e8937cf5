"""Training, validation and test images, how they are checked, and how rows are held out of one another."""

import math
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from absl import logging

from rar_tf import checks
from rar_tf.data.stored import Stored
from rar_tf.errors import UsageError


class Split(NamedTuple):
    """Images [N, H, W, C], uint8 (the digits and float images of the user's own: float32 in [0, 1]), and labels [N]
    int64. Images are an array, or `Stored` where they are read when rows are asked for."""

    images: np.ndarray | Stored
    labels: np.ndarray

    @property
    def count(self) -> int:  # type: ignore[override]
        """Number of images."""
        return len(self.labels)

    def take(self, rows) -> "Split":
        """Return the split of these rows (indices, a slice or a mask)."""
        images = self.images.take(rows) if isinstance(self.images, Stored) else self.images[rows]
        return Split(images, self.labels[rows])

    def loaded(self, *, skip_corrupt: bool = False, progress: Callable = iter) -> "Split":
        """Return the split with its images in memory; skip_corrupt, progress: as in `Stored.load`."""
        if not isinstance(self.images, Stored):
            return self
        images, kept = self.images.load(skip_corrupt=skip_corrupt, progress=progress)
        return Split(images, self.labels[kept])


class Splits(NamedTuple):
    """The three splits; `valid` is empty where a data set has no validation images."""

    train: Split
    valid: Split
    test: Split

    def loaded(self, limit: float = math.inf, **options) -> "Splits":
        """Return the splits with all images in memory if they take up to `limit` GiB there, else as they are.

        Args:
          options: those of `Split.loaded`.
        """
        size = sum(split.images.nbytes for split in self if isinstance(split.images, Stored))
        return self if size > limit * 2**30 else Splits(*(split.loaded(**options) for split in self))

    def named(self, name: str) -> Split:
        """Return one of the three. Raises: UsageError where it is empty."""
        found = getattr(self, name)
        if not found.count:
            raise UsageError(f"the data set has no {name} images")
        return found


def holdout(labels: np.ndarray, count: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Return a mask of about `count` rows or groups of rows, spread over the classes in proportion, never all of one.

    Each class gets its quota rounded by largest remainders (ties: at random).

    Shape: labels [N], groups [N] -> [N] bool, true for the rows held out.

    Args:
      count: number of rows, or of groups where `groups` is given.
      seed: any integer.
      groups: group of each row (all rows of a group have one class), for example a GTSRB track.
    """
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    names, first = np.unique(groups, return_index=True)
    group_labels = np.asarray(labels)[first]
    classes, sizes = np.unique(group_labels, return_counts=True)
    rng = np.random.default_rng([seed, len(names)])
    quota = count * sizes / max(1, sizes.sum())
    shares = np.floor(quota).astype(int)
    if count >= len(classes):
        shares = np.maximum(shares, 1)
    order = np.lexsort((rng.random(len(classes)), -(quota - shares)))
    for index in order[: max(0, count - shares.sum())]:
        shares[index] += 1
    shares = np.minimum(shares, sizes - 1)
    chosen = [rng.permutation(names[group_labels == label])[:share] for label, share in zip(classes, shares)]
    return np.isin(groups, np.concatenate(chosen) if chosen else [])


def hold_out_validation(train: Split, test: Split, share: int | float | None, seed: int) -> Splits:
    """Return the splits with validation images taken out of the training images.

    Args:
      share: an int n for the first 1/n of the rows, a float for a stratified fraction of them, None for nothing.
      seed: of the stratified choice.
    """
    held = np.zeros(train.count, bool)
    if isinstance(share, int):
        held[: train.count // share] = True
    elif share is not None:
        held = holdout(train.labels, round(share * train.count), seed)
    valid = train.take(held)
    return Splits(train.take(~held) if held.any() else train, valid, test)


def check_split(
    images: np.ndarray,
    labels: np.ndarray,
    path: str | os.PathLike,
    image_shape: tuple[int, int, int] | None,
    num_classes: int | None,
    bounds: tuple[float, float] | None = None,
) -> Split:
    """Return two arrays as a split, or say what is wrong with them.

    Shape: images [N, H, W, C], or [N, H, W] of grey levels, labels [N] integers.

    Args:
      path: what the arrays come from, named by errors.
      image_shape: (H, W, C) that the images must have; None for any.
      num_classes: labels must lie in 0 … num_classes - 1; None for any number of classes.
      bounds: if given, images may also be floats inside these bounds, which come back as float32 in [0, 1].

    Raises: UsageError for a wrong shape or dtype, labels out of range, NaN or out-of-range pixels.
    """
    if images.ndim == 3:
        images = images[..., None]
    wanted = "(N, H, W, C)" if image_shape is None else f"(N, {', '.join(map(str, image_shape))})"
    fits = images.ndim == 4 and (image_shape is None or images.shape[1:] == tuple(image_shape))
    if not fits or not images.size:
        raise UsageError(f"{path}: images must have shape {wanted}, not {images.shape}")
    if image_shape is None:
        checks.channels_last(**{f"{path}: images": images.shape})
    if labels.shape != images.shape[:1]:
        raise UsageError(f"{path}: labels must have shape ({len(images)},), one per image, not {labels.shape}")
    labels = check_labels(labels, path, num_classes)
    return Split(_checked_pixels(images, path, bounds), labels)


def check_labels(labels: np.ndarray, path: str | os.PathLike, num_classes: int | None) -> np.ndarray:
    """Return labels [N] as int64. Raises: UsageError for other numbers, or labels out of 0 … num_classes - 1."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"{path}: labels must be integers, not {labels.dtype}")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or (num_classes is not None and labels.max() >= num_classes):
        top = "" if num_classes is None else f" ... {num_classes - 1}"
        raise UsageError(f"{path}: labels out of range 0{top}: they go from {labels.min()} to {labels.max()}")
    return labels


def _checked_pixels(images, path, bounds):
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
    if high - low >= 100 and 0 <= images.min() < images.max() <= 1:
        raise UsageError(
            f"{path}: floats in {images.min():g} … {images.max():g} under a pixel range of {low:g} … {high:g}: "
            "is it --pixel_range=0,1?"
        )
    return ((images.astype(np.float32) - np.float32(low)) / np.float32(high - low)).astype(np.float32)


def require_classes(labels: np.ndarray, num_classes: int, path: str | os.PathLike, allow_partial: bool = False) -> None:
    """Raise UsageError where classes have no image; with `allow_partial` warn of them instead."""
    missing = np.flatnonzero(np.bincount(labels, minlength=num_classes) == 0)
    if not len(missing):
        return
    names = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
    problem = f"{path}: {num_classes - len(missing)} of {num_classes} classes: no image of class {names}"
    if not allow_partial:
        raise UsageError(problem)
    logging.warning("%s", problem)
