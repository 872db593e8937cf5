"""The report holds what was measured and what was printed, and its HTML needs no other file."""

import dataclasses
import io
import json
import pathlib
import re
import shutil

import matplotlib.text
import numpy as np
import pytest

from rar_tf import figures, provenance, statistics
from rar_tf.errors import UsageError
from rar_tf.evaluation import comparison, correlation, job, page, report
from rar_tf.evaluation.evaluated import Evaluated
from rar_tf.evaluation.evaluator import Evaluator
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.summary import Examples
from rar_tf.evaluation.words import attack_of

import toys

SETTINGS = EvaluationSettings(
    bounds=(0.0, 1.0), epsilon=0.2, steps=3, step_size=0.1, ig_steps=3, k=10, metric_k=8, pgd_steps=2
)
METHODS = ("natural", "mart", "igr_mart")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    evaluator = Evaluator(toys.network(), SETTINGS)
    images, labels = toys.digits(9)
    for method in METHODS:
        record = {**SETTINGS.record(), "dataset": "mnist", "method": method}
        job.evaluate_into(base / method / "evaluation", evaluator, images, labels, record=record)
    return [base / method for method in METHODS]


@pytest.fixture(autouse=True)
def fewer_vectors(monkeypatch):
    monkeypatch.setattr(correlation, "simulated_scores", lambda: [np.linspace(0, 1, 9)] * 3)


def evaluated(name="a", rows=(), training=None, settings=None, examples=None, **summary) -> Evaluated:
    """An evaluation as it is read, without files. summary: what its summary.json has besides."""
    whole = {"num_examples": len(rows), "warnings": [], "attack": "ifia", "dataset": "mnist", **summary}
    return Evaluated(name, pathlib.Path(name), whole, settings or {}, list(rows), examples, training or {})


def test_pages(folders, tmp_path):
    markdown, html_page = report.write(report.read(folders), tmp_path)
    text = markdown.read_text()
    for picture in re.findall(r"\]\((.*?)\)", text):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert "With and without IGR" in text and "Activation consistency" in text
    assert "| spearman" in text and "box_spearman" in text
    html = html_page.read_text()
    sources = re.findall(r'src="(.*?)"', html)
    assert len(sources) == len(re.findall(r"\]\((.*?)\)", text)) and all(
        s.startswith("data:image/png") for s in sources
    )
    assert "http" not in html


def test_a_folder_without_an_evaluation(tmp_path):
    with pytest.raises(UsageError, match="no finished evaluation"):
        report.read([tmp_path])


@pytest.fixture
def copy(folders, tmp_path):
    """A folder with a copy of an evaluation, and its summary."""
    folder = shutil.copytree(folders[0], tmp_path / "copy")
    return folder / "evaluation", json.loads((folder / "evaluation" / "summary.json").read_text())


def test_a_summary_without_warnings_is_reported(copy, tmp_path):
    folder, summary = copy
    del summary["warnings"]
    (folder / "summary.json").write_text(json.dumps(summary))
    assert "Warning" not in report.write(report.read([folder]), tmp_path / "page")[0].read_text()


def test_files_of_another_form(copy):
    folder, summary = copy
    (folder / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k != "bounds"}))
    with pytest.raises(UsageError, match="summary.json is not an evaluation's"):
        report.read([folder])
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "examples.csv").write_text("index,kendall\n0,0.5\n")
    with pytest.raises(UsageError, match="examples.csv is not an evaluation's"):
        report.read([folder])


@pytest.mark.parametrize("name", ["$a$", "cost$\\foo$", "5$"])
def test_pictures_of_a_name_with_dollars(name):
    values = np.array([0.1, 0.5, 0.9])
    for picture in (
        figures.box_plot({name: values}, "kendall"),
        figures.curves_figure({name: (values, values)}, "x", "y"),
        figures.grid_figure({name: np.ones((1, 4, 4, 1)), "map": np.ones((1, 4, 4))}, maps_from=1, title=name),
    ):
        picture.savefig(io.BytesIO())
        drawn = [text for text in picture.findobj(matplotlib.text.Text) if name in text.get_text()]
        assert drawn and not any(text.get_parse_math() for text in drawn)


def test_axes_still_write_powers():
    picture = figures.Figure()
    axis = picture.subplots()
    axis.set_yscale("log")
    for _ in range(2):
        picture.savefig(io.BytesIO())
        powers = [text for text in axis.yaxis.get_ticklabels() if "$" in text.get_text()]
        assert powers and all(text.get_parse_math() for text in powers)


