"""What a certificate supplies: its columns, rows, guarantee and plots."""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging
from matplotlib.figure import Figure

from rar_tf.certification import settings as records
from rar_tf.errors import UsageError
from rar_tf.models.surrogate import softplus_surrogate


class Certificate:
    """A certificate of one network; a value that does not exist is absent from a row, or NaN.

    Settings: its record. key: the columns that tell the rows of one image apart. counted: columns of 0 and 1, of which
    summaries give the share. shown: beginnings of the columns that the command line shows.
    files: names of arrays that its plots need beside the rows; it puts them into `arrays` once it has them.
    attacks: how many images' bounds are attacked, the first correctly classified ones.

    Args:
      network: images -> logits.
    """

    Settings: type[records.Certificate]
    key: Sequence[str] = ()
    counted: Sequence[str] = ()
    shown: Sequence[str] = ()
    files: Sequence[str] = ()
    attacks: int = 0

    def __init__(self, network, settings: records.Certificate):
        self.network, self.settings = network, settings.resolved()
        self.arrays: dict[str, dict[str, np.ndarray]] = {}

    @classmethod
    def columns(cls, settings: records.Certificate) -> list[str]:
        """Return the names of all values that a row can have, in order."""
        raise NotImplementedError

    @property
    def per_image(self) -> int:
        """Rows per image."""
        return 1

    def record(self) -> dict:
        """Return what decides the numbers, as JSON has it."""
        return self.settings.record()

    def rows(self, image: np.ndarray, label: int, index: int, attack: bool) -> list[dict]:
        """Return the rows of a correctly classified image [H, W, C].

        Args:
          index: its place in the data set; seeds what is random.
          attack: whether its bounds are attacked too.
        """
        raise NotImplementedError

    def guarantee(self) -> str:
        """Return in one sentence or two what its numbers guarantee, and what not."""
        raise NotImplementedError

    @classmethod
    def plots(cls, rows: list[dict], record: dict, folder: pathlib.Path) -> dict[str, Figure]:
        """Return the plots of the rows of correctly classified images by file name.

        Args:
          record: that of `record`. folder: where its `files` lie.
        """
        return {}


def smooth_network(network, settings: records.Attacked):
    """Return the smooth network with the same weights, or the network itself, with a warning, where there is none."""
    try:
        return softplus_surrogate(
            network, settings.certify_softplus_beta, smooth_pooling=settings.certify_smooth_pooling
        )
    except UsageError as error:
        logging.warning(
            "%s; the network itself takes its place (of a ReLU network neither bounds nor the attack's "
            "directions mean anything)",
            error,
        )
        return network
