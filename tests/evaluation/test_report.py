"""The report holds what was measured and what was printed, and its HTML needs no other file."""

import re

import numpy as np
import pytest

from rar_tf.errors import UsageError
from rar_tf.evaluation import files, report
from rar_tf.evaluation.evaluator import EvaluationSettings, Evaluator

import toys

SETTINGS = EvaluationSettings(
    bounds=(0.0, 1.0), epsilon=0.2, steps=3, step_size=0.1, ig_steps=3, k=10, metric_k=8, pgd_steps=2
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    evaluator = Evaluator(toys.network(), SETTINGS)
    images, labels = toys.digits(9)
    for method in ("natural", "mart", "igr_mart"):
        record = {**SETTINGS.record(), "dataset": "mnist", "method": method}
        files.evaluate_into(base / method / "evaluation", evaluator, images, labels, record=record)
    return [base / method for method in ("natural", "mart", "igr_mart")]


def test_pages(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "simulated_scores", lambda: [np.linspace(0, 1, 9)] * 3)
    markdown, page = report.write(report.read(folders), tmp_path)
    text = markdown.read_text()
    for picture in re.findall(r"\]\((.*?)\)", text):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert "Sarkar et al. 2021, Table 3" in text and "Wang and Kong 2022, Table 2" in text
    assert "Chen et al. 2019, Table 4" not in text  # that table is about saliency maps
    assert "With and without IGR" in text and "Activation consistency" in text
    html = page.read_text()
    sources = re.findall(r'src="(.*?)"', html)
    assert len(sources) == len(re.findall(r"\]\((.*?)\)", text)) and all(
        s.startswith("data:image/png") for s in sources
    )
    assert "http" not in html


def test_a_folder_without_an_evaluation(tmp_path):
    with pytest.raises(UsageError, match="no finished evaluation"):
        report.read([tmp_path])


def test_published_tables_are_whole():
    tables = report.published()
    names = [(table["paper"].split()[0], table["table"]) for table in tables]
    assert len({(t["paper"], t["table"]) for t in tables}) == len(tables) == 27
    assert ("Chen", "4") in names and ("Sarkar", "11") in names
    for table in tables:
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    ours = [values for table, values in report.published_rows("flower", "cacr_wacr") if table["table"] == "1"]
    assert ours[0]["kendall"] == 0.8121 and ours[0]["adversarial_accuracy"] == 0.5147


def test_simulated_scores_rise_together():
    kendall, cosine, pearson = report.simulated_scores(features=400, vectors=40)
    assert np.corrcoef(kendall, cosine)[0, 1] > 0.9 and np.corrcoef(kendall, pearson)[0, 1] > 0.9
