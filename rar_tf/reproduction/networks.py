"""A network by its name, NAME[,flag=value…]: a recipe's flag file, what is laid over it, and its folder's name."""

import dataclasses
import pathlib
from typing import Any

from rar_tf.errors import UsageError
from rar_tf.experiment import flagfile

RECIPES = ("paper", "fast")
INHERITED = ("model", "seed")  # what a stage of training has in common with the one before it


def flags_folder() -> pathlib.Path:
    """Return flags/ of the working directory, else the one that came with this package."""
    here = pathlib.Path("flags")
    return here if here.is_dir() else flagfile.SHIPPED


@dataclasses.dataclass(frozen=True)
class Network:
    """What is trained: name of the flag file, recipe (paper or fast), and flags laid over it, sorted."""

    name: str
    recipe: str = "paper"
    overrides: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, text: str, recipe: str = "paper") -> "Network":
        """Return the network that NAME[,flag=value…] says. Raises: UsageError for another form or an unknown flag."""
        name, *parts = text.split(",")
        overrides = {}
        for part in parts:
            flag, equals, value = part.partition("=")
            if not equals or flag not in flagfile.all_items():
                raise UsageError(f"a network is NAME[,flag=value…] with a setting's name, got {text}")
            overrides[flag] = value
        return cls(name, recipe).replace(**overrides)

    def replace(self, **overrides: str) -> "Network":
        """Return the network with other flags laid over it, too."""
        merged = {**dict(self.overrides), **overrides}
        return dataclasses.replace(self, overrides=tuple(sorted(merged.items())))

    def without(self, *flags: str) -> "Network":
        """Return the network without some of the flags laid over it."""
        return dataclasses.replace(self, overrides=tuple(pair for pair in self.overrides if pair[0] not in flags))

    def __str__(self):
        return ",".join([self.name, *(f"{flag}={value}" for flag, value in self.overrides)])

    @property
    def flagfile(self) -> pathlib.Path:
        return flags_folder() / ("fast" if self.recipe == "fast" else "") / f"{self.name}.cfg"

    def given(self) -> dict[str, Any]:
        """Return what its flag file and the flags over it give, by flag name.

        Raises: UsageError where there is no such file, or for values that cannot be.
        """
        if not self.flagfile.is_file():
            raise UsageError(f"there is no flag file {self.flagfile}")
        return flagfile.parse([f"--flagfile={self.flagfile}", *self._laid_over()])

    def _laid_over(self):
        return [f"--{flag}={value}" for flag, value in self.overrides]

    def first_stage(self) -> "Network | None":
        """Return the network whose weights training starts from: the folder that the flag file's --init_from is in."""
        start = self.given().get("init_from")
        if start is None:
            return None
        inherited = {flag: value for flag, value in self.overrides if flag in INHERITED}
        return Network.of(pathlib.Path(start).parent.name, self.recipe).replace(**inherited)

    def folder(self, root: pathlib.Path) -> pathlib.Path:
        return root / self.recipe / str(self)

    def training(self, root: pathlib.Path) -> list[str]:
        """Return the arguments of the command train."""
        arguments = [f"--flagfile={self.flagfile}", *self._laid_over()]
        first = self.first_stage()
        if first is not None:
            arguments.append(f"--init_from={first.folder(root) / 'model.keras'}")
        return [*arguments, f"--model_dir={self.folder(root)}"]
