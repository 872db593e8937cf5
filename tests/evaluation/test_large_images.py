"""Images of 224×224: what an evaluation writes about them does not grow with their pixels."""

import csv

import keras
import numpy as np
import pytest

from rar_tf.evaluation import job, report
from rar_tf.evaluation.evaluator import Evaluator
from rar_tf.evaluation.settings import EvaluationSettings

SHAPE = (224, 224, 3)


@pytest.mark.slow
def test_an_evaluation_and_its_report(tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.layers.Input(SHAPE),
            keras.layers.Conv2D(4, 16, strides=16, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )
    images = np.random.default_rng(0).uniform(0.2, 0.8, (2, *SHAPE)).astype(np.float32)
    labels = network(images).numpy().argmax(axis=1)
    settings = EvaluationSettings(bounds=(0.0, 1.0), epsilon=0.03, steps=2, ig_steps=3, pgd_steps=1)
    summary = job.evaluate_into(tmp_path / "evaluation", Evaluator(network, settings), images, labels)
    assert summary["num_attacked"] == 2 and -1 < summary["kendall"]["mean"] < 1
    with open(tmp_path / "evaluation" / "examples.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 3 and all(len(cell) < 4000 for row in rows for cell in row)
    assert len(rows[0]) < 200 and (tmp_path / "evaluation" / "maps.png").stat().st_size < 2**20
    monkeypatch.setattr(report.correlation, "simulated_scores", lambda: [np.linspace(0, 1, 9)] * 3)
    markdown, page = report.write(report.read([tmp_path]), tmp_path / "report")
    assert markdown.stat().st_size < 2**16 and page.stat().st_size < 4 * 2**20
