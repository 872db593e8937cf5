"""Keras callbacks of a run: they count in steps of training, whatever Keras calls an epoch."""

import contextlib
import csv
import math
import pathlib
import signal
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import files
from rar_tf.data import record_files
from rar_tf.data.pipeline import Waiting
from rar_tf.errors import UsageError, brief
from rar_tf.experiment.checkpoints import Checkpoints
from rar_tf.files import atomic_write


class TrainingDiverged(UsageError):
    """A loss or a weight is NaN or infinite."""


class RestoredMeans(keras.callbacks.Callback):
    """Put back what a checkpoint holds of the steps since the last row: Keras sets all metrics to 0 before an epoch."""

    def on_train_begin(self, logs=None):
        self.kept = [(variable, tf.convert_to_tensor(variable).numpy()) for variable in self.model.metrics_variables]

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in self.kept:
            variable.assign(value)
        self.kept = []


class StepCallback(keras.callbacks.Callback):
    """A callback that knows the number of steps made, the earlier sessions of a resumed run included."""

    def __init__(self, start_step: int):
        super().__init__()
        self.start_step = start_step
        self.step = start_step

    def on_train_batch_end(self, batch, logs=None):
        # With several steps an execution Keras counts the last one as if it were full.
        previous, self.step = self.step, self.start_step + min(batch + 1, self.params["steps"])
        self.on_step(previous, self.step, logs or {})

    def on_step(self, previous: int, step: int, logs: dict) -> None:
        """Called after steps previous + 1 … step were made (more than one with steps_per_execution)."""


def passed(every: int, previous: int, step: int) -> bool:
    """Return whether a multiple of `every` lies in previous + 1 … step; never for every = 0."""
    return bool(every) and step // every > previous // every


class StepTable:
    """A CSV file that grows by a row at a step of training, the step first."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def cut(self, step: int) -> None:
        """Drop the rows beyond a step, which a resumed run makes again, and what is left of a torn one."""
        if not self.path.exists():
            return
        try:
            with open(self.path, newline="") as file:
                header, *rows = list(csv.reader(file)) or [[]]
            rows = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
        except (ValueError, csv.Error) as error:
            raise UsageError(f"{self.path}: not a table of a run ({brief(error)}): move it away") from error
        with atomic_write(self.path) as temporary, open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([header, *rows] if header else [])

    def append(self, row: dict) -> None:
        """Write one row, and before the first the header of its names."""
        with files.guarded(self.path), open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


def event_writer(folder: pathlib.Path, step: int) -> tf.summary.SummaryWriter:
    """Return a writer of TensorBoard events, after dropping those that `StepTable.cut` drops of a table."""
    for path in folder.glob("events.out.tfevents.*"):
        with files.guarded(path):
            record_files.cut(path, lambda event: tf.compat.v1.Event.FromString(event).step <= step)
    return tf.summary.create_file_writer(str(folder))


class StepLog(StepCallback):
    """Write the mean of each term since the last row to history.csv and TensorBoard; stop where one is NaN or infinite.

    TensorBoard and the log get the speed too, and the share of the time that was spent waiting for data.

    Args:
      folder: the model directory.
      every: steps between two rows.
      batch_size: examples per step, for the examples per second.
      writer: of TensorBoard events; None on a worker that is not to write, but to stop with the others.
      waiting: how long the training has waited for its batches.
      report: called with each row, and the examples per second.
    """

    def __init__(
        self,
        folder,
        every: int,
        batch_size: int,
        start_step: int,
        writer: tf.summary.SummaryWriter | None,
        waiting: Waiting,
        report: Callable[[dict[str, float]], None] | None = None,
    ):
        super().__init__(start_step)
        self.waiting, self.report = waiting, report
        self.table = StepTable(pathlib.Path(folder) / "history.csv")
        self.every, self.batch_size, self.writer = every, batch_size, writer

    def on_train_begin(self, logs=None):
        self.clock, self.clock_step, self.waited = time.monotonic(), self.start_step, self.waiting.seconds
        if self.writer is not None:
            self.table.cut(self.start_step)

    def on_step(self, previous, step, logs):
        if passed(self.every, previous, step) or step == self.params["steps"] + self.start_step:
            self.write({name: float(value) for name, value in logs.items()})
            self.model.reset_metrics()

    def write(self, means: dict[str, float]) -> None:
        """Append one row. Raises: TrainingDiverged where a mean is not finite."""
        for name, value in means.items():
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"training diverged: {name} is {value} at step {self.step}; the last good "
                    "checkpoint is kept (try a smaller learning rate)"
                )
        if self.writer is None:
            return
        now = time.monotonic()
        seconds = max(now - self.clock, 1e-9)
        pace = {
            "examples_per_second": (self.step - self.clock_step) * self.batch_size / seconds,
            "share_waiting_for_data": min((self.waiting.seconds - self.waited) / seconds, 1.0),
        }
        self.clock, self.clock_step, self.waited = now, self.step, self.waiting.seconds
        logging.info(
            "step %d: %.3g examples a second, %.1f %% of the time waiting for data",
            self.step,
            pace["examples_per_second"],
            100 * pace["share_waiting_for_data"],
        )
        row = {**means, "learning_rate": float(tf.convert_to_tensor(self.model.optimizer.learning_rate))}
        self.table.append({"step": self.step, **row})
        with self.writer.as_default(step=self.step):
            for name, value in {**row, **pace}.items():
                tf.summary.scalar(f"train/{name}", value)
        if self.report is not None:
            self.report({"step": self.step, **row, **pace})


class Checkpointing(StepCallback):
    """Write checkpoints, and stop after one when the process is asked to end (SIGTERM, or SIGINT: Ctrl-C).

    Args:
      checkpoints: where to.
      every: steps between two of them.
      write: whether this process is the one that writes.
    """

    def __init__(self, checkpoints: Checkpoints, every: int, start_step: int, write: bool = True):
        super().__init__(start_step)
        self.checkpoints, self.every, self.write = checkpoints, every, write
        self.signalled = False
        self.stop_agreed: bool | None = None  # what all workers agreed on; None where there is but one

    def on_train_begin(self, logs=None):
        self.former = {}
        for sign in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):  # not in the main thread: signals are somebody else's
                self.former[sign] = signal.signal(sign, self._signal)

    def on_train_end(self, logs=None):
        for sign, handler in self.former.items():
            signal.signal(sign, handler)

    def on_step(self, previous, step, logs):
        last = step == self.params["steps"] + self.start_step
        stop = self.signalled if self.stop_agreed is None else self.stop_agreed
        if not (passed(self.every, previous, step) or last or stop):
            return
        if not all(np.all(np.isfinite(value)) for value in (*logs.values(), *self.model.network.get_weights())):
            raise TrainingDiverged(
                f"training diverged: the loss or a weight is NaN or infinite at step {step}; the last good checkpoint "
                "is kept (try a smaller learning rate)"
            )
        if self.write:
            self.checkpoints.save(step)
        if stop and not last:
            logging.warning("stopped at step %d with a checkpoint; the same command goes on from there", step)
            self.model.stop_training = True

    def _signal(self, sign, frame):
        if self.signalled and sign == signal.SIGINT:  # a second Ctrl-C does not wait for the step's end
            raise KeyboardInterrupt
        self.signalled = True
