"""Statistics of scores: over images, of one network against another on the same images, over a method's seeds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rar_tf import metrics


def statistics(values: np.ndarray) -> dict:
    """Return mean, median, standard deviation, and intervals of the mean (bootstrap) and of the median.

    Shape: values [N].
    """
    return {
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "std": float(np.std(values)),
        "ci95": list(metrics.bootstrap_interval(values)),
        "median_ci95": list(metrics.median_interval(values)),
    }


class Paired(NamedTuple):
    """Two networks' values on the same images: their means, and the second's less the first's.

    ci95: the bootstrap interval of the mean difference over images.
    """

    images: int
    first: float
    second: float
    difference: float
    median: float
    ci95: tuple[float, float]


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Return the differences of values of the same images. Shape: first, second [N], N at least 1."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    differences = second - first
    return Paired(
        len(differences),
        float(first.mean()),
        float(second.mean()),
        float(differences.mean()),
        float(np.median(differences)),
        metrics.bootstrap_interval(differences),
    )


def paired_runs(pairs: Sequence[tuple[Mapping[int, float], Mapping[int, float]]]) -> Paired | None:
    """Return the differences of two networks' values by image, over runs such as seeds; None where they share no image.

    pairs: both networks' values by image, run by run. An image has the mean over the runs in which both have it: the
    interval is over images.
    """
    values: dict[int, list[tuple[float, float]]] = {}
    for first, second in pairs:
        for image in first.keys() & second.keys():
            values.setdefault(image, []).append((first[image], second[image]))
    return paired(*np.transpose([np.mean(values[image], axis=0) for image in sorted(values)])) if values else None


def over_runs(values: np.ndarray) -> tuple[float, float]:
    """Return mean and sample standard deviation over runs, such as seeds; 0 for one run. Shape: [N]."""
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
