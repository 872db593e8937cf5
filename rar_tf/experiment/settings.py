"""A training run: its own settings, and those of data, network, method and evaluation that come together in it."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from rar_tf import checks, objectives
from rar_tf.data.settings import DataSettings
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.experiment import COMPUTE_DTYPES, DECAYS, OPTIMIZERS, STRATEGIES
from rar_tf.models.settings import NetworkSettings
from rar_tf.objectives.settings import Method
from rar_tf.settings import Record, Seeded, items, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(Seeded):
    """How long, with which optimiser and on what a run trains, and what it writes when."""

    model_dir: str | None = setting(
        None, "where a run leaves everything; evaluation and certification read it", path=True
    )
    overwrite: bool = setting(False, "begin anew: remove what the same command left in that directory, nothing else")
    method: str = setting(
        "natural",
        "training method, by its name in rar_tf.objectives; in certification the certificate",
        defines=True,
    )
    init_from: str | None = setting(
        None, "a .keras or .weights.h5 file whose weights training starts from", defines=True, path=True
    )
    steps: int = setting(1000, "training steps", check=checks.at_least_one)
    batch_size: int = setting(50, "examples per step, over all replicas", check=checks.at_least_one, defines=True)
    optimizer: str = setting("adam", "optimiser; momentum is TensorFlow 1's rule", choices=OPTIMIZERS, defines=True)
    learning_rate: tuple[float, ...] = setting(
        (1e-4,), "learning rates, one more than there are boundaries", check=checks.positive, defines=True
    )
    learning_rate_boundaries: tuple[int, ...] = setting(
        (), "the last step of each learning rate but the last", defines=True
    )
    learning_rate_warmup: int = setting(
        0, "steps over which the learning rate grows linearly from nothing", check=checks.not_negative, defines=True
    )
    learning_rate_decay: int = setting(
        0,
        "last steps over which the learning rate falls to nothing; the run's number of steps then decides its weights",
        check=checks.not_negative,
        defines=True,
    )
    decay_shape: str = setting("linear", "how it falls", choices=DECAYS, defines=True)
    weight_average: float | None = setting(
        None,
        "momentum of a moving average of the weights, that the finished network has in place of the last ones",
        check=checks.between_0_and_1,
        defines=True,
    )
    checkpoint_every: int = setting(1000, "steps between checkpoints", check=checks.at_least_one)
    keep: int = setting(3, "checkpoints that are kept", check=checks.at_least_one)
    log_every: int = setting(100, "steps between rows of history.csv and TensorBoard points", check=checks.at_least_one)
    eval_every: int = setting(
        0, "steps between evaluations on held-out images; 0: only at the end", check=checks.not_negative
    )
    keep_best: bool = setting(
        False,
        "the finished network is the one with the highest adversarial accuracy of these evaluations, not the last: "
        "adversarial training overfits",
        defines=True,
    )
    eval_examples: int = setting(20, "held-out images of the evaluations during training", check=checks.at_least_one)
    strategy: str = setting("one_device", "distribution over devices", choices=STRATEGIES)
    worker_timeout: float = setting(
        45.0, "multi_worker: seconds that a worker waits for the others at the start", check=checks.positive
    )
    logical_cpus: int = setting(
        0, "split the CPU into this many logical devices; 0: leave it whole", check=checks.not_negative
    )
    steps_per_execution: int = setting(
        1,
        "training steps between returns to Python: more of them cost less overhead, and logs and checkpoints wait "
        "for the last",
        check=checks.at_least_one,
    )
    compute_dtype: str = setting(
        "float32",
        "what convolutions and dense layers compute in while training; weights, losses and the exported network are "
        "float32. tensorfloat32 differs from it on GPUs only",
        choices=COMPUTE_DTYPES,
        defines=True,
    )
    jit_compile: bool = setting(
        False, "compile the training step with XLA, max-pooling in an exact formulation", defines=True
    )
    deterministic: bool = setting(False, "make GPU kernels deterministic too (slower)")

    @property
    def folder(self) -> pathlib.Path:
        """The model directory; the working directory without one, which only a model that is not trained may do."""
        return pathlib.Path(self.model_dir or ".")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The records that a training run is made of."""

    run: RunSettings
    data: DataSettings
    network: NetworkSettings
    method: Method
    evaluation: EvaluationSettings

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Experiment":
        """Return the run that flags give, by flag name; what is not given is each record's own default.

        Raises: UsageError for values that cannot be, an unknown method or data set.
        """
        run = RunSettings.of(given)
        method = objectives.METHODS[run.method].Settings.of(given)
        return cls(run, DataSettings.of(given), NetworkSettings.of(given), method, EvaluationSettings.of(given))

    def flags(self) -> dict[str, Any]:
        """Return all resolved values by flag name: a flag file of them reproduces the run."""
        flags = {}
        for record in self.records:
            flags.update(record.flags())
        del flags["overwrite"]  # of one command, not of the run
        return flags

    @property
    def records(self) -> tuple[Record, ...]:
        return self.run, self.data, self.network, self.method, self.evaluation

    def defining(self) -> dict[str, Any]:
        """Return the values by flag name that decide the trained weights."""
        names = {item.flag for record in self.records for item in items(type(record)) if item.defines and item.flag}
        if self.run.learning_rate_decay:
            names.add("steps")
        return {flag: value for flag, value in self.flags().items() if flag in names}
