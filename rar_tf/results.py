"""An evaluation as files: rows appended and flushed a batch at a time, so that a killed run goes on where it was.

A folder holds settings.json (what decides the numbers), examples.csv (a row an image), maps.npz and maps.png (the first
attacked images) and, at the end, summary.json.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib

import numpy as np
from absl import logging

from rar_tf import figures
from rar_tf.errors import UsageError
from rar_tf.evaluation.summary import Evaluation, Examples
from rar_tf.files import atomic_write

NUM_FIGURES = 8


class Results:
    """The files of one evaluation.

    Args:
      folder: where they lie; made where absent.
      record: what decides the numbers (settings, weights, images), as JSON has it.
      columns: the header of examples.csv.

    Raises: UsageError where the folder holds an evaluation with another record.
    """

    def __init__(self, folder, record: dict, columns: list[str]):
        self.folder = pathlib.Path(folder)
        self.columns = columns
        self.examples: Examples | None = None
        record = json.loads(json.dumps(record))
        self.record = record
        if (self.folder / "settings.json").is_file():
            _check_same(read_json(self.folder / "settings.json"), record, self.folder)
        elif self.csv.exists():
            raise UsageError(f"{self.csv} lies there without settings.json: remove it, or give another --output_dir")

    def claim(self) -> None:
        """Make the folder this evaluation's own. Raises: UsageError where it cannot be written."""
        try:
            write_json(self.folder / "settings.json", self.record)
        except OSError as error:
            raise UsageError(f"cannot write to {self.folder}: {error.strerror}") from error

    @property
    def csv(self) -> pathlib.Path:
        return self.folder / "examples.csv"

    def resume(self, groups: list[slice]) -> list[dict]:
        """Return the rows of the groups of images that are finished; cut off what follows them in the file."""
        self.claim()
        if not self.csv.is_file():
            return []
        rows, whole = read_rows(self.csv, self.columns)
        done = max([group.stop for group in groups if group.stop <= len(rows)], default=0)
        if not whole or done < len(rows):
            logging.warning(
                "%s: %d finished rows kept, the last, unfinished batch of %d is made again%s",
                self.csv,
                done,
                len(rows) - done,
                "" if whole else " (its end was truncated: repaired)",
            )
            with atomic_write(self.csv) as temporary:
                temporary.write_bytes(self._text(rows[:done], header=True).encode())
        elif done:
            logging.info("%s: going on after %d finished images", self.csv, done)
        if (self.folder / "maps.npz").is_file():
            self.examples = read_examples(self.folder / "maps.npz")
        return rows[:done]

    def append(self, rows: list[dict], examples: Examples | None) -> None:
        """Write finished rows to the disk, and the first attacked images' maps."""
        if examples is not None and (self.examples is None or len(self.examples.index) < NUM_FIGURES):
            known = self.examples
            if known is not None:  # a run that was killed between maps and rows has some of them already
                examples = known + examples.take(~np.isin(examples.index, known.index))
            self.examples = examples.take(np.arange(min(NUM_FIGURES, len(examples.index))))
            with atomic_write(self.folder / "maps.npz") as temporary:
                np.savez_compressed(temporary, **dataclasses.asdict(self.examples))
        with open(self.csv, "ab") as file:
            file.write(self._text(rows, header=file.tell() == 0).encode())
            file.flush()
            os.fsync(file.fileno())

    def finish(self, evaluation: Evaluation, bounds: tuple[float, float]) -> dict:
        """Write maps.png and summary.json; return the summary."""
        if self.examples is not None:
            e = self.examples
            picture = figures.maps_figure(e.images, e.perturbed, e.maps, e.perturbed_maps, e.scores, bounds=bounds)
            with atomic_write(self.folder / "maps.png") as temporary:
                picture.savefig(temporary, dpi=110)
        summary = evaluation.summary()
        write_json(self.folder / "summary.json", summary)
        return summary

    def _text(self, rows, header):
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def evaluate_into(
    folder,
    evaluator,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    record: dict | None = None,
    index: np.ndarray | None = None,
    batch_size: int = 16,
    progress=None,
    strict: bool = True,
) -> dict:
    """Evaluate images and leave settings.json, examples.csv, maps.npz, maps.png and summary.json in a folder.

    A folder that an interrupted run with the same record left is continued; the numbers are the same.

    Shape: images [N, H, W, C], labels int [N].

    Args:
      record: the settings under the names that the files are to have; None takes the evaluator's own.
      index: the images' places in their data set; None counts from 0.
      progress: called with the number of images finished, each time some are (at first with those of an earlier run).
      strict: raise UsageError, before anything is written, where no image is classified correctly.

    Returns: the summary.
    Raises: UsageError where the folder belongs to another evaluation.
    """
    record = {
        **(record or evaluator.settings.record()),
        "bounds": list(evaluator.settings.bounds),
        "prediction_attacks": list(evaluator.settings.prediction_attacks),
        "eval_batch_size": batch_size,
        **evaluator.digests(images, labels),
    }
    from rar_tf.evaluation.evaluator import run

    results = Results(folder, record, evaluator.columns)
    evaluation = run(
        evaluator, images, labels, index=index, batch_size=batch_size, progress=progress, results=results, strict=strict
    )
    evaluation.settings = {**record, "seconds": evaluation.settings["seconds"]}
    return results.finish(evaluation, evaluator.settings.bounds)


