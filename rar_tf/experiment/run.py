"""One training run, from settings to a model directory that holds everything a user expects of it."""

import contextlib
import csv
import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from rar_tf import export, files, memory, models, provenance
from rar_tf.data import pipeline
from rar_tf.data.datasets import load_data
from rar_tf.data.pixels import to_pixels
from rar_tf.data.records import Record
from rar_tf.data.splits import Splits
from rar_tf.errors import UsageError, brief
from rar_tf.experiment import distribution, flagfile, optimizers
from rar_tf.experiment.callbacks import Checkpointing, RestoredMeans, StepLog, event_writer
from rar_tf.experiment.checkpoints import Checkpoints
from rar_tf.experiment.monitoring import BEST, Monitor, best_of
from rar_tf.experiment.settings import Experiment
from rar_tf.files import atomic_write
from rar_tf.models.conversion import converted
from rar_tf.models.pooling import with_exact_pooling
from rar_tf.models.precision import set_compute_dtype
from rar_tf.models.settings import NetworkSettings, is_file
from rar_tf.objectives import METHODS
from rar_tf.objectives.robust_model import RobustModel
from rar_tf.results import read_json, write_json


@dataclasses.dataclass
class Run:
    """What a run is made of: its settings, data, model and state."""

    settings: Experiment
    record: Record
    splits: Splits
    model: RobustModel
    strategy: tf.distribute.Strategy
    checkpoints: Checkpoints
    finished: bool = False  # whether all steps were made
    written: bool = False  # whether this call has written what a finished run leaves

    @property
    def folder(self) -> pathlib.Path:
        return self.settings.run.folder

    @property
    def writes(self) -> bool:
        """Whether this process writes the run's files."""
        return distribution.is_chief(self.strategy)

    @property
    def network(self) -> keras.Model:
        return self.model.network


