"""Work on images as files: rows appended and flushed a group at a time, so that a killed run goes on where it was.

A folder holds settings.json (what decides the numbers), examples.csv (the rows), runs.json (which processes made them)
and, at the end, summary.json; a job may leave files of its own beside them. A part i/n of the images has a folder of
its own, shard-i-of-n, inside; the part that finishes last puts all of them together.
"""

import contextlib
import csv
import hashlib
import io
import itertools
import json
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from rar_tf import checks, files, provenance
from rar_tf.errors import UsageError, brief
from rar_tf.files import atomic_write
from rar_tf.progress import bar

ALL = "0/1"
RUNS = "runs.json"


class Job:
    """Something that is done to images, group by group, and gives the same number of rows for each image.

    columns: the names of all values that a row can have, in order. text: those of them that are no numbers.
    record: what decides the numbers (settings, weights, images). count: images.
    per_image: rows per image. files: names of what it leaves beside the rows. mark: what only its summaries hold.
    command: whose folders its files lie in.
    """

    command: str = "job"
    columns: Sequence[str]
    text: Sequence[str] = ()
    record: dict
    count: int
    per_image: int = 1
    files: Sequence[str] = ()
    mark: str

    def groups(self, part: slice) -> list[slice]:
        """Return the runs of images that are worked on at once; by default each image alone."""
        return [slice(i, i + 1) for i in range(part.start, part.stop)]

    def rows(self, group: slice) -> list[dict]:
        """Return the rows of a group of images."""
        raise NotImplementedError

    def restore(self, folder: pathlib.Path) -> None:
        """Read what `keep` left in a run that was stopped."""

    def keep(self, folder: pathlib.Path) -> None:
        """Write the job's own files as far as they have come; called before a group's rows are written."""

    def notes(self) -> dict:
        """Return what the summary says besides, known only where the work was done: warnings, guarantees."""
        return {}

    # What follows needs the files alone, so that parts are put together without a network.

    @classmethod
    def finish(cls, folder: pathlib.Path, rows: list[dict], record: dict, notes: dict) -> dict:
        """Write pictures; return the summary. notes: those of `notes`, and the `seconds` of the run."""
        raise NotImplementedError

    @classmethod
    def join(cls, folder: pathlib.Path, parts: list[pathlib.Path], summaries: list[dict]) -> dict:
        """Put the job's own files of all parts together; return the notes of the whole."""
        return {}


def run(
    job: Job,
    folder,
    *,
    shard: str = ALL,
    progress: Callable[[int], None] | bool | None = None,
    overwrite: bool = False,
) -> dict:
    """Do a job, or a part of it, or go on with it where it was stopped; leave its files in a folder.

    Where this is the last of several parts that was missing, all of them are put together.

    Args:
      shard: i/n, the part; its files lie in a folder of its own inside.
      progress: called with the number of images finished, each time some are (at first with those of an earlier run).
      overwrite: begin anew: what such a job left in the folder, or in the part's, is removed first.

    Returns: the summary, of the whole where that is finished.
    Raises: UsageError where the folder belongs to another job, another process is at work on it, or for a shard that
      cannot be.
    """
    part, own = shard_slice(shard, job.count), shard_folder(folder, shard)
    record = {**job.record, "shard": shard}
    count = int(shard.split("/")[1])
    if count > 1:  # now, since a whole whose parts do not fit together would be found out at the very end
        for other in (pathlib.Path(folder), *(pathlib.Path(folder) / name for name in _names(count))):
            if (other / "settings.json").is_file():
                _check_same(read_json(other / "settings.json"), record, other, but=("shard",))
    if not overwrite:
        Table(own, record, job.columns, job.text)  # says what differs before anything is written
    if count > 1:
        files.claim(folder, job.command)
        files.own(own)
    with files.writing(own, job.command, overwrite=overwrite):
        if count > 1 and overwrite:
            (pathlib.Path(folder) / "summary.json").unlink(missing_ok=True)
        for name in job.files:
            files.own(own / name)
        table = Table(own, record, job.columns, job.text)
        rows = work(job, part, progress=progress, table=table)
        if table.finished:
            summary = read_json(own / "summary.json")
        else:
            summary = _finished(type(job), own, rows, table, job.notes())
    return merge(type(job), folder, count) if finished_folder(folder, shard) != own else summary


