"""Evaluation while a network trains: how accurate and how robust it is on held-out images, every so many steps."""

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

COLUMNS = (
    "natural_accuracy",
    "adversarial_accuracy",
    "topk_intersection",
    "kendall",
    "spearman",
    "cosine",
    "fallback_rate",
)
# At the most, of the monitoring attack: it shows a trend, not a result.
_STEPS, _PATH_POINTS = 20, 10


class Monitor(StepCallback):
    """Attack a few held-out images; write monitor.csv, TensorBoard scalars and a panel of images and maps.

    The attack is the run's own, shortened: at most 20 iterations, directions from at most 10 path points. Its scores
    flatter the network; `scripts/evaluate.py` gives those that may be quoted.

    Args:
      network: the network that is trained.
      settings: the run's evaluation settings.
      images, labels: held-out images [N, H, W, C] in the pixel range, and labels [N].
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
    ):
        super().__init__(start_step)
        shorter = settings.replace(
            steps=min(settings.steps, _STEPS),
            faithfulness=False,
            pgd_steps=min(settings.pgd_steps, _STEPS),
            attack_ig_steps=min(settings.attack_ig_steps or settings.ig_steps, _PATH_POINTS),
        )
        self.evaluator = Evaluator(network, shorter)
        self.table = StepTable(pathlib.Path(folder) / "monitor.csv")
        self.images, self.labels, self.every, self.writer = images, labels, every, writer

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
        self.table.append({"step": step, **{name: json.dumps(value) for name, value in values.items()}})
        with self.writer.as_default(step=step):
            for name, value in values.items():
                if value is not None and math.isfinite(value):
                    tf.summary.scalar(f"monitor/{name}", value)
            if result.examples is not None:
                tf.summary.image("monitor/maps", _panel(result))
        return summary


def _panel(result) -> tf.Tensor:
    """Inputs, perturbed inputs and both maps as one image [1, H, W, 3]."""
    picture = io.BytesIO()
    result.plot_maps().savefig(picture, format="png", dpi=80)
    return tf.image.decode_png(picture.getvalue(), channels=3)[None]