def test_folders_of_one_name_have_different_names(folders, tmp_path):
    copies = [tmp_path / where for where in ("first", "second")]
    for copy, folder in zip(copies, folders):
        (copy / "net" / "evaluation").mkdir(parents=True)
        for file in (folder / "evaluation").iterdir():
            (copy / "net" / "evaluation" / file.name).write_bytes(file.read_bytes())
    found = report.read([copy / "net" for copy in copies])
    assert [e.name for e in found] == ["first/net", "second/net"]
    boxes = next(content for kind, content in report.build(found) if kind == "figure" and content[0] == "box_kendall")
    assert [label.get_text() for label in boxes[1].axes[0].get_xticklabels()] == ["first/net", "second/net"]


def test_a_certification_is_named(folders, tmp_path):
    folder = tmp_path / "run" / "certification"
    folder.mkdir(parents=True)
    (folder / "examples.csv").write_text("index\n0\n")
    found = {"method": "uniform_smoothing", "num_examples": 5, "num_certifiable": 4, "guarantee": "With probability …"}
    (folder / "summary.json").write_text(json.dumps(found))
    markdown, _ = report.write(report.read([folders[0], tmp_path / "run"]), tmp_path / "page")
    assert "run: uniform_smoothing, 4 of 5 images. With probability …" in markdown.read_text()
    found["results"] = [
        {"radius": 0.5, "certified": {"count": 3, "of": 4, "share": 0.75}, "bound": {"mean": 0.25, "count": 4}},
        {"radius": 1.0, "certified": {"count": 0, "of": 4, "share": 0.0}, "bound": {"count": 0, "mean": None}},
    ]
    found |= {"settings": {"dataset": "digits"}, "made": {"command": "rar_tf certify", "date": "2026-01-01"}}
    (folder / "summary.json").write_text(json.dumps(found))
    figures.bar_figure({"a": 1.0}, "bound").savefig(folder / "bounds.png")
    markdown, _ = report.write(report.read([tmp_path / "run"]), tmp_path / "whole")
    text = markdown.read_text()
    assert "dataset digits; rar_tf certify; 2026-01-01. With probability …" in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == ["radius", "0.5", "1"]
    assert lines[2:] == [["certified", "3 of 4 (75%)", "0 of 4 (0%)"], ["bound", "0.25 (4 images)", "-"]]
    assert (tmp_path / "whole" / "report_figures" / "certified_0_bounds.png").is_file()
    assert report.write(report.read([tmp_path / "run"]), tmp_path / "alone")[0].is_file()


class TestPublished:
    def test_tables_are_whole(self):
        tables = comparison.published()
        names = [(table["paper"].split()[0], table["table"]) for table in tables]
        assert len({(t["paper"], t["table"]) for t in tables}) == len(tables) == 28
        assert ("Chen", "1") in names and ("Sarkar", "11") in names
        for table in tables:
            assert all(len(row) == len(table["columns"]) for row in table["rows"])
        ours = [values for table, values in comparison.published_rows("flower", "cacr_wacr") if table["table"] == "1"]
        assert ours[0]["kendall"] == 0.8121 and ours[0]["adversarial_accuracy"] == 0.5147

    def test_adversarial_training_has_one_name(self):
        assert {
            t["table"] for t, _ in comparison.published_rows("mnist", "madry") if "Wang and Kong 2022" in t["paper"]
        } == {
            "2",
            "3",
        }
        assert not comparison.published_rows("mnist", "at")

    def test_table_1_of_chen(self):
        rows = {
            values["method"]: values
            for table, values in (
                row
                for method in ("natural", "madry", "ig_norm", "ig_sum_norm")
                for row in comparison.published_rows("gtsrb", method)
            )
            if table["paper"].startswith("Chen") and table["table"] == "1"
        }
        assert rows["ig_sum_norm"]["kendall"] == 0.7684 and rows["ig_norm"]["kendall"] is None


def compared(e):
    """{(source, value): (printed, differs)} of what stands beside the papers."""
    found = {}
    for kind, content in comparison.beside_papers([e]):
        if kind == "table":
            found |= {(row[1], row[2]): (row[3], row[7]) for row in content[1]}
    return found


def score(value):
    return {"mean": value, "median": value, "std": 0.0, "ci95": [value, value]}


