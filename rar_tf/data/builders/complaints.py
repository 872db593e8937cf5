"""What to do about an incomplete or broken archive: an error, or a warning where the user asked to go on."""

import dataclasses

from absl import logging

from rar_tf.errors import UsageError


@dataclasses.dataclass
class Complaints:
    """Raises or warns, as the user's settings say; `skipped` counts what was left out."""

    allow_partial: bool = False
    skip_corrupt: bool = False
    skipped: int = 0

    def partial(self, message: str, consequence: str = "the splits are in proportion") -> None:
        """Raise UsageError, or warn, that something is missing as a whole."""
        if not self.allow_partial:
            raise UsageError(f"{message} (--allow_partial goes on with what there is)")
        logging.warning("%s: %s", message, consequence)

    def broken(self, message: str) -> None:
        """Raise UsageError, or warn, that one image or row is not as it should be."""
        if not self.skip_corrupt:
            raise UsageError(f"{message} (--skip_corrupt leaves it out)")
        self.skipped += 1
        logging.warning("skipped: %s", message)

    def report(self) -> None:
        """Warn of how much was left out."""
        if self.skipped:
            logging.warning("skipped %d broken images or rows", self.skipped)
