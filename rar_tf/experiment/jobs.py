"""What evaluation and certification share on the command line: whose network, which images, where results go."""

import dataclasses
import pathlib

from rar_tf import checks
from rar_tf.data.splits import Splits
from rar_tf.errors import UsageError
from rar_tf.experiment.settings import RunSettings
from rar_tf.models import PREPROCESSING
from rar_tf.settings import Record, same, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobSettings(Record):
    """A network, a number of images, and a folder."""

    model_dir: str | None = same(RunSettings, "model_dir")
    keras_model: str | None = setting(None, "this .keras file instead of a model directory")
    saved_model: str | None = setting(None, "this SavedModel instead of a model directory")
    preprocessing: str | None = setting(
        None,
        "what keras_model needs of pixels, as keras.applications does it; it is put before the network, so "
        "that budgets and maps are in the data's pixels",
        choices=PREPROCESSING,
    )
    output_dir: str | None = setting(
        None, "where results are written; by default evaluation/ or certification/ in the model directory"
    )
    split: str = setting(
        "test", "images that are evaluated or certified: test, or valid and train for choices", choices=Splits._fields
    )
    num_examples: int = setting(
        1000, "images whose maps are attacked, the first ones in file order", check=checks.at_least_one
    )
    accuracy_examples: int | None = setting(
        None,
        "images whose predictions are attacked, the first ones; by default num_examples",
        check=checks.at_least_one,
    )
    eval_batch_size: int = setting(50, "images attacked at once", check=checks.at_least_one)
    shard: str = setting("0/1", "i/n: work on the i-th of n parts of the images, counted from 0")
    processes: int = setting(
        1,
        "work on so many parts at once, each in a process of its own, on a CPU of many cores",
        check=checks.at_least_one,
    )
    merge: bool = setting(False, "put the results of all shards in the output directory together")
    reference_model: str | None = setting(
        None,
        "a naturally trained model (directory or .keras file) whose maps are compared with this one's",
    )

    def folder(self, default: str) -> pathlib.Path:
        """Return where results go: `output_dir`, or `default` inside the model directory.

        Raises: UsageError where there is neither, and where parts are asked for in two ways.
        """
        if self.processes > 1 and (self.merge or self.shard != "0/1"):
            raise UsageError("--processes makes parts of its own and merges them: leave out --shard and --merge")
        if self.output_dir is not None:
            return pathlib.Path(self.output_dir)
        if self.model_dir is None:
            raise UsageError("give --output_dir, the directory that results are written to")
        return pathlib.Path(self.model_dir) / default
