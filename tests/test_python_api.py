"""What users of other libraries look for in Python: arrays back, curves, tables, files, types."""

import subprocess
import sys

import numpy as np
import pytest

import rar_tf
from rar_tf import provenance, results
from rar_tf.evaluation import evaluated
from rar_tf.evaluation.evaluator import Evaluator
from rar_tf.evaluation.settings import AttackSettings
from rar_tf.objectives import METHODS

import toys
from conftest import ROOT

FEW = {"bounds": (0, 1), "steps": 3, "k": 10, "metric_k": 8, "ig_steps": 4, "pgd_steps": 2}


@pytest.fixture(scope="module")
def data():
    images, labels = toys.digits(6)
    labels = labels.copy()
    labels[2] = (labels[2] + 1) % 10  # not what the network says: not attacked
    return images, labels


@pytest.fixture(scope="module")
def evaluation(data):
    return rar_tf.evaluate(toys.network(), *data, epsilon=0.2, **FEW)


@pytest.fixture(scope="module")
def curve(data):
    return rar_tf.evaluate(toys.network(), *data, epsilons=[0.05, 0.2], **FEW)


@pytest.mark.parametrize("protocol, shape", [("rar", (6, 8, 8)), ("wk", (6, 8, 8, 1))])
def test_an_attack_gives_images_maps_and_scores_back(data, protocol, shape):
    images, labels = data
    network = toys.network()
    found = rar_tf.attack(network, images, labels, epsilon=0.2, protocol=protocol, **FEW)
    assert found.perturbed.shape == images.shape and found.maps.shape == found.perturbed_maps.shape == shape
    assert np.abs(found.perturbed - images).max() <= 0.2 + 1e-6
    assert 0 <= found.perturbed.min() and found.perturbed.max() <= 1
    assert (network(found.perturbed).numpy().argmax(1)[found.attacked] == labels[found.attacked]).all()
    np.testing.assert_array_equal(found.attacked, network(images).numpy().argmax(1) == labels)
    assert not found.attacked[2] and np.isnan(found.scores["kendall"][2])
    np.testing.assert_array_equal(found.perturbed[2], images[2])
    np.testing.assert_array_equal(found.perturbed_maps[2], found.maps[2])
    settings = AttackSettings.make({"epsilon": 0.2, "protocol": protocol, **FEW})
    np.testing.assert_allclose(found.maps, Evaluator(network, settings).maps(images, labels), rtol=1e-4, atol=1e-6)
    rows = np.flatnonzero(found.found)
    assert len(rows)
    flat = (each[rows].reshape(len(rows), -1) for each in (found.maps, found.perturbed_maps))
    # rows keep six decimals
    np.testing.assert_allclose(rar_tf.metrics.kendall(*flat), found.scores["kendall"][rows], atol=1e-6)


def test_an_attack_is_the_evaluation_s(data, evaluation):
    found = rar_tf.attack(toys.network(), *data, epsilon=0.2, **FEW)
    expected = [row.get("kendall", np.nan) for row in evaluation.rows]
    np.testing.assert_array_equal(found.scores["kendall"], expected)


def test_several_budgets_of_an_attack_are_a_list(data):
    images, labels = (each[:2] for each in data)  # all of them attacked
    small, large = rar_tf.attack(toys.network(), images, labels, epsilons=[0.05, 0.2], **FEW)
    assert small.attacked.all()
    np.testing.assert_array_equal(small.maps, large.maps)
    assert np.abs(small.perturbed - images).max() <= 0.05 + 1e-6 < np.abs(large.perturbed - images).max()


def test_several_budgets_of_an_evaluation_are_a_curve(curve, evaluation, tmp_path):
    assert curve.epsilons == [0.05, 0.2]
    assert curve.summary()[1]["kendall"] == evaluation.summary()["kendall"]
    titles = {axis.get_title() for axis in curve.plot().axes}
    assert {"Kendall", "adversarial accuracy", "natural accuracy"} <= titles
    curve.save(tmp_path / "curve")
    assert (tmp_path / "curve" / "curves.png").is_file()
    found = evaluated.read([tmp_path / "curve"])
    assert [each.name for each in found] == ["curve/epsilon=0.05", "curve/epsilon=0.2"]


@pytest.mark.parametrize("budgets", [{}, {"epsilon": 0.1, "epsilons": [0.1]}, {"epsilons": []}])
def test_no_budget_or_two_kinds_of_it(data, budgets):
    for call in (rar_tf.evaluate, rar_tf.attack):
        with pytest.raises(rar_tf.UsageError, match="epsilon"):
            call(toys.network(), *data, **budgets, **FEW)


def test_an_attack_of_nothing_is_refused(data):
    with pytest.raises(rar_tf.UsageError, match="attacks no attributions"):
        rar_tf.attack(toys.network(), *data, epsilon=0.1, attack="none", **FEW)


