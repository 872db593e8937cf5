"""Checkpoints from which a run goes on exactly: every variable, written whole or not at all.

A checkpoint is one `.npz` file named for its step. Zip members carry check sums, so that a damaged file shows itself.
"""

import pathlib
import re
import zipfile
import zlib

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf.files import atomic_write

_DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


class Checkpoints:
    """The checkpoints of a folder.

    Args:
      folder: where they lie.
      variables: all variables that make the state of the run, in an order that does not change.
      keep: how many are kept; older ones are removed once a newer one is safely written.
      optional: so many of the last variables may be absent from a checkpoint, and then stay what they are.
    """

    def __init__(self, folder: str | pathlib.Path, variables: list, keep: int = 3, optional: int = 0):
        self.folder = pathlib.Path(folder)
        self.variables = variables
        self.keep = keep
        self.optional = optional

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints that exist, in ascending order."""
        names = (re.fullmatch(r"step_(\d+)", path.stem) for path in self.folder.glob("step_*.npz"))
        return sorted(int(name[1]) for name in names if name)

    def path(self, step: int) -> pathlib.Path:
        """Return the file of a step's checkpoint."""
        return self.folder / f"step_{step:09d}.npz"

    def save(self, step: int) -> None:
        """Write the variables as the checkpoint of `step`, then remove the ones beyond `keep`."""
        arrays = {f"{i:05d}": tf.convert_to_tensor(variable).numpy() for i, variable in enumerate(self.variables)}
        with atomic_write(self.path(step)) as temporary:
            np.savez(temporary, **arrays)
        for old in self.steps()[: -self.keep]:
            self.path(old).unlink(missing_ok=True)

    def restore(self) -> int:
        """Load the newest checkpoint that is whole and return its step, 0 where there is none.

        A damaged one is passed over with a warning.
        """
        for partial in self.folder.glob(".partial-*"):
            partial.unlink(missing_ok=True)
        for step in reversed(self.steps()):
            try:
                with np.load(self.path(step), allow_pickle=False) as file:
                    count = len(self.variables)
                    if len(file.files) < count:
                        count -= self.optional
                    arrays = [file[f"{i:05d}"] for i in range(count)]
                for array, variable in zip(arrays, self.variables):
                    if array.shape != tuple(variable.shape):
                        raise ValueError(f"a variable of shape {tuple(variable.shape)} is {array.shape} in it")
            except _DAMAGED as error:
                logging.warning("checkpoint %s is damaged (%s); falling back to the one before", self.path(step), error)
                continue
            for array, variable in zip(arrays, self.variables):
                variable.assign(array)
            return step
        return 0
