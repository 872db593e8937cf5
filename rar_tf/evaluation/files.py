"""An evaluation as files, see `rar_tf.results`: beside its rows, maps.npz and maps.png of the first attacked images."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import numpy as np

from rar_tf import figures, results
from rar_tf.errors import UsageError
from rar_tf.evaluation.evaluator import Evaluator, _check_k
from rar_tf.evaluation.summary import Evaluation, Examples
from rar_tf.files import atomic_write

NUM_FIGURES = 8
TEXT = ("curve",)

read_rows = functools.partial(results.read_rows, text=TEXT)


class EvaluationJob(results.Job):
    """The attack of images by an evaluator, some correctly classified ones at a time.

    Shape: images [N, H, W, C], labels int [N].

    Args:
      record: the settings under the names that the files are to have; None takes the evaluator's own.
      strict: raise UsageError where no image is classified correctly.
    """

    text, files, mark = TEXT, ("maps.npz",), "run_warnings"

    def __init__(self, evaluator: Evaluator, images, labels, *, record=None, batch_size: int = 16, strict: bool = True):
        self.evaluator, self.batch_size = evaluator, batch_size
        self.images, self.labels = np.asarray(images, np.float32), np.asarray(labels)
        results.check_images(self.images, self.labels, evaluator.settings.bounds)
        _check_k(self.images.shape, evaluator.settings)
        self.predictions, self.count = evaluator.subject.predict(self.images), len(self.images)
        if strict and not (self.predictions == self.labels).any():
            raise UsageError(f"none of the {self.count} images is classified correctly: there is nothing to attack")
        self.columns = evaluator.columns
        self.record = {
            **(record or evaluator.settings.record()),
            "bounds": list(evaluator.settings.bounds),
            "prediction_attacks": list(evaluator.settings.prediction_attacks),
            "eval_batch_size": batch_size,
            **evaluator.digests(images, labels),
        }
        self.examples: Examples | None = None
        self._new_examples = False

    def groups(self, part):
        correct = (self.predictions == self.labels)[part]
        return [
            slice(part.start + group.start, part.start + group.stop)
            for group in self.evaluator.groups(correct, self.batch_size)
        ]

    def rows(self, group):
        index = np.arange(group.start, group.stop)
        rows, new = self.evaluator.evaluate_group(
            index, self.images[group], self.labels[group], self.predictions[group]
        )
        if new is not None and (self.examples is None or len(self.examples.index) < NUM_FIGURES):
            known = self.examples
            if known is not None:  # a run that was killed between maps and rows has some of them already
                new = known + new.take(~np.isin(new.index, known.index))
            self.examples, self._new_examples = new.take(np.arange(min(NUM_FIGURES, len(new.index)))), True
        return rows

    def restore(self, folder):
        self.examples = read_examples(folder / "maps.npz") if (folder / "maps.npz").is_file() else None

    def keep(self, folder):
        if self._new_examples:
            write_examples(folder / "maps.npz", self.examples)
            self._new_examples = False

    def notes(self):
        return {"warnings": list(self.evaluator.subject.warnings)}

    @classmethod
    def finish(cls, folder, rows, record, notes):
        examples = None
        if (folder / "maps.npz").is_file():
            e = examples = read_examples(folder / "maps.npz")
            bounds = tuple(record["bounds"])
            picture = figures.maps_figure(e.images, e.perturbed, e.maps, e.perturbed_maps, e.scores, bounds=bounds)
            with atomic_write(folder / "maps.png") as temporary:
                picture.savefig(temporary, dpi=110)
        return Evaluation(rows, {**record, "seconds": notes["seconds"]}, examples, notes["warnings"]).summary()

    @classmethod
    def join(cls, folder, parts, summaries):
        found = [read_examples(part / "maps.npz") for part in parts if (part / "maps.npz").is_file()]
        if found:
            joined = functools.reduce(Examples.__add__, found)
            write_examples(folder / "maps.npz", joined.take(np.arange(min(NUM_FIGURES, len(joined.index)))))
        return {
            "warnings": list(dict.fromkeys(warning for summary in summaries for warning in summary["run_warnings"])),
            "seconds": round(sum(summary["seconds"] for summary in summaries), 1),
        }


def evaluate_into(
    folder,
    evaluator: Evaluator,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    record: dict | None = None,
    shard: str = results.ALL,
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
    strict: bool = True,
) -> dict:
    """Evaluate images and leave settings.json, examples.csv, maps.npz, maps.png and summary.json in a folder.

    A folder that an interrupted run with the same record left is continued; the numbers are the same.

    Shape: images [N, H, W, C], labels int [N].

    Args:
      record, strict: those of `EvaluationJob`.
      shard, progress: those of `rar_tf.results.run`.
      batch_size: images attacked together.

    Returns: the summary, of all parts where they are finished.
    Raises: UsageError where the folder belongs to another evaluation.
    """
    job = EvaluationJob(evaluator, images, labels, record=record, batch_size=batch_size, strict=strict)
    return results.run(job, folder, shard=shard, progress=progress)


def merge(folder) -> dict:
    """Put the parts in a folder together, see `rar_tf.results.merge`; return the summary."""
    return results.merge(EvaluationJob, folder)


def read_examples(path) -> Examples:
    """Return the maps that an evaluation left."""
    with np.load(path) as archive:
        return Examples(**dict(archive))


def write_examples(path: pathlib.Path, examples: Examples) -> None:
    """Write maps whole."""
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **dataclasses.asdict(examples))