class TestBesideThePapers:
    def test_rows_of_an_ablation_are_told_apart_by_the_training(self):
        e = evaluated(method="ig_norm", kendall=score(0.3), training={"ig_steps": 40, "model": "small_cnn"})
        sources = [source for source, _ in compared(e) if source.startswith("Chen")]
        assert sources == ["Chen et al. 2019, Table 3 (ig_steps 40)"]  # and not Table 1, which has m = 50

    def test_a_setting_that_is_not_recorded_matches_nothing_and_is_said(self):
        e = evaluated(method="ig_norm", protocol="rar", kendall=score(0.3))
        assert not compared(e)
        text = " ".join(content for kind, content in comparison.beside_papers([e]) if kind == "text")
        assert "Chen et al. 2019, Table 3 (ig_steps)" in text

    def test_weights_and_networks(self):
        def sources(**training):
            e = evaluated(dataset="flower", method="cacr_wacr", kendall=score(0.3), training=training)
            return {source.split(" (")[0].split()[-1] for source, _ in compared(e)}

        both = {"cacr_weight": 1.0, "wacr_weight": 1.0}
        assert sources(**both, model="resnet_1") == {"1"}
        assert sources(**both, model="wrn_28_10") == {"5"}
        assert sources(cacr_weight=1.0, wacr_weight=0.7, model="resnet_1") == {"9"}

    def test_maps_and_budgets_must_be_the_papers(self):
        def tables(**summary):
            e = evaluated(method="madry", kendall=score(0.3), adversarial_accuracy_pgd20=0.9, **summary)
            return {(source, value) for source, value in compared(e)}

        rar = tables(protocol="rar", ifia_epsilon=0.3, eval_pgd_epsilon=0.3)
        assert ("Sarkar et al. 2021, Table 3", "kendall") in rar
        assert ("Wang and Kong 2022, Table 2", "kendall") not in rar
        assert ("Wang and Kong 2022, Table 3", "adversarial accuracy pgd20") in rar
        assert ("Wang and Kong 2022, Table 2", "kendall") in tables(protocol="wk", ifia_epsilon=0.3)
        assert not tables(protocol="rar", ifia_epsilon=0.1, eval_pgd_epsilon=0.1)

    def test_pgd_with_20_steps_is_pgd20(self):
        e = evaluated(dataset="cifar10", method="trades", adversarial_accuracy=0.5, eval_pgd_steps=20)
        assert compared(e) == {("Wang and Kong 2022, Table 3", "adversarial accuracy pgd20"): ("0.5502", "")}
        other = evaluated(dataset="cifar10", method="trades", adversarial_accuracy=0.5, eval_pgd_steps=40)
        assert not compared(other)

    def test_another_attack_or_network_is_said(self):
        def differs(**summary):
            e = evaluated(method="madry", protocol="rar", kendall=score(0.3), training={"model": "tiny_cnn"}, **summary)
            return compared(e)["Sarkar et al. 2021, Table 3", "kendall"][1]

        assert (
            differs(evaluation_protocol="ours") == "attack (printed: sarkar2021), network tiny_cnn (printed: small_cnn)"
        )
        assert "attack" not in differs(evaluation_protocol="chen2019")  # the same attack, other statistics

    def test_a_figure_that_no_document_has(self):
        e = evaluated(dataset="gtsrb", method="ig_norm", kendall=score(0.3), training={"ig_steps": 50})
        assert compared(e)["Chen et al. 2019, Table 1 (ig_steps 50)", "kendall"][0] == ""

    def test_training_is_read_from_the_summary(self, folders, tmp_path):
        place = tmp_path / "run" / "evaluation"
        place.mkdir(parents=True)
        for file in (folders[0] / "evaluation").iterdir():
            (place / file.name).write_bytes(file.read_bytes())
        assert report.read([place.parent])[0].training == {}
        summary = json.loads((place / "summary.json").read_text())
        (place / "summary.json").write_text(json.dumps({**summary, "training": {"ig_steps": 40}}))
        assert report.read([place.parent])[0].training == {"ig_steps": 40}


def rows_of(scores, **more):
    return [
        {"index": i, "correct": 1, "adversarial_correct": int(s > 0.5), "kendall": s, "fallback": 0, **more}
        for i, s in enumerate(scores)
    ]