def read_rows(path, columns: list[str] | None = None) -> tuple[list[dict], bool]:
    """Return the whole rows of an examples.csv, and whether the file ends with one.

    Raises: UsageError where its header is not `columns`, or a row in the middle is damaged.
    """
    text = pathlib.Path(path).read_text()
    whole = text.endswith("\n")
    lines = text.split("\n")[:-1]
    if not lines:
        return [], whole and not text
    header = next(csv.reader(lines[:1]))
    if columns is not None and header != list(columns):
        raise UsageError(f"{path}: its columns are not those of this evaluation; give another --output_dir")
    rows = []
    for number, values in enumerate(csv.reader(lines[1:]), start=2):
        if len(values) != len(header):
            if number == len(lines):
                return rows, False
            raise UsageError(f"{path}:{number}: a row of {len(values)} values under a header of {len(header)}")
        rows.append({name: _value(name, value) for name, value in zip(header, values) if value != ""})
    return rows, whole


def _value(name, value):
    if name == "curve":
        return value
    try:
        return int(value)
    except ValueError:
        return float(value)


def read_examples(path) -> Examples:
    """Return the maps that `Results` left."""
    with np.load(path) as archive:
        return Examples(**dict(archive))


def _check_same(old, new, folder):
    differing = [
        f"{name} was {old.get(name)}, now {new.get(name)}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if differing:
        raise UsageError(
            f"{folder} holds an evaluation of another model or other settings "
            f"({'; '.join(differing)}); give another --output_dir or remove it"
        )


def read_json(path) -> dict:
    """Return what a JSON file holds. Raises: UsageError where it cannot be read."""
    try:
        return json.loads(pathlib.Path(path).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error})") from error


def write_json(path, values: dict) -> None:
    """Write a JSON file whole."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")


def shard_slice(shard: str, count: int) -> slice:
    """Return which of `count` images the i-th of n parts has, for "i/n" counted from 0.

    Raises: UsageError for another form, i outside of 0 … n−1, or a part without images.
    """
    try:
        number, parts = map(int, shard.split("/"))
    except ValueError:
        raise UsageError(f"--shard must be i/n with whole numbers, got {shard!r}") from None
    if not 0 <= number < parts:
        raise UsageError(f"--shard={shard}: i must be in 0 … n − 1")
    part = slice(number * count // parts, (number + 1) * count // parts)
    if part.start == part.stop:
        raise UsageError(f"--shard={shard}: this part of {count} images is empty")
    return part


def shard_folder(folder, shard: str) -> pathlib.Path:
    """Return where a part's files lie: a folder of its own inside, unless it is all."""
    number, parts = shard.split("/")
    return pathlib.Path(folder) if int(parts) == 1 else pathlib.Path(folder) / f"shard-{number}-of-{parts}"


def merge(folder) -> dict:
    """Put the parts in `folder`/shard-*-of-n together into the folder's own files; return the summary.

    Raises: UsageError where a part is missing, unfinished or of another evaluation.
    """
    folder = pathlib.Path(folder)
    parts = sorted(folder.glob("shard-*-of-*"), key=lambda p: int(p.name.split("-")[1]))
    if not parts:
        raise UsageError(f"{folder} holds no shard-i-of-n folders to merge")
    count = int(parts[0].name.split("-")[3])
    if [p.name for p in parts] != [f"shard-{i}-of-{count}" for i in range(count)]:
        raise UsageError(f"{folder}: the parts are not 0 … {count - 1} of {count}: {', '.join(p.name for p in parts)}")
    own = {"shard", "images_digest"}  # what differs between parts by right
    records, summaries, rows, columns, examples = [], [], [], None, None
    for part in parts:
        if not (part / "summary.json").is_file():
            raise UsageError(f"{part} is not finished: run its --shard again")
        records.append(read_json(part / "settings.json"))
        summaries.append(read_json(part / "summary.json"))
        shared = [{k: v for k, v in r.items() if k not in own} for r in (records[0], records[-1])]
        _check_same(*shared, part)
        rows += read_rows(part / "examples.csv")[0]
        columns = columns or (part / "examples.csv").read_text().split("\n")[0].split(",")
        if (part / "maps.npz").is_file():
            found = read_examples(part / "maps.npz")
            examples = found if examples is None else examples + found
    record = {**shared[0], "shard": f"{count} merged"}
    for name in ("examples.csv", "settings.json"):
        (folder / name).unlink(missing_ok=True)
    results = Results(folder, record, columns)
    results.claim()
    results.append(rows, examples)
    warnings = list(dict.fromkeys(w for s in summaries for w in s["run_warnings"]))
    settings = {**record, "seconds": round(sum(s["seconds"] for s in summaries), 1)}
    return results.finish(Evaluation(rows, settings, examples, warnings), tuple(record["bounds"]))


def check_images(images: np.ndarray, labels: np.ndarray, bounds: tuple[float, float]) -> None:
    """Raise a UsageError where these are not images [N, H, W, C] in the pixel range `bounds` and labels [N]."""
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise UsageError(f"images must be [N, H, W, C] and labels [N], got {images.shape} and {labels.shape}")
    if len(images) == 0:
        raise UsageError("there are no images")
    low, high = bounds
    if not np.isfinite(images).all() or images.min() < low or images.max() > high:
        raise UsageError(
            f"images must be finite and in the pixel range {low:g} … {high:g}; "
            f"they are in {images.min():g} … {images.max():g}"
        )


def fingerprint(network) -> str:
    """Return a digest of a network's variables: equal for equal weights, and of use where it has any."""
    digest = hashlib.sha256()
    network = getattr(network, "model", network) if not hasattr(network, "weights") else network
    variables = getattr(network, "weights", None) or getattr(network, "variables", None) or []
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()[:16]


def images_digest(images: np.ndarray, labels: np.ndarray) -> str:
    """Return a digest of images and labels."""
    content = np.ascontiguousarray(images).tobytes() + np.ascontiguousarray(labels).tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
