"""Evaluation while a network trains: how accurate and how robust it is on held-out images, every so many steps."""

import csv
import io
import json
import math
import pathlib

import tensorflow as tf
from absl import logging

from rar_tf.evaluation import job
from rar_tf.evaluation.evaluator import Evaluator
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.experiment.callbacks import StepCallback, StepTable, passed
from rar_tf.files import atomic_write

COLUMNS = (
    "natural_accuracy",
    "adversarial_accuracy",
    "topk_intersection",
    "kendall",
    "spearman",
    "cosine",
    "fallback_rate",
)
BEST = "best.weights.h5"
# At the most, of the monitoring attack: it shows a trend, not a result.
_STEPS, _PATH_POINTS = 20, 10


class Monitor(StepCallback):
    """Attack a few held-out images; write monitor.csv, TensorBoard scalars and a panel of images and maps.

    The attack is the run's own, plain IFIA in place of the ensemble, shortened: at most 20 iterations, directions from
    at most 10 path points. Its scores flatter the network; `scripts/evaluate.py` gives those that may be quoted.

    Args:
      network: the network that is trained.
      settings: the run's evaluation settings.
      images, labels: held-out images [N, H, W, C] in the pixel range, and labels [N].
      keep_best: whether BEST holds the weights with the highest adversarial accuracy so far (early stopping against
        robust overfitting, Rice et al. 2020).
    """

    def __init__(
        self,
        folder,
        network,
        settings: EvaluationSettings,
        images,
        labels,
        every: int,
        start_step: int,
        writer: tf.summary.SummaryWriter,
        keep_best: bool = False,
    ):
        super().__init__(start_step)
        shorter = settings.replace(
            attack="ifia" if settings.attack == "auto" else settings.attack,
            steps=min(settings.steps, _STEPS),
            faithfulness=False,
            average_case=False,
            pgd_steps=min(settings.pgd_steps, _STEPS),
            attack_ig_steps=min(settings.attack_ig_steps or settings.ig_steps, _PATH_POINTS),
        )
        self.evaluator = Evaluator(network, shorter)
        self.table = StepTable(pathlib.Path(folder) / "monitor.csv")
        self.images, self.labels, self.every, self.writer = images, labels, every, writer
        self.network, self.best = network, pathlib.Path(folder) / BEST if keep_best else None

    def on_train_begin(self, logs=None):
        self.table.cut(self.start_step)

    def on_step(self, previous, step, logs):
        if passed(self.every, previous, step) or step == self.params["steps"] + self.start_step:
            self.evaluate(step)

    def evaluate(self, step: int) -> dict:
        """Evaluate now; return the summary. Where no image is classified correctly, scores are null, with a warning."""
        result = job.run(self.evaluator, self.images, self.labels)
        summary = result.summary()
        values = {name: summary[name]["mean"] if isinstance(summary[name], dict) else summary[name] for name in COLUMNS}
        if values["kendall"] is None:
            logging.warning(
                "step %d: none of the %d monitored images is classified correctly; no attribution scores",
                step,
                len(self.labels),
            )
        if self.best is not None and (values["adversarial_accuracy"] or 0.0) > best_of(self.table.path)[1]:
            with atomic_write(self.best) as temporary:
                self.network.save_weights(temporary)
        self.table.append({"step": step, **{name: json.dumps(value) for name, value in values.items()}})
        with self.writer.as_default(step=step):
            for name, value in values.items():
                if value is not None and math.isfinite(value):
                    tf.summary.scalar(f"monitor/{name}", value)
            if result.examples is not None:
                tf.summary.image("monitor/maps", _panel(result))
        return summary


def best_of(path: pathlib.Path) -> tuple[int, float]:
    """Return the first step with the highest adversarial accuracy in a monitor.csv, and that; (0, −1) without rows."""
    if not path.is_file():
        return 0, -1.0
    with open(path, newline="") as file:
        rows = [
            (int(row["step"]), float(json.loads(row["adversarial_accuracy"]) or 0.0)) for row in csv.DictReader(file)
        ]
    return max(rows, key=lambda row: row[1], default=(0, -1.0))


def _panel(result) -> tf.Tensor:
    """Inputs, perturbed inputs and both maps as one image [1, H, W, 3]."""
    picture = io.BytesIO()
    result.plot_maps().savefig(picture, format="png", dpi=80)
    return tf.image.decode_png(picture.getvalue(), channels=3)[None]