class TestPairs:
    def test_paired_differences(self):
        rng = np.random.default_rng(0)
        first = rng.random(200)
        second = first + 0.02 + 0.01 * rng.standard_normal(200)
        found = statistics.paired(first, second)
        assert found.images == 200 and found.difference == pytest.approx(np.mean(second - first))
        low, high = found.ci95
        assert 0 < low < found.difference < high < 0.025  # far narrower than the spread over images
        rows = {row[0]: row for row in self.table(rows_of(first), rows_of(second))}
        assert rows["kendall"][4] == f"{np.mean(second - first):+.4f}" and rows["kendall"][1] == 200
        assert float(rows["adversarial accuracy"][4]) == pytest.approx(
            np.mean((second > 0.5) - (first > 0.5) * 1.0), abs=1e-4
        )

    def table(self, first, second, **changes):
        shared = {"images_digest": "same", "adversarial_accuracy": 0.5}
        pair = [evaluated("a", first, **shared), evaluated("b", second, **{**shared, **changes})]
        blocks = comparison.pairs(pair)
        return next((content[1] for kind, content in blocks if kind == "table"), blocks)

    def test_images_are_matched_by_their_index(self):
        second = rows_of([0.9, 0.2, 0.4])[::-1]
        second[1] = {"index": 1, "correct": 0, "adversarial_correct": 0}  # not attacked there
        rows = {row[0]: row for row in self.table(rows_of([0.9, 0.1, 0.4]), second)}
        assert rows["kendall"][1:6] == [2, "0.6500", "0.6500", "+0.0000", "+0.0000 … +0.0000"]
        assert rows["natural accuracy"][1] == 3 and rows["natural accuracy"][4] == "-0.3333"

    def test_other_images_have_no_differences(self):
        blocks = self.table(rows_of([0.1]), rows_of([0.2]), images_digest="other")
        assert "no differences, since the images differ" in blocks[-1].content

    def test_other_settings_are_named(self):
        shared = {"images_digest": "same"}
        pair = [
            evaluated(name, rows_of([0.1]), settings={"ifia_epsilon": budget, "weights_digest": name}, **shared)
            for name, budget in (("a", 0.1), ("b", 0.3))
        ]
        text = " ".join(content for kind, content in comparison.pairs(pair) if kind == "text")
        assert "ifia_epsilon 0.3 against 0.1" in text and "weights_digest" not in text

    def test_one_network_twice_is_no_pair(self):
        pair = [evaluated(name, rows_of([0.1]), images_digest="same", weights_digest="w") for name in "ab"]
        assert comparison.pairs(pair) == []


class TestCorrelation:
    def test_scores_of_one_iterate_without_fallbacks(self):
        plain = {"kendall": 0.3, "cosine": 0.6, "pearson": 0.5}
        rows = rows_of([0.1, 0.2, 0.3, 0.4], cosine=0.2, pearson=0.1)
        for i, row in enumerate(rows):
            row.update(
                {f"plain:{name}": value + 0.01 * i for name, value in plain.items()}, **{"plain:fallback": i == 3}
            )
        scores, of = correlation.one_iterate(evaluated(rows=rows, **{"attack": "auto"}))
        np.testing.assert_allclose(scores["kendall"], [0.3, 0.31, 0.32])
        np.testing.assert_allclose(scores["cosine"], [0.6, 0.61, 0.62])
        assert of.startswith("plain IFIA's of auto")

    def test_an_attack_of_its_own_gives_its_own_scores(self):
        rows = rows_of([0.1, 0.2, 1.0], cosine=0.2, pearson=0.1)
        rows[2]["fallback"] = 1
        scores, _ = correlation.one_iterate(evaluated(rows=rows))
        np.testing.assert_allclose(scores["kendall"], [0.1, 0.2])

    def test_simulated_scores_rise_together(self, monkeypatch):
        monkeypatch.undo()
        kendall, cosine, pearson = correlation.simulated_scores(features=400, vectors=40)
        assert np.corrcoef(kendall, cosine)[0, 1] > 0.9 and np.corrcoef(kendall, pearson)[0, 1] > 0.9
        defaults = correlation.simulated_scores.__defaults__
        assert defaults[:2] == (10_000, 1000)  # the paper's

    def examples(self, distances, indices):
        """Maps [2, 2] that have moved by so much of their ℓ1 norm, by other images."""
        count = len(distances)
        maps = np.tile([[1.0, 0.0], [0.5, 0.5]], (count, 1, 1))
        images = np.arange(count * 4.0).reshape(count, 2, 2, 1) / (4 * count)
        moved = maps + np.array(distances)[:, None, None] * 2 * np.array([[0.0, 1.0], [0.0, 0.0]])
        return Examples(np.array(indices), images, images + 0.1, maps, moved, np.zeros(count))

    def test_images_at_the_same_distance_are_images(self):
        e = evaluated(examples=self.examples([0.2, 0.7, 0.71, 0.1, 0.72], range(5)), bounds=[0, 1])
        three = correlation.same_distance([e])
        assert [each.number for each in three] == [1, 2, 4]
        np.testing.assert_allclose([each.distance for each in three], [0.7, 0.71, 0.72])
        assert all((each.perturbed == each.image + 0.1).all() for each in three)

    def test_one_image_attacked_in_three_ways_comes_first(self):
        several = [
            evaluated(name, examples=self.examples([distance, 0.1], [3, index]), bounds=[0, 1], weights_digest="w")
            for index, (name, distance) in enumerate((("a", 0.5), ("b", 0.52), ("c", 0.54)))
        ]
        three = correlation.same_distance(several)
        assert [each.number for each in three] == [3, 3, 3] and len(three) == 3
        (block,) = correlation._same_distance_blocks(several)
        assert "one image" in block.content[2] and len(block.content[1].axes) == 2 * 4


