"""One training run, from settings to a model directory that holds everything a user expects of it."""

import csv
import dataclasses
import json
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import rar_tf
from rar_tf import checks, config, export, models, objectives, results
from rar_tf.config import Settings
from rar_tf.data import loading, pipeline, records
from rar_tf.errors import UsageError
from rar_tf.experiment import distribution, optimizers
from rar_tf.experiment.callbacks import Checkpointing, StepLog
from rar_tf.experiment.checkpoints import Checkpoints
from rar_tf.experiment.monitoring import Monitor
from rar_tf.files import atomic_write
from rar_tf.models.pooling import with_exact_pooling
from rar_tf.models.precision import set_compute_dtype
from rar_tf.training import RobustModel


@dataclasses.dataclass
class Run:
    """What a run is made of: its settings, data, model and state."""

    settings: Settings
    record: records.Record
    splits: loading.Splits
    model: RobustModel
    strategy: tf.distribute.Strategy
    checkpoints: Checkpoints

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.settings.model_dir)

    @property
    def writes(self) -> bool:
        """Whether this process writes the run's files."""
        return distribution.is_chief(self.strategy)

    @property
    def network(self) -> keras.Model:
        return self.model.network


def train(settings: Settings, *, command: str = "", read_settings=None, verbose: int | str = 0) -> Run:
    """Train a network as the settings say, or go on with what the model directory holds; return the finished run.

    The directory gets: flags.cfg (reproduces the run), history.csv, monitor.csv, tensorboard/, checkpoints/, model.keras,
    saved_model/ and train.json. A run that was stopped ends without the last three.

    Args:
      command: the command line, for train.json.
      read_settings: reads a flag file back into settings, to compare them with those of an existing directory.
      verbose: as in `keras.Model.fit`: 0 silent, 1 a progress bar, 2 a line at the end.

    Raises: UsageError for settings or data that make no sense; TrainingDiverged for a loss that is no number.
    """
    began = time.monotonic()
    check(settings)
    folder = pathlib.Path(settings.model_dir)
    if (folder / "flags.cfg").exists() and read_settings is not None:
        config.check_same_run(read_settings(folder / "flags.cfg"), settings, str(folder))
    run = build(settings)
    start_step = run.checkpoints.restore()
    if run.writes:
        _claim(folder, settings)
    if start_step < settings.steps:
        if not _fit(run, start_step, verbose):
            return run
    elif start_step > settings.steps:
        raise UsageError(
            f"{folder} has been trained for {start_step} steps already, more than --steps={settings.steps}"
        )
    if run.writes:
        finish(run, start_step, time.monotonic() - began, command)
    distribution.wait_for_all(run.strategy)
    return run


def check(settings: Settings) -> None:
    """Raise UsageError for settings that make no sense, before anything is loaded or written."""
    if settings.model_dir is None:
        raise UsageError("give --model_dir, the directory that the run is written to")
    checks.at_least_one(
        **{
            name: getattr(settings, name)
            for name in (
                "steps",
                "batch_size",
                "checkpoint_every",
                "keep",
                "log_every",
                "eval_examples",
                "num_examples",
                "steps_per_execution",
            )
        }
    )
    if settings.init_from is not None and not pathlib.Path(settings.init_from).is_file():
        raise UsageError(f"--init_from={settings.init_from}: no such file")
    checks.one_of(objectives.METHODS, method=settings.method)
    checks.one_of(models.BUILDERS, model=settings.model)


def load_data(settings: Settings) -> tuple[records.Record, loading.Splits]:
    """Return the data set's record and its splits."""
    record = records.get(
        settings.dataset, equalize=settings.equalize, bounds=settings.pixel_range, image_size=settings.image_size
    )
    return record, loading.load(record, settings.data_dir, seed=settings.seed)


def build(settings: Settings) -> Run:
    """Return the data, the compiled model and the checkpoints of a run, with fresh weights."""
    strategy = distribution.configure(settings)
    record, splits = load_data(settings)
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        network = models.build(settings.model, record.image_shape, record.num_classes)
        if settings.init_from is not None:
            _initialise(network, settings.init_from)
        if settings.jit_compile:
            network = with_exact_pooling(network)
        set_compute_dtype(network, settings.compute_dtype)
        model = build_model(network, settings, record.bounds)
        optimizer = optimizers.build(settings.optimizer, settings.learning_rate, settings.learning_rate_boundaries)
        model.compile(optimizer, jit_compile=settings.jit_compile, steps_per_execution=settings.steps_per_execution)
        optimizer.build(network.trainable_variables)
    state = [*network.variables, *optimizer.variables]
    if settings.strategy != "multi_worker":  # to read a metric there, all workers would have to
        state += [variable for metric in model.metrics for variable in metric.variables]
    checkpoints = Checkpoints(pathlib.Path(settings.model_dir) / "checkpoints", state, settings.keep)
    return Run(settings, record, splits, model, strategy, checkpoints)