def finished_folder(folder, shard: str) -> pathlib.Path:
    """Return where the summary lies that `run` has returned: the part's folder, or that of all where it is finished."""
    count = int(shard.split("/")[1])
    return shard_folder(folder, shard) if count > 1 and unfinished(folder, count) else pathlib.Path(folder)


def work(
    job: Job,
    part: slice | None = None,
    *,
    progress: Callable[[int], None] | bool | None = None,
    table: "Table | None" = None,
) -> list[dict]:
    """Return the rows of a part of a job's images, written to a table as soon as they are there.

    Args:
      part: None is all images.
      progress: called with the number of images finished, each time some are; True shows how long it
        will take, see `rar_tf.progress.bar`.
      table: has the rows of a run that was stopped, which are not made again. None keeps the rows in memory alone.
    """
    part = slice(0, job.count) if part is None else part
    groups = job.groups(part)
    ends = list(itertools.accumulate(job.per_image * (group.stop - group.start) for group in groups))
    rows = [] if table is None else table.resume(ends)
    if table is not None and rows:
        job.restore(table.folder)
    elif table is not None:
        for name in job.files:
            (table.folder / name).unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        if progress is True:
            progress = stack.enter_context(bar(part.stop - part.start, job.command)).update
        report = progress if callable(progress) else lambda count: None
        if rows:
            report(len(rows) // job.per_image)
        for group in groups[sum(end <= len(rows) for end in ends) :]:
            new = job.rows(group)
            if table is not None:
                job.keep(table.folder)
                table.append(new)
            rows += new
            report(group.stop - group.start)
    return rows


def merge(job: type[Job], folder, count: int | None = None) -> dict:
    """Put the parts in `folder`/shard-*-of-n together into the folder's own files; return the summary.

    Args:
      count: n; None finds it.

    Raises: UsageError where a part is missing, unfinished or of another job, and says which.
    """
    folder = pathlib.Path(folder)
    count = _parts_of(folder) if count is None else count
    missing = unfinished(folder, count)
    if missing:
        raise UsageError(f"{folder}: of {count} parts {', '.join(missing)} is missing or not finished: run its --shard")
    parts = [folder / name for name in _names(count)]
    records = [read_json(part / "settings.json") for part in parts]
    summaries = [read_json(part / "summary.json") for part in parts]
    for part, record, summary in zip(parts, records, summaries):
        _check_same(records[0], record, part, but=("shard",))
        if job.mark not in summary:
            raise UsageError(f"{part} was not made by this command")
    files.claim(folder, job.command)
    columns = (parts[0] / "examples.csv").read_text().split("\n")[0].split(",")
    rows = [row for part in parts for row in read_rows(part / "examples.csv", columns, job.text)[0]]
    table = Table(folder, {**records[0], "shard": f"{ALL}, from {count} parts"}, columns, job.text, anew=True)
    table.write(rows)
    for part, summary in zip(parts, summaries):  # a part from before there were such files is of one process
        table.runs += _runs(part) or [{**summary.get("made", {}), "seconds": summary.get("seconds", 0.0)}]
    table.write_runs()
    notes = job.join(folder, parts, summaries)
    return _finished(job, folder, rows, table, notes)


def _finished(job, folder, rows, table, notes):
    """The summary: made by this process, on the devices and in the seconds of all that made rows."""
    notes = {**notes, "seconds": round(sum(each.get("seconds", 0.0) for each in table.runs), 1)}
    devices = dict.fromkeys(each["device"] for each in table.runs if "device" in each)
    made = {**provenance.made(), **({"device": ", ".join(devices)} if devices else {})}
    summary = as_json({**job.finish(folder, rows, table.record, notes), "made": made})
    write_json(folder / "summary.json", summary)
    return summary


def _runs(folder) -> list[dict]:
    found = read_json(folder / RUNS).get("runs", []) if (folder / RUNS).is_file() else []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UsageError(f"{folder / RUNS}: not a file of this package: move it away")
    return found


def unfinished(folder, count: int) -> list[str]:
    """Return the names of those of `count` parts that have no summary yet."""
    return [name for name in _names(count) if not (pathlib.Path(folder) / name / "summary.json").is_file()]


def _names(count):
    return [f"shard-{number}-of-{count}" for number in range(count)]


def _parts_of(folder):
    counts = sorted({int(part.name.rsplit("-", 1)[1]) for part in folder.glob("shard-*-of-*")})
    if not counts:
        raise UsageError(f"{folder} holds no shard-i-of-n folders to merge")
    if len(counts) > 1:
        raise UsageError(f"{folder} holds parts of n = {' and '.join(map(str, counts))}: remove those of one")
    return counts[0]


class Table:
    """examples.csv, the record in settings.json of what decides its numbers, and in runs.json of who made them.

    runs: a record of each process that made rows, with its seconds: a run can go on on another machine.

    Args:
      folder: where they lie; made where absent.
      columns, text: the header, and those columns that are no numbers.
      anew: whether what lies there is overwritten.

    Raises: UsageError where the folder holds a table with another record.
    """

    def __init__(self, folder, record: dict, columns: Sequence[str], text: Sequence[str] = (), *, anew: bool = False):
        self.folder, self.columns, self.text = pathlib.Path(folder), list(columns), tuple(text)
        self.record, self.finished = as_json(record), False
        self.runs: list[dict] = []
        self._own_run: dict | None = None
        self._begun = time.monotonic()
        if anew:
            return
        if (self.folder / "settings.json").is_file():
            _check_same(read_json(self.folder / "settings.json"), self.record, self.folder)
        elif self.csv.exists():
            raise UsageError(f"{self.csv} lies there without settings.json: move it away, or give another --output_dir")

    @property
    def csv(self) -> pathlib.Path:
        return self.folder / "examples.csv"

    def claim(self) -> None:
        """Make the folder this table's own. Raises: UsageError where it cannot be written."""
        write_json(self.folder / "settings.json", self.record)
        files.own(self.csv)
        files.own(self.folder / RUNS)

    def resume(self, ends: Sequence[int]) -> list[dict]:
        """Return the rows of the groups that are finished; cut off what follows them in the file.

        Args:
          ends: how many rows there are after each group, rising.
        """
        self.claim()
        if not self.csv.is_file():
            (self.folder / "summary.json").unlink(missing_ok=True)
            return []
        rows, whole = read_rows(self.csv, self.columns, self.text)
        done = max([end for end in ends if end <= len(rows)], default=0)
        self.finished = whole and done == ends[-1] == len(rows) and (self.folder / "summary.json").is_file()
        if not self.finished:  # nobody shall take an earlier summary for this run's
            (self.folder / "summary.json").unlink(missing_ok=True)
        if not whole or done < len(rows):
            logging.warning(
                "%s: %d finished rows kept, the last, unfinished batch of %d is made again%s",
                self.csv,
                done,
                len(rows) - done,
                "" if whole else " (its end was truncated: repaired)",
            )
            self._write(rows[:done])
        elif done:
            logging.info("%s: going on after %d finished rows", self.csv, done)
        if done:
            self.runs = _runs(self.folder)
        return rows[:done]

    def append(self, rows: list[dict]) -> None:
        """Write finished rows to the disk, and before that by whom they are."""
        if self._own_run is None:
            self._own_run = provenance.made()
            self.runs.append(self._own_run)
        self._own_run["seconds"] = round(time.monotonic() - self._begun, 1)
        self.write_runs()
        with files.guarded(self.csv), open(self.csv, "ab") as file:
            file.write(self._text(rows, header=file.tell() == 0).encode())
            file.flush()
            os.fsync(file.fileno())

    def write_runs(self) -> None:
        """Write the record of the processes."""
        write_json(self.folder / RUNS, {"runs": self.runs})

    def write(self, rows: list[dict]) -> None:
        """Write all rows, and the record, in place of what lies there."""
        self.claim()
        (self.folder / RUNS).unlink(missing_ok=True)
        self._write(rows)

    def _write(self, rows):
        with atomic_write(self.csv) as temporary:
            temporary.write_bytes(self._text(rows, header=True).encode())

    def _text(self, rows, header):
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def read_rows(path, columns: Sequence[str] | None = None, text: Sequence[str] = ()) -> tuple[list[dict], bool]:
    """Return the whole rows of an examples.csv, and whether the file ends with one.

    An empty cell is absent from its row.

    Args:
      text: the columns that are no numbers.

    Raises: UsageError where its header is not `columns`, or a row in the middle is damaged.
    """
    try:
        content = pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: no table of images ({brief(error)}): move it away, or --overwrite") from error
    whole = content.endswith("\n")
    lines = content.split("\n")[:-1]
    if not lines:
        return [], whole and not content
    header = next(csv.reader(lines[:1]))
    if columns is not None and header != list(columns):
        raise UsageError(f"{path}: its columns are other ones than it should have; give another --output_dir")
    rows: list[dict] = []
    for number, values in enumerate(csv.reader(lines[1:]), start=2):
        if len(values) != len(header):
            if number == len(lines):
                return rows, False
            raise UsageError(f"{path}:{number}: a row of {len(values)} values under a header of {len(header)}")
        cells = {name: value for name, value in zip(header, values) if value != ""}
        try:
            rows.append({name: value if name in text else _number(value) for name, value in cells.items()})
        except ValueError as error:
            raise UsageError(f"{path}:{number}: damaged ({brief(error)}): move it away, or --overwrite") from error
    return rows, whole


def _number(text):
    try:
        return int(text)
    except ValueError:
        return float(text)


def _check_same(old, new, folder, but=()):
    new = as_json(new)
    differing = [
        f"{name} was {old.get(name)}, now {new.get(name)}"
        for name in sorted({*old, *new} - set(but))
        if old.get(name) != new.get(name)
    ]
    if differing:
        raise UsageError(
            f"{folder} holds results of another model or other settings "
            f"({'; '.join(differing)}); give another --output_dir, or --overwrite"
        )


def as_json(value: Any) -> Any:
    """Return a value as JSON holds it: tuples as lists, NaN and infinities, which JSON has not, as null."""
    if isinstance(value, dict):
        return {str(name): as_json(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return as_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path) -> dict:
    """Return the object that a JSON file holds. Raises: UsageError where it cannot be read, or holds something else."""
    try:
        found = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: damaged, no JSON ({brief(error)}): remove it and give the same command") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: not a file of this package, a JSON {type(found).__name__}: move it away")
    return found


def write_json(path, values: dict) -> None:
    """Write a JSON file whole, see `as_json`."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(as_json(values), indent=2, allow_nan=False) + "\n")


def shard_slice(shard: str, count: int) -> slice:
    """Return which of `count` images the i-th of n parts has, for "i/n" counted from 0.

    Raises: UsageError for another form, i outside of 0 … n−1, or a part without images.
    """
    checks.shard(shard=shard)
    number, parts = map(int, shard.split("/"))
    part = slice(number * count // parts, (number + 1) * count // parts)
    if part.start == part.stop:
        raise UsageError(f"--shard={shard}: this part of {count} images is empty")
    return part


def shard_folder(folder, shard: str) -> pathlib.Path:
    """Return where a part's files lie: a folder of its own inside, unless it is all."""
    number, parts = map(int, shard.split("/"))
    return pathlib.Path(folder) if parts == 1 else pathlib.Path(folder) / _names(parts)[number]


def fingerprint(network) -> str:
    """Return a digest of a network's variables: equal for equal weights, and of use where it has any."""
    digest = hashlib.sha256()
    for variable in variables_of(network):
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()[:16]


def architecture(network, predictions: np.ndarray) -> str:
    """Return a digest of what a network computes beside its weights: equal for equal networks in files and in code.

    Of a Keras model the kinds of its layers and their settings; of a function without variables, of which nothing is
    known, its predictions [N].
    """
    if hasattr(network, "_flatten_layers"):
        layers = network._flatten_layers(include_self=False)
        text = json.dumps([[type(layer).__name__, _computed(layer.get_config())] for layer in layers])
    else:
        text = "" if variables_of(network) else json.dumps(np.asarray(predictions).tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _computed(value):
    """A layer's settings as JSON, without names, seeds and what only training knows."""
    if isinstance(value, dict):
        without = ("name", "seed", "trainable", "build_config", "initializer", "regularizer", "constraint", "layers")
        return {name: _computed(each) for name, each in sorted(value.items()) if not name.endswith(without)}
    if isinstance(value, (list, tuple)):
        return [_computed(each) for each in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else type(value).__name__


def variables_of(network) -> list:
    """Return a network's variables, of a Keras model or a SavedModel; none of a function."""
    network = getattr(network, "model", network) if not hasattr(network, "weights") else network
    return list(getattr(network, "weights", None) or getattr(network, "variables", None) or [])


def images_digest(*arrays: np.ndarray) -> str:
    """Return a digest of arrays: images and labels."""
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()[:16]
