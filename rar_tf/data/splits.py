"""Training, validation and test images, and how rows are held out of one another."""

from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Images [N, H, W, C], uint8 (the digits and own float images: float32 in [0, 1]), and labels [N]
    int64."""

    images: np.ndarray
    labels: np.ndarray

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.labels)

    def take(self, rows) -> "Split":
        """Give the split of these rows (indices, a slice or a mask)."""
        return Split(self.images[rows], self.labels[rows])


class Splits(NamedTuple):
    """The three splits; `valid` is empty where a data set has no validation images."""

    train: Split
    valid: Split
    test: Split


def holdout(labels: np.ndarray, count: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Choose about `count` rows or groups of rows, spread over the classes in proportion, never all of one.

    Args:
      labels: [N] class of each row.
      count: number of rows, or of groups where `groups` is given.
      seed: any integer.
      groups: [N] group of each row (all rows of a group have one class), for example a GTSRB track.
    Returns:
      [N] bool, true for the rows held out. Each class gets its quota rounded by largest remainders (ties: at
      random).
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