def train(
    given: Mapping[str, Any],
    *,
    verbose: int | str = 0,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Run:
    """Train a network as the settings say, or go on with what the model directory holds; return the finished run.

    The directory gets: flags.cfg (reproduces the run), history.csv, monitor.csv, tensorboard/, checkpoints/,
    model.keras, saved_model/ and train.json. A run that was stopped ends without the last three.

    Args:
      given: the settings by flag name; what is not given is the method's, network's or data set's own.
      verbose: as in `keras.Model.fit`: 0 silent, 1 a progress bar, 2 a line at the end.
      report: called with each row of history.csv, and the examples per second.

    Raises: UsageError for settings or data that make no sense, or where another process trains in the model directory;
      TrainingDiverged for a loss or weights that are NaN or infinite.
    """
    began = time.monotonic(), time.process_time()
    settings = Experiment.of(given)
    check(settings)
    folder = settings.run.folder
    if (folder / "flags.cfg").exists() and not settings.run.overwrite:
        _check_same_run(Experiment.of(flagfile.read(folder / "flags.cfg")), settings, folder)
    run = build(settings)
    claimed = files.writing(folder, "train", option="--model_dir", overwrite=settings.run.overwrite)
    with claimed if run.writes else contextlib.nullcontext():
        _go_on(run, given, began, verbose, report)
    return run


def _go_on(run, given, began, verbose, report):
    """Train from where the checkpoints are to the end, and write what a finished run leaves."""
    settings, folder, steps = run.settings, run.folder, run.settings.run.steps
    if settings.run.overwrite:
        distribution.wait_for_all(run.strategy)
    start_step = run.checkpoints.restore()
    if start_step > steps:
        raise UsageError(f"{folder} has been trained for {start_step} steps already, more than --steps={steps}")
    if run.writes:
        _write_flags(folder, {**given, **settings.flags()})
    if start_step < steps and not _fit(run, start_step, verbose, report):
        return
    run.finished = True
    set_compute_dtype(run.network, "float32")
    # Again where a finished run was only read back: checkpoints hold the weights that training goes on from.
    run.model.optimizer.finalize_variable_values(run.network.trainable_variables)
    if settings.run.keep_best and run.writes:
        run.network.load_weights(folder / BEST)
    if run.writes and not (start_step == steps and _is_finished(folder, steps)):
        run.written = True
        finish(run, start_step, time.monotonic() - began[0], time.process_time() - began[1])
    distribution.wait_for_all(run.strategy)


def check(settings: Experiment) -> None:
    """Raise UsageError for settings that make no sense together, before anything is loaded or written."""
    if settings.run.model_dir is None:
        raise UsageError("give --model_dir, the directory that the run is written to")
    files.require(settings.run.model_dir, "train", option="--model_dir")
    if settings.run.init_from is not None and not pathlib.Path(settings.run.init_from).is_file():
        raise UsageError(f"--init_from={settings.run.init_from}: no such file")
    if settings.run.keep_best and (not settings.run.eval_every or settings.run.weight_average is not None):
        raise UsageError("--keep_best chooses among the evaluations of --eval_every, and not with --weight_average")


def _check_same_run(old: Experiment, new: Experiment, folder: pathlib.Path) -> None:
    """Raise UsageError where two runs would train different weights, naming what differs."""
    old_values, new_values = old.defining(), new.defining()
    differing = [
        f"--{name} was {flagfile.text(old_values.get(name))}, now {flagfile.text(new_values.get(name))}"
        for name in dict.fromkeys([*old_values, *new_values])
        if old_values.get(name) != new_values.get(name)
    ]
    if differing:
        raise UsageError(
            f"{folder} belongs to other flags ({'; '.join(differing)}); give another --model_dir, or --overwrite"
        )


def build(settings: Experiment) -> Run:
    """Return the data, the compiled model and the checkpoints of a run, with fresh weights."""
    run = settings.run
    strategy = distribution.configure(run)
    record, splits = load_data(settings.data)
    settings.evaluation.replace(bounds=record.bounds).resolved().check_images(record.image_shape)
    keras.utils.set_random_seed(run.seed)
    with strategy.scope():
        network = build_network(settings.network, record)
        if run.init_from is not None:
            _initialise(network, run.init_from)
        if run.jit_compile:
            network = with_exact_pooling(network)
        set_compute_dtype(network, run.compute_dtype)
        model = build_model(network, settings, record.bounds)
        optimizer = optimizers.build(run)
        model.compile(optimizer, jit_compile=run.jit_compile, steps_per_execution=run.steps_per_execution)
        optimizer.build(network.trainable_variables)
    state, means = [*network.variables, *optimizer.variables], model.metrics_variables
    if run.strategy == "multi_worker":  # to read a metric there, all workers would have to
        means = []
    checkpoints = Checkpoints(run.folder / "checkpoints", [*state, *means], run.keep, optional=len(means))
    return Run(settings, record, splits, model, strategy, checkpoints)


def build_network(settings: NetworkSettings, record: Record) -> keras.Model:
    """Return the network that the settings name: with fresh weights, or, from a file, with those that it has.

    Raises: UsageError for options that the network does not have, or a file whose network is not for such images.
    """
    if not is_file(settings.model):
        try:
            return models.build(
                settings.model, record.image_shape, record.num_classes, bounds=record.bounds, **settings.options()
            )
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(
                f"{settings.model} cannot be built for images of shape {record.image_shape} ({brief(error)}): give "
                "another --model or --image_size"
            ) from error
    network = export.load_keras(settings.model)
    shapes = (network.input_shape[1:], network.output_shape[1:])
    if shapes != (record.image_shape, (record.num_classes,)):
        raise UsageError(
            f"--model={settings.model}: the network maps {shapes[0]} to {shapes[1]}, {record.name} has images "
            f"{record.image_shape} and {record.num_classes} classes"
        )
    return converted(network, bounds=record.bounds, **settings.options())


def build_model(network: keras.Model, settings: Experiment, bounds: tuple[float, float]) -> RobustModel:
    """Return the training method that the settings name around a network.

    Where the settings leave open how many path points are held at once, it is what the device's memory has room for.
    """
    method, given = METHODS[settings.run.method], {**vars(settings.method), "bounds": bounds}
    if given.get("ig_chunk", 0) is None and given.get("layer", "input") in ("input", "output"):
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        batch = min(given["micro_batch"] or settings.run.batch_size, settings.run.batch_size // replicas)
        given["ig_chunk"] = memory.path_points(network, network.input_shape[1:], batch, given["ig_steps"])
    return method(network, **given)


def _initialise(network, path):
    try:
        if str(path).endswith(".keras"):
            network.set_weights(export.load_keras(path).get_weights())
        else:
            network.load_weights(path)
    except (ValueError, OSError) as error:
        raise UsageError(f"--init_from={path}: its weights do not fit the network ({brief(error)})") from error


def _write_flags(folder, flags):
    flags = {name: value for name, value in flags.items() if name != "overwrite"}
    with atomic_write(folder / "flags.cfg") as temporary:
        temporary.write_text("# rar_tf train --flagfile=flags.cfg reproduces this run\n" + flagfile.to_flagfile(flags))


def _is_finished(folder, steps):
    """Whether a run has left all that it leaves, so that nothing of it is written anew."""
    there = all((folder / name).exists() for name in ("model.keras", "saved_model", "train.json"))
    return there and read_json(folder / "train.json").get("steps") == steps


def _fit(run: Run, start_step: int, verbose, report) -> bool:
    """Train from a step to the end; return False where the run was asked to stop on the way."""
    s, steps, waiting = run.settings.run, run.settings.run.steps - start_step, pipeline.Waiting()
    augment = run.record.augment if run.settings.data.augment == "auto" else run.settings.data.augment

    def make_batches(index, count):
        batches = pipeline.batches(
            run.record,
            run.splits.train,
            s.batch_size,
            seed=s.seed,
            steps=steps,
            start_step=start_step,
            augment=None if augment == "none" else augment,
            shard=(index, count),
        )
        return waiting.measured(batches)

    writer = None
    if run.writes:
        for name in ("history.csv", "monitor.csv", "tensorboard", "checkpoints"):
            files.own(run.folder / name)
        writer = event_writer(run.folder / "tensorboard", start_step)
    checkpointing = Checkpointing(run.checkpoints, s.checkpoint_every, start_step, run.writes)
    callbacks = [StepLog(run.folder, s.log_every, s.batch_size, start_step, writer, waiting, report)]
    if s.strategy != "multi_worker":  # whose checkpoints have no metrics
        callbacks.append(RestoredMeans())
    if run.writes:
        callbacks.append(_monitor(run, start_step, writer))
    callbacks.append(checkpointing)  # the last one: rows of a step that has a checkpoint are not made again
    with pipeline.mistakes(), files.guarded(run.folder):
        distribution.fit(run.model, run.strategy, make_batches, start_step, steps, callbacks, verbose)
        if writer is not None:
            writer.close()
    return checkpointing.step == s.steps


def _monitor(run: Run, start_step: int, writer) -> Monitor:
    """The evaluation on held-out images; on training images where the data set holds none out."""
    held_out = run.splits.valid
    if not held_out.count:
        logging.warning("%s has no validation images: the monitored ones are training images", run.record.name)
        held_out = run.splits.train
    count = run.settings.run.eval_examples
    return Monitor(
        run.folder,
        run.network,
        run.settings.evaluation.replace(bounds=run.record.bounds),
        to_pixels(run.record, held_out.images[:count]),
        held_out.labels[:count],
        run.settings.run.eval_every,
        start_step,
        writer,
        run.settings.run.keep_best,
    )


def finish(run: Run, start_step: int, seconds: float, cpu_seconds: float) -> None:
    """Write model.keras, saved_model/ and train.json. seconds, cpu_seconds: of this process, from `start_step` on."""
    with atomic_write(run.folder / "model.keras") as temporary:
        run.network.save(temporary)
    export.export_saved_model(run.network, run.folder / "saved_model")
    with open(run.folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    summary = {
        **provenance.made(),
        "seed": run.settings.run.seed,
        "steps": run.settings.run.steps,
        **({"kept_step": best_of(run.folder / "monitor.csv")[0]} if run.settings.run.keep_best else {}),
        "resumed_at_step": start_step,
        "wall_time_seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "final": {name: float(value) for name, value in rows[-1].items() if name != "step"} if rows else {},
    }
    write_json(run.folder / "train.json", summary)