def test_a_saved_evaluation_is_what_the_command_writes(evaluation, tmp_path):
    folder = evaluation.save(tmp_path / "here")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"settings.json", "examples.csv", "maps.npz", "maps.png", "summary.json"}
    (read,) = evaluated.read([folder])
    assert read.rows == evaluation.rows
    assert read.summary.pop("made")["command"] == provenance.command()
    assert read.summary == results.as_json(evaluation.summary())
    evaluation.save(folder)  # its own folder
    with pytest.raises(rar_tf.UsageError, match="other settings"):
        rar_tf.evaluation.outcome.Evaluation(evaluation.rows, {**evaluation.settings, "seed": 3}).save(folder)


def test_pictures(evaluation):
    assert "ifia (ours), rar maps" in evaluation.plot().get_suptitle()
    picture = evaluation.plot_maps()
    titles = [axis.get_title() for axis in picture.axes]
    assert f"image 0: label {evaluation.rows[0]['label']},\npredicted {evaluation.rows[0]['prediction']}" in titles
    assert "ε = 0.2" in picture.get_suptitle() and provenance.made()["date"][:10] in picture.get_suptitle()
    assert "attribution" in [axis.get_ylabel() for axis in picture.axes]  # of the colour bars
    empty = rar_tf.evaluation.outcome.Evaluation([{"index": 0, "correct": 0}], evaluation.settings)
    for draw in (empty.plot, empty.plot_maps):
        with pytest.raises(rar_tf.UsageError, match="attacked"):
            draw()


def test_maps_say_where_nothing_was_found_and_signed_ones_diverge(data):
    images, maps = data[0][:2], np.array([np.arange(64.0).reshape(8, 8)] * 2)
    moved = np.stack([images[0], 1 - images[1]])
    picture = rar_tf.plot_maps(images, moved, maps, maps, np.array([1.0, 0.5]), captions=["first", "second"])
    assert picture._repr_png_().startswith(b"\x89PNG")  # what a notebook shows where nobody imported pyplot
    titles = [axis.get_title() for axis in picture.axes]
    assert "no change found\nKendall 1.00" in titles and "perturbed map\nKendall 0.50" in titles
    shown = [axis.images[0] for axis in picture.axes if axis.get_title() == "map"]
    assert {each.get_cmap().name for each in shown} == {"inferno"}
    picture = rar_tf.plot_maps(images, moved, maps - 30, maps - 30)
    shown = [axis.images[0] for axis in picture.axes if axis.get_title() == "map"]
    assert {each.get_cmap().name for each in shown} == {"RdBu_r"}
    assert all(low == -high for low, high in (each.get_clim() for each in shown))


def test_dataframes(evaluation, curve, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(rar_tf.UsageError, match=r"pip install 'rar_tf\[pandas\]'"):
        evaluation.to_dataframe()
    monkeypatch.undo()
    pytest.importorskip("pandas", reason="pandas is an extra")
    frame = evaluation.to_dataframe()
    wrong = frame["correct"] == 0  # images that are not attacked have no scores
    assert len(frame) == 6 and wrong.any() and frame["kendall"].isna().equals(wrong)
    assert set(curve.to_dataframe()["epsilon"]) == {0.05, 0.2}


def test_a_bar_on_request(data, capsys):
    images, labels = (each[:2] for each in data)
    rar_tf.evaluate(toys.network(), images, labels, epsilon=0.2, attack="none", progress=True, **FEW)
    assert "2 of 2 images" in capsys.readouterr().err
    rar_tf.certify(
        toys.network(), images, labels, method="uniform_smoothing", bounds=(0, 1), num_samples=50, progress=True
    )
    assert "2 of 2 images" in capsys.readouterr().err


def test_a_type_checker_knows_every_public_name(tmp_path):
    stub = (ROOT / "rar_tf" / "__init__.pyi").read_text()
    named = {line.split(" as ")[1] for line in stub.splitlines() if " as " in line}
    assert named == {*rar_tf.__all__, "__version__"} and {method.__name__ for method in METHODS.values()} <= named
    code = tmp_path / "user.py"
    code.write_text(
        "import numpy as np\nimport rar_tf\n"
        "def f(network, images: np.ndarray, labels: np.ndarray) -> float:\n"
        "    found = rar_tf.attack(network, images, labels, bounds=(0, 1), epsilon=0.1)\n"
        "    curve = rar_tf.evaluate(network, images, labels, bounds=(0, 1), epsilons=[0.1, 0.2])\n"
        "    reveal_type(found.perturbed)\n    reveal_type(curve)\n"
        "    rar_tf.nonsense\n    rar_tf.evaluate(network, images)\n"
        "    return rar_tf.evaluate(network, images, labels, bounds=(0, 1), epsilon=0.1).summary()['kendall']['mean']\n"
    )
    pytest.importorskip("mypy", reason="mypy is a development extra")
    line = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--check-untyped-defs"]
    said = subprocess.run([*line, str(code)], cwd=ROOT, capture_output=True, text=True, timeout=300).stdout
    assert "numpy.ndarray" in said and 'Revealed type is "rar_tf.evaluation.outcome.Curve"' in said, said
    errors = [line for line in said.splitlines() if ": error:" in line and "user.py" in line]
    assert len(errors) == 2 and "nonsense" in errors[0] and "evaluate" in errors[1], said
