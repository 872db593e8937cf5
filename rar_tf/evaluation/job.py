"""An evaluation as a job, see `rar_tf.results`: in memory, or as files with maps.npz and maps.png beside the rows."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from rar_tf import checks, inputs, results
from rar_tf.errors import UsageError
from rar_tf.evaluation.evaluator import Evaluator
from rar_tf.evaluation.outcome import TEXT, Attacked, Curve, Evaluation
from rar_tf.evaluation.settings import AttackSettings, EvaluationSettings
from rar_tf.evaluation.summary import Examples

NUM_FIGURES = 8


class EvaluationJob(results.Job):
    """The attack of images by an evaluator, some correctly classified ones at a time.

    Shape: images [N, H, W, C], labels int [N].

    Args:
      num_examples: how many of them, the first ones, have their maps attacked; the others only their predictions. None
        is all.
      record: the settings under the names that the files are to have; None takes the evaluator's own.
      num_figures: attacked images whose maps are kept.
    """

    command, text, files, mark = "evaluate", TEXT, ("maps.npz",), "run_warnings"

    def __init__(
        self,
        evaluator: Evaluator,
        images,
        labels,
        *,
        num_examples: int | None = None,
        record=None,
        batch_size: int = 16,
        num_figures: int = NUM_FIGURES,
    ):
        checks.of_kind(int, batch_size=batch_size)
        checks.at_least_one(batch_size=batch_size)
        checks.not_negative(num_examples=num_examples or 0)
        self.evaluator, self.batch_size, self.num_figures = evaluator, batch_size, num_figures
        self.images, self.labels = inputs.arrays(images, labels)
        self.predictions, self.count = evaluator.predict(self.images, self.labels), len(self.images)
        self.num_examples = self.count if num_examples is None else min(num_examples, self.count)
        self.columns = evaluator.columns
        self.record = {
            **(record or evaluator.settings.record()),
            "bounds": list(evaluator.settings.bounds),
            "prediction_attacks": list(evaluator.settings.prediction_attacks),
            "eval_batch_size": batch_size,
            "num_examples": self.num_examples,
            "accuracy_examples": self.count,
            **evaluator.digests(images, labels),
            "architecture_digest": results.architecture(evaluator.subject.network, self.predictions),
        }
        self.examples: Examples | None = None
        self._new_examples = False

    def groups(self, part):
        """Runs of consecutive images with `batch_size` correctly classified ones each, fewer in the last."""
        found, begin, count = [], part.start, 0
        for i in range(part.start, part.stop):
            count += bool(self.predictions[i] == self.labels[i])
            if count == self.batch_size or i + 1 in (self.num_examples, part.stop):
                found.append(slice(begin, i + 1))
                begin, count = i + 1, 0
        return found

    def rows(self, group):
        rows, new = self.evaluator.evaluate_group(
            np.arange(group.start, group.stop),
            self.images[group],
            self.labels[group],
            self.predictions[group],
            maps=group.start < self.num_examples,
        )
        if new is not None and (self.examples is None or len(self.examples.index) < self.num_figures):
            known = self.examples
            if known is not None:  # a run that was killed between maps and rows has some of them already
                new = known + new.take(~np.isin(new.index, known.index))
            self.examples, self._new_examples = new.take(np.arange(min(self.num_figures, len(new.index)))), True
        return rows

    def restore(self, folder):
        self.examples = Examples.read(folder / "maps.npz") if (folder / "maps.npz").is_file() else None

    def keep(self, folder):
        if self._new_examples:
            self.examples.write(folder / "maps.npz")
            self._new_examples = False

    def notes(self):
        return {"warnings": list(self.evaluator.subject.warnings)}

    @classmethod
    def finish(cls, folder, rows, record, notes):
        examples = Examples.read(folder / "maps.npz") if (folder / "maps.npz").is_file() else None
        found = Evaluation(rows, {**record, "seconds": notes["seconds"]}, examples, notes["warnings"])
        found.save_pictures(folder)
        return found.summary()

    @classmethod
    def join(cls, folder, parts, summaries):
        found = [Examples.read(part / "maps.npz") for part in parts if (part / "maps.npz").is_file()]
        if found:
            joined = functools.reduce(Examples.__add__, found)
            joined.take(np.arange(min(NUM_FIGURES, len(joined.index)))).write(folder / "maps.npz")
        return {"warnings": list(dict.fromkeys(each for summary in summaries for each in summary["run_warnings"]))}


@overload
def evaluate(
    network, images: np.ndarray, labels: np.ndarray, *, bounds: tuple[float, float], epsilon: float, **options: Any
) -> Evaluation: ...


@overload
def evaluate(
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    bounds: tuple[float, float],
    epsilons: Sequence[float],
    **options: Any,
) -> Curve: ...


def evaluate(
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    bounds: tuple[float, float],
    epsilon: float | None = None,
    epsilons: Sequence[float] | None = None,
    surrogate=None,
    reference_network=None,
    num_examples: int | None = None,
    batch_size: int = 16,
    progress: Callable[[int], None] | bool | None = None,
    num_figures: int = NUM_FIGURES,
    **settings,
) -> Evaluation | Curve:
    """Attack a network's predictions and attributions on images and measure what is left of them.

    Shape: images [N, H, W, C] in `bounds`, labels int [N].

    Args:
      bounds, epsilon, settings: those of `EvaluationSettings`.
      epsilons: several budgets in place of one; each is evaluated, and the result is a `Curve` of them.
      network, surrogate, reference_network: those of `Evaluator`.
      num_examples, num_figures: those of `EvaluationJob`.
      batch_size: images attacked together; changes no number beyond rounding.
      progress: called with the number of images finished, each time some are; True shows a bar.

    Raises: UsageError for settings that cannot be, and for k larger than a map.
    """

    def one(budget):
        chosen = EvaluationSettings.make({"bounds": bounds, "epsilon": budget, **settings})
        evaluator = Evaluator(network, chosen, surrogate=surrogate, reference_network=reference_network)
        return run(
            evaluator,
            images,
            labels,
            num_examples=num_examples,
            batch_size=batch_size,
            progress=progress,
            num_figures=num_figures,
        )

    budgets = _budgets(epsilon, epsilons)
    return one(epsilon) if epsilons is None else Curve([one(budget) for budget in budgets])


@overload
def attack(
    network, images: np.ndarray, labels: np.ndarray, *, bounds: tuple[float, float], epsilon: float, **options: Any
) -> Attacked: ...


@overload
def attack(
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    bounds: tuple[float, float],
    epsilons: Sequence[float],
    **options: Any,
) -> list[Attacked]: ...


def attack(
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    bounds: tuple[float, float],
    epsilon: float | None = None,
    epsilons: Sequence[float] | None = None,
    surrogate=None,
    batch_size: int = 16,
    progress: Callable[[int], None] | bool | None = None,
    **settings,
) -> Attacked | list[Attacked]:
    """Attack the attributions of images and give back what the attack found: images, maps and scores.

    The attack is that of `evaluate` with the same settings: attack="auto" is the ensemble; objective, steps,
    attribution and protocol are others of `AttackSettings`. Images that the network does not classify as their
    label are not attacked and come back as they are.

    Shape: images [N, H, W, C] in `bounds`, labels int [N]; the result's fields are in the images' order.

    Args:
      epsilons: several budgets in place of one; the result is a list, one entry a budget.
      others: those of `evaluate`.

    Raises: UsageError for settings that cannot be, for k larger than a map, and for attack="none".
    """
    images, labels = inputs.arrays(images, labels)

    def one(budget):
        chosen = AttackSettings.make({"bounds": bounds, "epsilon": budget, **settings})
        if chosen.attack == "none":
            raise UsageError("attack='none' attacks no attributions; name one: 'ifia' or 'auto'")
        evaluator = Evaluator(network, chosen, surrogate=surrogate)
        found = run(evaluator, images, labels, batch_size=batch_size, progress=progress, num_figures=len(images))
        others = np.setdiff1d(np.arange(len(images)), [] if found.examples is None else found.examples.index)
        return Attacked.of(images, found, others, evaluator.maps(images[others], labels[others], batch_size))

    budgets = _budgets(epsilon, epsilons)
    return one(epsilon) if epsilons is None else [one(budget) for budget in budgets]


def _budgets(epsilon, epsilons):
    if (epsilon is None) == (epsilons is None):
        raise UsageError("give epsilon, the budget of the attack in pixel units, or epsilons, a list of several")
    budgets = [epsilon] if epsilons is None else list(epsilons)
    if not budgets:
        raise UsageError("epsilons holds no budget")
    return budgets


def run(
    evaluator: Evaluator,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    progress: Callable[[int], None] | bool | None = None,
    **options,
) -> Evaluation:
    """Evaluate images in memory with a given evaluator: `evaluate`, for callers that keep the evaluator.

    Args:
      options: those of `EvaluationJob`.
    """
    job, begun = EvaluationJob(evaluator, images, labels, **options), time.monotonic()
    rows = results.work(job, progress=progress)
    settings = {**job.record, "seconds": round(time.monotonic() - begun, 1)}
    return Evaluation(rows, settings, job.examples, list(evaluator.subject.warnings))


def evaluate_into(
    folder,
    evaluator: Evaluator,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    num_examples: int | None = None,
    record: dict | None = None,
    shard: str = results.ALL,
    batch_size: int = 16,
    progress: Callable[[int], None] | bool | None = None,
    overwrite: bool = False,
) -> dict:
    """Evaluate images and leave settings.json, examples.csv, maps.npz, maps.png and summary.json in a folder.

    A folder that an interrupted run with the same record left is continued; the numbers are the same.

    Shape: images [N, H, W, C], labels int [N].

    Args:
      num_examples, record: those of `EvaluationJob`.
      shard, progress, overwrite: those of `rar_tf.results.run`.
      batch_size: images attacked together.

    Returns: the summary, of all parts where they are finished.
    Raises: UsageError where the folder belongs to another evaluation.
    """
    job = EvaluationJob(evaluator, images, labels, num_examples=num_examples, record=record, batch_size=batch_size)
    return results.run(job, folder, shard=shard, progress=progress, overwrite=overwrite)


def merge(folder, count: int | None = None) -> dict:
    """Put the parts in a folder together, see `rar_tf.results.merge`; return the summary."""
    return results.merge(EvaluationJob, folder, count)