def test_every_table_says_its_attack():
    rows = rows_of([0.1, 0.2], **{"kendall:plain": 0.3})
    members = {"plain": {"kendall": 0.3, "lowest_on": 1.0}}
    e = evaluated(
        rows=rows,
        **{"attack": "auto", "evaluation_protocol": "ours", "protocol": "wk", "ifia_epsilon": 0.1, "ifia_steps": 50},
        method="madry",
        members=members,
        natural_accuracy=1.0,
        kendall=score(0.3),
        activation_consistency=0.5,
    )
    assert attack_of(e.summary) == "auto (ours), wk maps, ε = 0.1, 50 steps"
    for blocks in (report._measured([e]), report._members([e]), report._activity([e])):
        header, lines = next(content for kind, content in blocks if kind == "table")
        assert lines[0][header.index("attack")] == attack_of(e.summary)


def test_runs_of_different_budgets_are_not_one_table():
    def run(name, budget, **more):
        summary = {"ifia_epsilon": budget, "natural_accuracy": 1.0, "kendall": score(0.3), **more}
        return evaluated(name, **summary)

    blocks = report._measured([run("a", 0.1), run("b", 0.2), run("c", 0.1), run("d", 0.1, eval_pgd_epsilon=0.3)])
    tables = [content for kind, content in blocks if kind == "table"]
    assert [[line[0] for line in lines] for _, lines in tables] == [["a", "c"], ["b"], ["d"]]
    assert any(kind == "text" and "ε = 0.2" in content for kind, content in blocks)
    boxes = [content for kind, content in report._boxes([run("a", 0.1), run("b", 0.2)]) if kind == "figure"]
    assert len({name for name, _, _ in boxes}) == 2 * len(report.BOXES)


def test_the_report_says_what_was_evaluated_and_how(folders):
    (block,) = [block for block in report._made(report.read(folders[:1])) if block.kind == "table"]
    row = dict(zip(block.content[0], block.content[1][0]))
    assert row["data"] == "mnist" and row["network"] == "natural" and row["attribution"] == "integrated_gradients"
    assert row["attack on maps"].endswith("ε = 0.2, 3 steps")
    assert row["attack on predictions"] == "pgd, 2 steps"  # its record leaves the budget open
    assert row["command"] == provenance.command() and "TensorFlow" in row["versions"]


def test_tables_do_not_widen_the_page(folders, tmp_path):
    _, html_page = report.write(report.read(folders[:1]), tmp_path)
    text = html_page.read_text()
    assert text.count("<table>") == text.count('<div class="table"><table>') > 0
    assert "width=device-width" in text and ".table{overflow-x:auto" in text


def test_what_is_attainable_stands_beside_a_score():
    e = evaluated(natural_accuracy=1.0, kendall={**score(0.3), "attainable": 0.75}, accuracy_examples=7)
    header, lines = next(content for kind, content in report._measured([e]) if kind == "table")
    row = dict(zip(header, lines[0]))
    assert row["kendall"] == "0.3000 [0.3000, 0.3000]; median 0.3000; attainable 0.7500" and row["images"] == "0 / 7"


def test_accuracies_alone():
    """An evaluation without an attack on maps has its accuracies on the page, every one that was measured."""
    rows = [{"index": 0, "correct": 1, "adversarial_correct:fgsm": 1}]
    e = evaluated(rows=rows, natural_accuracy=1.0, adversarial_accuracy=None, adversarial_accuracy_fgsm=0.25)
    e = dataclasses.replace(e, summary={**e.summary, "attack": "none"})
    blocks = report.build([e])
    header, lines = next(content for kind, content in blocks if kind == "table")
    assert dict(zip(header, lines[0]))["adversarial accuracy fgsm"] == "0.2500"
    assert page.markdown_table(header, lines).count("\n") == 3
