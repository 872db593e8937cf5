"""How robust a network's attributions are: predictions and maps under attack, image by image, then in sum.

Protocol: Chen et al. 2019, Section 5. The first N images in file order; only those that are classified correctly are
attacked; an image for which no iterate keeps the label and lowers the measure scores 1 in every metric and counts as
a fallback.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np

from rar_tf import metrics
from rar_tf.errors import UsageError
from rar_tf.evaluation.measurements import Batch, measurements_of
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.subject import Subject
from rar_tf.evaluation.summary import Evaluation, Examples, plain_number
from rar_tf.results import check_images, fingerprint, images_digest


class Evaluator:
    """Evaluates one network; compiles its attacks once, so that it can be called again as the network's weights change.

    Args:
      network, surrogate: those of `Subject`.
      reference_network: another network whose clean maps the network's are compared with.
    """

    def __init__(self, network, settings: EvaluationSettings, *, surrogate=None, reference_network=None):
        self.settings = settings.resolved()
        self.reference_network = reference_network
        self.subject = Subject(network, surrogate, split=self.settings.evaluation_protocol == "ours")
        self.measurements = measurements_of(self.subject, self.settings, reference_network)

    @property
    def columns(self) -> list[str]:
        """The names of all values that a row can have, in order."""
        return ["index", "label", "prediction", "correct", *(name for m in self.measurements for name in m.columns)]

    def digests(self, images: np.ndarray, labels: np.ndarray) -> dict:
        """Return digests of what else decides the numbers, beside the settings: weights and images."""
        record = {"weights_digest": fingerprint(self.subject.network), "images_digest": images_digest(images, labels)}
        if self.reference_network is not None:
            record["reference_weights_digest"] = fingerprint(self.reference_network)
        return record

    def groups(self, correct: np.ndarray, batch_size: int) -> Iterator[slice]:
        """Give runs of consecutive images with `batch_size` correctly classified ones each (fewer in the last)."""
        begin, count = 0, 0
        for i, each in enumerate(correct):
            count += bool(each)
            if count == batch_size:
                yield slice(begin, i + 1)
                begin, count = i + 1, 0
        if begin < len(correct):
            yield slice(begin, len(correct))

    def evaluate_group(
        self, index: np.ndarray, images: np.ndarray, labels: np.ndarray, predictions: np.ndarray
    ) -> tuple[list[dict], Examples | None]:
        """Return one row per image, and the maps of the attacked ones.

        Shape: index, labels, predictions [B]; images [B, H, W, C]. The index, not the place in the batch, seeds an
        image's random starts.
        """
        correct = labels == predictions
        rows = [
            {"index": int(i), "label": int(y), "prediction": int(p), "correct": int(y == p)}
            for i, y, p in zip(index, labels, predictions)
        ]
        for row in rows:
            if not row["correct"]:
                row.update(dict.fromkeys(self.measurements[0].columns, 0))
        if not correct.any():
            return rows, None
        batch = Batch(index[correct], images[correct].astype(np.float32), labels[correct].astype(np.int64))
        attacked = [row for row in rows if row["correct"]]
        for measurement in self.measurements:
            values = measurement(batch)
            for i, row in enumerate(attacked):
                row.update({name: plain_number(values[name][i]) for name in measurement.columns})
        kendall = np.array([row["kendall"] for row in attacked])
        shape = images.shape[1:3] + ((images.shape[3],) if self.settings.protocol == "wk" else ())
        maps, perturbed_maps = (each.reshape(-1, *shape) for each in (batch.maps, batch.perturbed_maps))
        return rows, Examples(batch.index, batch.images, batch.perturbed, maps, perturbed_maps, kendall)


def evaluate(
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    bounds: tuple[float, float],
    epsilon: float,
    surrogate=None,
    reference_network=None,
    batch_size: int = 16,
    progress: Callable | None = None,
    num_figures: int = 8,
    **settings,
) -> Evaluation:
    """Attack a network's predictions and attributions on images and measure what is left of them.

    Shape: images [N, H, W, C] in `bounds`, labels int [N].

    Args:
      bounds, epsilon, settings: those of `EvaluationSettings`.
      network, surrogate, reference_network: those of `Evaluator`.
      batch_size: images attacked together; changes no number beyond rounding.
      progress: called with the number of images finished, each time some are.
      num_figures: attacked images whose maps `Evaluation.examples` keeps.

    Raises: UsageError for settings that cannot be, and for k larger than a map.
    """
    chosen = EvaluationSettings.make({"bounds": bounds, "epsilon": epsilon, **settings})
    return run(
        Evaluator(network, chosen, surrogate=surrogate, reference_network=reference_network),
        images,
        labels,
        batch_size=batch_size,
        progress=progress,
        num_figures=num_figures,
    )


def run(
    evaluator: Evaluator,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    index: np.ndarray | None = None,
    batch_size: int = 16,
    progress: Callable | None = None,
    num_figures: int = 8,
    results=None,
    strict: bool = False,
) -> Evaluation:
    """Evaluate images with a given evaluator: `evaluate`, for callers that keep the evaluator or the rows.

    Args:
      index: the images' places in their data set [N]; None counts from 0.
      strict: raise UsageError where no image is classified correctly, instead of a warning.
      results: a `rar_tf.results.Results` that has the rows of an earlier run and gets the new ones.
    """
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    index = np.arange(len(images)) if index is None else np.asarray(index)
    check_images(images, labels, evaluator.settings.bounds)
    _check_k(images.shape, evaluator.settings)
    predictions = evaluator.subject.predict(images)
    if strict and not (predictions == labels).any():
        raise UsageError(f"none of the {len(images)} images is classified correctly: there is nothing to attack")
    groups = list(evaluator.groups(predictions == labels, batch_size))
    rows, examples, begun = results.resume(groups) if results else [], None, time.monotonic()
    done = len(rows)
    if done and progress:
        progress(done)
    for group in groups:
        if group.start < done:
            continue
        new, shown = evaluator.evaluate_group(index[group], images[group], labels[group], predictions[group])
        rows += new
        if results:
            results.append(new, shown)
        if shown is not None and (examples is None or len(examples.index) < num_figures):
            examples = shown if examples is None else examples + shown
            examples = examples.take(np.arange(min(num_figures, len(examples.index))))
        if progress:
            progress(len(new))
    evaluation = Evaluation(rows, evaluator.settings.record(), examples, list(evaluator.subject.warnings))
    evaluation.settings["seconds"] = round(time.monotonic() - begun, 1)
    return evaluation


def _check_k(shape, settings):
    features = int(np.prod(shape[1:3])) * (shape[3] if settings.protocol == "wk" else 1)
    metrics.check_k(settings.k, features, "the attack's k")
    metrics.check_k(settings.metric_k, features, "the metric's k")
