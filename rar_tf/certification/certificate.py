"""What a certificate supplies: its columns, rows, guarantee and plots."""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from rar_tf import arithmetic
from rar_tf.certification import settings as records
from rar_tf.errors import UsageError
from rar_tf.figures import Figure
from rar_tf.models.surrogate import is_smooth, softplus_surrogate


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
        arithmetic.settle()
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


def smooth_network(network, settings: records.Attacked, *, bounds: bool = False):
    """Return the network where it is smooth, else the smooth network with the same weights.

    Args:
      bounds: whether bounds are computed of it: a ReLU network's own Jacobian says nothing of its maps. Else it only
        gives an attack its directions, and where there is no smooth one the network itself does, with a warning.

    Raises: UsageError where bounds are asked for and no network here is known to be smooth.
    """
    pooling, found, why = settings.certify_smooth_pooling, network, ""
    smooth = is_smooth(network, pooling=pooling)
    if not smooth:
        try:
            found = softplus_surrogate(network, settings.certify_softplus_beta, smooth_pooling=pooling)
            smooth = is_smooth(found, pooling=pooling)
        except UsageError as error:
            why = f"{error}; "
    if smooth or (smooth is None and settings.assume_smooth):
        return found
    if bounds and smooth is None:
        raise UsageError(
            f"{why}bounds are of smooth networks only, and of this one that cannot be known: give its .keras file "
            "(--keras_model), or, if it has neither rectifiers nor max-pooling, --assume_smooth"
        )
    if bounds:
        raise UsageError(
            f"{why}bounds are of smooth networks only, and this one has kinks: give its .keras file (--keras_model), "
            "of which a softplus network is made"
        )
    if found is network:
        logging.warning("%sthe attack's directions come from the network itself, so that it may miss much", why)
    return found
