"""What evaluation and certification share on the command line: whose network, which images, where results go."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from rar_tf import checks, files
from rar_tf.data.records import RECORDS
from rar_tf.data.settings import DataSettings
from rar_tf.data.splits import Splits
from rar_tf.errors import UsageError
from rar_tf.experiment.settings import RunSettings
from rar_tf.models import PREPROCESSING
from rar_tf.settings import Record, same, setting

NETWORKS = ("model_dir", "keras_model", "saved_model")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source(Record):
    """A network in a file, and the folder for what is made of it."""

    model_dir: str | None = same(RunSettings, "model_dir")
    keras_model: str | None = setting(None, "this .keras file instead of a model directory", path=True)
    saved_model: str | None = setting(None, "this SavedModel instead of a model directory", path=True)
    output_dir: str | None = setting(
        None,
        "where results are written; by default evaluation/ or certification/ in the model directory",
        path=True,
    )
    overwrite: bool = same(RunSettings, "overwrite")

    def folder(self, default: str) -> pathlib.Path:
        """Return where results go: `output_dir`, or `default` inside the model directory.

        Raises: UsageError where there is neither.
        """
        if self.output_dir is not None:
            return pathlib.Path(self.output_dir)
        if self.model_dir is None:
            raise UsageError("give --output_dir, the directory that results are written to")
        return pathlib.Path(self.model_dir) / default

    def check_network(self) -> None:
        """Raise UsageError where not exactly one network is named, or its file is absent."""
        places = {name: getattr(self, name) for name in NETWORKS if getattr(self, name) is not None}
        if len(places) != 1:
            raise UsageError(f"give exactly one of {', '.join(f'--{name}' for name in NETWORKS)}")
        ((name, place),) = places.items()
        path = pathlib.Path(place)
        if name == "model_dir" and not (path / "model.keras").is_file():
            unfinished = " (its training is not finished: give its command again)"
            raise UsageError(f"--model_dir={place} holds no model.keras{unfinished * (path / 'flags.cfg').is_file()}")
        if name == "keras_model" and not path.is_file():
            raise UsageError(f"--keras_model={place}: no such .keras file")
        if name == "saved_model" and not path.is_dir():
            raise UsageError(f"--saved_model={place}: no such folder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work(Source):
    """A number of test images, all of them or a part."""

    preprocessing: str | None = setting(
        None,
        "what keras_model needs of pixels, as keras.applications does it; it is put before the network, so "
        "that budgets and maps are in the data's pixels",
        choices=PREPROCESSING,
    )
    split: str = setting(
        "test", "images that are evaluated or certified: test, or valid and train for choices", choices=Splits._fields
    )
    num_examples: int = setting(
        1000,
        "images whose maps are attacked or certified, the first ones in file order",
        check=checks.at_least_one,
    )
    shard: str = setting("0/1", "i/n: work on the i-th of n parts of the images, counted from 0", check=checks.shard)
    processes: int = setting(
        1,
        "work on so many parts at once, each in a process of its own, on a CPU of many cores",
        check=checks.at_least_one,
    )
    merge: bool = setting(False, "put the results of all shards in the output directory together")

    @staticmethod
    def data(given: Mapping[str, Any], run: Mapping[str, Any]) -> DataSettings:
        """Return the data with the images held out that the network's run held out: by its seed, not the attack's.

        Args: the settings by flag name, those of the run (none of a file of the user's own) and of this command.
        """
        return DataSettings.of({**given, "seed": DataSettings.of(run).seed} if run else given)

    def check(self, given: Mapping[str, Any], default: str, command: str) -> None:
        """Raise UsageError for a folder, network or data set that cannot be, before anything is loaded.

        Args:
          given: the settings by flag name. A run knows its data set; that of a file of the user's own nobody else does.
          default: as in `folder`. command: whose folder it is to be.
        """
        folder = self.folder(default)
        if self.processes > 1 and (self.merge or self.shard != "0/1"):
            raise UsageError("--processes makes parts of its own and merges them: leave out --shard and --merge")
        if self.merge:
            return
        self.check_network()
        files.require(folder, command)
        if given.get("dataset") is None:
            raise UsageError(f"give --dataset, the data that the network is for: {', '.join(RECORDS)}, or your own")


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobSettings(Work):
    """What evaluations have besides."""

    accuracy_examples: int | None = setting(
        None,
        "images whose predictions are attacked, the first ones; by default num_examples",
        check=checks.at_least_one,
    )
    eval_batch_size: int = setting(50, "images attacked at once", check=checks.at_least_one)
    reference_model: str | None = setting(
        None,
        "a naturally trained model (directory or .keras file) whose maps are compared with this one's",
        path=True,
    )
    transfer_from: str | None = setting(
        None,
        "another model (directory or .keras file) that attack directions come from: whether this one's own gradients "
        "hide something",
        path=True,
    )