def build_model(network: keras.Model, settings: Settings, bounds: tuple[float, float]) -> RobustModel:
    """Return the training method that the settings name around a network, with the settings that it takes."""
    method = objectives.get(settings.method)
    known = {**dataclasses.asdict(settings), "steps": settings.attack_steps, "bounds": bounds}
    return method(network, **{name: known[name] for name in method.options()})


def _initialise(network, path):
    try:
        if str(path).endswith(".keras"):
            network.set_weights(export.load_keras(path).get_weights())
        else:
            network.load_weights(path)
    except (ValueError, OSError) as error:
        raise UsageError(
            f"--init_from={path}: its weights do not fit the network ({str(error).splitlines()[0]})"
        ) from error


def _claim(folder, settings):
    """Make the directory this run's own."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "flags.cfg") as temporary:
            temporary.write_text(
                "# python scripts/train.py --flagfile=flags.cfg reproduces this run\n" + config.to_flagfile(settings)
            )
    except OSError as error:
        raise UsageError(f"cannot write to --model_dir={folder}: {error.strerror}") from error


def _fit(run: Run, start_step: int, verbose) -> bool:
    """Train from a step to the end; return False where the run was asked to stop on the way."""
    settings, steps = run.settings, run.settings.steps - start_step
    augment = run.record.augment if settings.augment == "auto" else settings.augment

    def make_batches(index, count):
        return pipeline.batches(
            run.record,
            run.splits.train,
            settings.batch_size,
            seed=settings.seed,
            steps=steps,
            start_step=start_step,
            augment=None if augment == "none" else augment,
            shard=(index, count),
        )

    writer = tf.summary.create_file_writer(str(run.folder / "tensorboard")) if run.writes else None
    checkpointing = Checkpointing(run.checkpoints, settings.checkpoint_every, start_step, run.writes)
    callbacks = [StepLog(run.folder, settings.log_every, settings.batch_size, start_step, writer), checkpointing]
    if run.writes:
        callbacks.append(_monitor(run, start_step, writer))
    distribution.fit(run.model, run.strategy, make_batches, start_step, steps, callbacks, verbose)
    if writer is not None:
        writer.close()
    return checkpointing.step == settings.steps


def _monitor(run: Run, start_step: int, writer) -> Monitor:
    """The evaluation on held-out images; on training images where the data set holds none out."""
    held_out = run.splits.valid
    if not held_out.count:
        logging.warning("%s has no validation images: the monitored ones are training images", run.record.name)
        held_out = run.splits.train
    count = run.settings.eval_examples
    return Monitor(
        run.folder,
        run.network,
        results.evaluation_settings(run.settings, run.record.bounds),
        run.settings.attack_ig_steps,
        records.to_pixels(run.record, held_out.images[:count]),
        held_out.labels[:count],
        run.settings.eval_every,
        start_step,
        writer,
    )


def finish(run: Run, start_step: int, seconds: float, command: str = "") -> None:
    """Write model.keras, saved_model/ and train.json."""
    set_compute_dtype(run.network, "float32")
    with atomic_write(run.folder / "model.keras") as temporary:
        run.network.save(temporary)
    export.export_saved_model(run.network, run.folder / "saved_model")
    with open(run.folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    summary = {
        "versions": {
            "rar_tf": rar_tf.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        },
        "git_revision": _git_revision(),
        "command": command,
        "seed": run.settings.seed,
        "steps": run.settings.steps,
        "resumed_at_step": start_step,
        "wall_time_seconds": round(seconds, 1),
        "final": {name: float(value) for name, value in rows[-1].items() if name != "step"} if rows else {},
    }
    with atomic_write(run.folder / "train.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n")


def _git_revision() -> str | None:
    """The revision of the checkout that this package runs from, None outside of one."""
    try:
        found = subprocess.run(
            ["git", "-C", str(pathlib.Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
