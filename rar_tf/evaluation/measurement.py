"""A measurement has its columns and gives their values for a batch of correctly classified images.

A later one may use what an earlier one left in the batch: the clean maps and the attacked images.
"""

import dataclasses

import numpy as np

from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.subject import Subject


@dataclasses.dataclass
class Batch:
    """Images that the network classifies as their labels, and what measurements leave of them.

    Shape: index, labels [B]; images, perturbed [B, H, W, C]; maps, perturbed_maps [B, D]. The index, not the place in
    the batch, seeds an image's random starts.
    """

    index: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    maps: np.ndarray | None = None
    perturbed: np.ndarray | None = None
    perturbed_maps: np.ndarray | None = None


class Measurement:
    """A function of a batch with one value per image for each of its `columns`."""

    columns: tuple[str, ...]

    def __init__(self, subject: Subject, settings: EvaluationSettings):
        self.subject, self.settings = subject, settings

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        """Return the values [B] by column."""
        raise NotImplementedError
