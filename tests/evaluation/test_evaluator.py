"""Evaluations: what a row and a summary hold, and that files can be continued, refused, repaired and merged."""

import functools
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import metrics, models, results
from rar_tf.attacks.ifia import Kept
from rar_tf.attacks.pgd import fgsm
from rar_tf.errors import UsageError
from rar_tf.evaluation import job as evaluation
from rar_tf.evaluation import job as files
from rar_tf.evaluation import measurements, outcome, summary
from rar_tf.evaluation.evaluator import Evaluator
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.models.stem import InputStem
from rar_tf.models.surrogate import softplus_surrogate

import toys

SETTINGS = {
    "bounds": (0.0, 1.0),
    "epsilon": 0.2,
    "steps": 3,
    "step_size": 0.1,
    "ig_steps": 3,
    "k": 10,
    "metric_k": 8,
    "pgd_steps": 2,
}
CONTRACT = ("topk_intersection", "kendall", "spearman", "cosine", "kendall_support")


@pytest.fixture(scope="module")
def data():
    images, labels = toys.digits(13)
    labels = labels.copy()
    labels[4] = (labels[4] + 1) % 10  # one that is not classified correctly
    return images, labels


@pytest.fixture(scope="module")
def evaluator():
    return Evaluator(toys.network(), EvaluationSettings(prediction_attacks=("pgd", "fgsm", "cw"), **SETTINGS))


@pytest.fixture(scope="module")
def evaluated(evaluator, data):
    return evaluation.run(evaluator, *data, batch_size=5)


def never_beside_the_image(monkeypatch):
    """Leave the first step of an attack from the image itself to its gradient, even where there is none."""
    monkeypatch.setattr(measurements, "topk_holds_all", lambda maps, k: np.zeros(len(maps), bool))


def test_images_that_an_attack_cannot_move_cost_one_gradient(data, monkeypatch):
    never_beside_the_image(monkeypatch)
    chosen = EvaluationSettings.make({**SETTINGS, "k": 30, "evaluation_protocol": "chen2019"})
    evaluator = Evaluator(toys.network(), chosen)
    attack = evaluator.measurements[1]
    searched = []
    restarts = attack._restarts
    monkeypatch.setattr(attack, "_restarts", lambda index, *rest: searched.append(index) or restarts(index, *rest))
    short = evaluation.run(evaluator, *data)
    monkeypatch.setattr(attack, "_moving", lambda clean, frozen: np.ones(len(clean[0]), bool))
    whole = evaluation.run(evaluator, *data)
    moved, _, everything, _ = searched
    assert 0 < len(moved) < len(everything)
    for row, full in zip(short.rows, whole.rows):
        if row["index"] in everything:
            assert row["fallback"] == full["fallback"] and row["kendall"] == pytest.approx(full["kendall"], abs=1e-5)
            assert row["index"] in moved or (full["fallback"] == 1 and full["kendall"] == 1)


def test_summary_holds_what_the_contract_says(evaluated, data):
    summary = json.loads(json.dumps(evaluated.summary()))
    correct = np.argmax(toys.network()(data[0]), 1) == data[1]
    assert summary["natural_accuracy"] == pytest.approx(correct.mean())
    assert summary["num_examples"] == 13 and summary["num_attacked"] == correct.sum()
    assert 0 <= summary["adversarial_accuracy_cw"] <= summary["natural_accuracy"]
    assert summary["adversarial_accuracy"] <= summary["natural_accuracy"]
    for name in CONTRACT:
        low, high = summary[name]["ci95"]
        assert low <= summary[name]["mean"] <= high and {"median", "std"} <= set(summary[name])
    assert 0 <= summary["fallback_rate"] <= 1 and summary["epsilon"] == 0.2 and summary["seed"] == 0
    assert 0 < summary["activation_consistency"] <= 1


def test_summary_says_what_stands_after_each_member_of_a_prediction_attack():
    column = "adversarial_correct:autoattack"
    stands = [(0, 0, 0), (1, 0, 0), (1, 1, 1), (1, 1, 0)]
    rows = [
        {"correct": 0, column: each[2], **{f"{column}:{m}": v for m, v in zip(("a", "b", "c"), each)}}
        for each in stands
    ]
    found = summary.summarize(rows, {"prediction_attacks": ["autoattack"]})
    assert found["adversarial_accuracy_autoattack"] == 0.25
    assert found["autoattack"] == {"standing_after": {"a": 0.75, "b": 0.5, "c": 0.25}}


def test_rows_are_in_file_order_and_only_correct_images_are_attacked(evaluated, data):
    assert [row["index"] for row in evaluated.rows] == list(range(13))
    assert not evaluated.rows[4]["correct"] and "kendall" not in evaluated.rows[4]
    assert evaluated.rows[4]["adversarial_correct"] == 0
    assert all("kendall" in row for row in evaluated.rows if row["correct"])


def test_fallbacks_score_one():
    images, labels = toys.digits(4)
    constant = tf.constant(0.0)

    def network(x, training=False):  # logits that do not depend on the image: maps are zero and nothing moves
        return tf.one_hot(tf.constant(labels)[: tf.shape(x)[0]], 10) + constant * tf.reduce_sum(x)

    summary = evaluation.evaluate(network, images[:1], labels[:1], **SETTINGS).summary()
    # Zero maps agree on no order (Kendall 0), so the attack is said to have succeeded; the warning says why not to
    # trust it.
    assert summary["gradient_vanished"] == 1
    assert any("no gradient" in warning for warning in summary["warnings"])


def test_maps_that_are_rounding_in_part_are_told():
    """A network that sees the upper half alone: below, attacked maps are next to nothing."""
    images, labels = toys.digits(4)
    weights = np.random.default_rng(0).normal(size=(64, 10))
    weights[32:] = 0
    labels = np.argmax(images.reshape(4, 64) @ weights, axis=1)
    for floor, told in ((1e-9, True), (1e-2, False)):
        seen = weights + floor * np.random.default_rng(1).normal(size=weights.shape)
        half = Evaluator(toys.Linear(seen), EvaluationSettings(**SETTINGS))
        found = evaluation.run(half, images, labels, batch_size=4)
        summary = found.summary()
        below = np.mean(np.abs(found.examples.perturbed.reshape(-1, 64)[:, 32:]) > 0) / 2
        assert summary["unresolved"] == pytest.approx(below if told else 0, abs=1e-6) and below > 0.2
        assert any("float32's rounding" in warning for warning in summary["warnings"]) == told


@pytest.mark.parametrize("nudged", [True, False])
def test_an_attack_begins_beside_an_image_whose_whole_map_the_top_k_hold(nudged, monkeypatch):
    if not nudged:
        never_beside_the_image(monkeypatch)
    images, _ = toys.digits(8)
    labels = toys.network()(images).numpy().argmax(1)
    given = {**SETTINGS, "epsilon": 0.02, "step_size": 0.005, "start": "image", "k": 64}  # of 64 features
    rows = evaluation.evaluate(toys.network(), images, labels, **given).rows
    assert all(row["kendall"] < 1 for row in rows) == nudged  # without, rounding says which of them move


def test_probabilities_are_warned_about():
    (images, labels), network = toys.digits(3), toys.network()
    found = evaluation.evaluate(lambda x, training=False: tf.nn.softmax(network(x)), images, labels, **SETTINGS)
    assert any("probabilities" in warning for warning in found.warnings)
    assert any("network itself" in warning for warning in found.warnings)  # it cannot be cloned


def test_a_surrogate_can_be_given(data):
    few = (data[0][:3], data[1][:3])
    given = evaluation.evaluate(toys.network(), *few, surrogate=softplus_surrogate(toys.network(), 1.0), **SETTINGS)
    assert given.warnings == [] and len(given.rows) == 3


def test_directions_can_come_from_another_network(data):
    images, labels = data[0][:3], data[1][:3]
    layers = [keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer=keras.initializers.Orthogonal(seed=0))]
    other = keras.Sequential([keras.layers.Input((8, 8, 1)), *layers])
    own, same, transferred = (
        evaluation.evaluate(toys.network(), images, labels, surrogate=given, **SETTINGS)
        for given in (None, toys.network(), other)
    )
    assert same.rows == own.rows
    assert transferred.rows != own.rows
    # A linear network's maps have nowhere to go: its directions find less.
    assert transferred.summary()["kendall"]["mean"] > own.summary()["kendall"]["mean"]
    digests = [found.summary().get("surrogate_weights_digest") for found in (own, same, transferred)]
    assert digests[:2] == [None, None] and digests[2] is not None


def test_prediction_attacks_see_out_of_the_dead_zone_of_a_stem():
    """Pixel 0 speaks for class 0; pixel 1 is dark, and would speak for class 1 louder once out of the dead zone."""
    network = keras.Sequential(
        [
            keras.layers.Input((1, 2, 1)),
            InputStem(0.1),
            keras.layers.Flatten(),
            keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(np.diag([1.0, 3.0]))),
        ]
    )
    images, labels = np.float32([0.5, 0.05]).reshape(1, 1, 2, 1), np.array([0])
    settings = {"bounds": (0, 1), "epsilon": 0.2, "attack": "none", "prediction_attacks": ("fgsm",)}
    found = evaluation.evaluate(network, images, labels, **settings)
    assert found.summary()["adversarial_accuracy_fgsm"] == 0
    alone = fgsm(network, tf.constant(images), tf.constant(labels), epsilon=0.2, bounds=(0.0, 1.0))
    assert np.argmax(network(alone)) == 0  # its own gradient leaves pixel 1 where it is
    model = rar_tf.Madry(network, epsilon=0.2, steps=5, step_size=0.2, bounds=(0, 1))
    model.compile("adam")
    assert model.evaluate(images, labels, verbose=0, return_dict=True)["adversarial_accuracy"] == 0


@pytest.mark.parametrize("ball,epsilon,hidden", [("linf", 0.1, True), ("linf", 0.101, False), ("l2", 0.1, True)])
def test_kendall_behind_a_stem_is_warned_of_where_the_budget_ends_within_it(ball, epsilon, hidden):
    network = models.build("tiny_cnn", (8, 8, 1), 10, stem="dark", stem_epsilon=0.1)
    evaluator = Evaluator(network, EvaluationSettings(**{**SETTINGS, "epsilon": epsilon, "ball": ball}))
    assert any("hides the background" in warning for warning in evaluator.subject.warnings) == hidden


def test_a_network_agrees_with_its_own_maps(data):
    found = evaluation.evaluate(toys.network(), *data, reference_network=toys.network(), **SETTINGS)
    assert found.summary()["reference_spearman"]["mean"] == pytest.approx(1, abs=1e-6)


def test_nothing_correct_gives_nulls(evaluator, data):
    images, labels = data
    wrong = (np.argmax(toys.network()(images), 1) + 1) % 10
    summary = evaluation.run(evaluator, images, wrong, batch_size=5).summary()
    assert summary["natural_accuracy"] == 0 and summary["kendall"]["mean"] is None and summary["warnings"]
    json.dumps(summary)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"k": 65}, "1 … 64"),
        ({"metric_k": 0}, "at least 1"),
        ({"attack": "x"}, "unknown attack"),
        ({"epsilon": 0}, "epsilon"),
        ({"steps": 0}, "steps"),
        ({"attribution": "x"}, "unknown attribution"),
        ({"nonsense": 1}, "nonsense"),
        ({"prediction_attacks": ("x",)}, "unknown prediction_attacks"),
        ({"bounds": (0.0, 0.5)}, "pixel range"),
        ({"ball": "l2", "reference": True}, "ball linf, not l2"),
        ({"prediction_attacks": ("pgd_l2", "pgd"), "pgd_epsilon": 1.5}, "as large as the pixel range"),
        ({"prediction_attacks": ("fgsm",), "pgd_epsilon": 1.5, "ball": "l2"}, "as large as the pixel range"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"num_examples": -1}, "num_examples must not be negative"),
    ],
)
def test_settings_that_cannot_be(data, changes, words):
    with pytest.raises(UsageError, match=words):
        evaluation.evaluate(toys.network(), *data, **{**SETTINGS, **changes})


def test_l2_budgets_may_be_longer_than_the_pixel_range():
    for attacks in ((), ("pgd",), ("pgd_l2",), ("autoattack_l2",)):
        settings = {**SETTINGS, "prediction_attacks": attacks, "ball": "l2", "epsilon": 1.5}
        EvaluationSettings(**settings).resolved().check_images((8, 8, 1))


def test_predictions_and_maps_are_attacked_in_one_ball(data):
    settings = {**SETTINGS, "faithfulness": False, "average_case": False, "epsilon": 0.6, "ball": "l2"}
    found = evaluation.evaluate(toys.network(), *data, prediction_attacks=("pgd", "pgd_l2", "pgd20"), **settings)
    shares = [found.summary()[f"adversarial_accuracy{name}"] for name in ("", "_pgd_l2", "_pgd20")]
    assert shares[0] == shares[1] > shares[2]
    given = {"constraint": "l2", "epsilon": 0.6}
    assert EvaluationSettings.of(given).ball == "l2"
    assert EvaluationSettings.of({**given, "ifia_ball": "linf"}).ball == "linf"
    assert EvaluationSettings.of({**given, "evaluation_protocol": "chen2019"}).ball == "linf"
    assert EvaluationSettings.of({**given, "constraint": "wasserstein"}).ball == "linf"
    assert EvaluationSettings.of({"ifia_target": "wasserstein"}).target == "wasserstein"  # a file of that name


def test_labels_in_a_column_and_images_that_are_no_array(data):
    images, labels = data
    column = evaluation.EvaluationJob(compiled(), images, labels[:, None])
    np.testing.assert_array_equal(column.labels, labels)
    assert column.record == evaluation.EvaluationJob(compiled(), images, labels).record
    for wrong in (tf.data.Dataset.range(3), ["a", "b"]):
        with pytest.raises(UsageError, match="images must be"):
            evaluation.attack(toys.network(), wrong, labels, bounds=(0, 1), epsilon=0.1)


def test_a_fallback_scores_one_in_every_metric():
    maps = np.tile(np.array([[3.0, 2.0, 1.0] + 61 * [0.0]], np.float32), (2, 1))
    kept = Kept(None, maps, np.array([1.0, 0.5]), None, None)
    attack = types.SimpleNamespace(epsilon=0.1, bounds=(0.0, 1.0), settled=(), track=())
    scores = summary.kept_scores(attack, np.zeros((2, 8, 8, 1), np.float32), maps, kept, 3)
    assert {name: values[0] for name, values in scores.items()} == dict.fromkeys(summary.SCORES, 1.0)
    assert scores["kendall_a"][1] < 0.2  # tied values agree on no order


def test_images_that_do_not_fit_the_network():
    with pytest.raises(UsageError, match="takes images of shape \\(8, 8, 1\\)"):
        evaluation.evaluate(toys.network(), np.zeros((2, 9, 9, 1), np.float32), np.zeros(2, np.int64), **SETTINGS)


# Files.


@functools.cache
def compiled(**changes):
    return Evaluator(toys.network(), EvaluationSettings(**{**SETTINGS, **changes}))


def into(folder, data, **changes):
    return files.evaluate_into(folder, compiled(**changes), *data, batch_size=5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("whole") / "evaluation"
    into(folder, data)
    return folder


def test_files(whole):
    assert {p.name for p in whole.iterdir()} == {
        ".rar_tf",
        "settings.json",
        "examples.csv",
        "runs.json",
        "summary.json",
        "maps.npz",
        "maps.png",
    }
    rows, complete = outcome.read_rows(whole / "examples.csv")
    assert complete and len(rows) == 13
    summary = results.read_json(whole / "summary.json")
    assert summary["kendall"]["mean"] == pytest.approx(np.mean([row["kendall"] for row in rows if row["correct"]]))


@pytest.mark.parametrize("kept_bytes", [0.3, 0.72, 0.995])
def test_an_interrupted_evaluation_ends_as_an_uninterrupted_one(whole, data, tmp_path, kept_bytes):
    for name in ("settings.json", "maps.npz"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    text = (whole / "examples.csv").read_bytes()
    (tmp_path / "examples.csv").write_bytes(text[: int(kept_bytes * len(text))])  # mostly in the middle of a row
    into(tmp_path, data)
    assert (tmp_path / "examples.csv").read_bytes() == text
    old, new = (results.read_json(folder / "summary.json") for folder in (whole, tmp_path))
    assert {**old, "seconds": 0, "made": 0} == {**new, "seconds": 0, "made": 0}


def test_a_finished_evaluation_is_not_made_again(whole, data, monkeypatch):
    monkeypatch.setattr(Evaluator, "evaluate_group", lambda *_: pytest.fail("made again"))
    into(whole, data)


def test_other_settings_images_or_weights_are_refused(whole, data):
    before = (whole / "examples.csv").read_bytes()
    with pytest.raises(UsageError, match="steps was 3, now 4"):
        into(whole, data, steps=4)
    with pytest.raises(UsageError, match="images_digest"):
        into(whole, (data[0][:12], data[1][:12]))
    assert (whole / "examples.csv").read_bytes() == before


def test_a_network_that_computes_something_else_with_the_same_weights_is_refused(data, tmp_path):
    """The same one, built or read anew, goes on, whatever the names of its layers are."""

    def made(activation):
        images = keras.Input((8, 8, 1))
        hidden = keras.layers.Dense(6, activation)(keras.layers.Flatten()(images))
        network = keras.Model(images, keras.layers.Dense(10, kernel_initializer=keras.initializers.HeNormal(3))(hidden))
        network.set_weights([np.full(w.shape, 0.01 * (i + 1), np.float32) for i, w in enumerate(network.get_weights())])
        return network

    def function(weights):
        return lambda x, training=False: tf.reshape(x, [-1, 64]) @ weights

    images, labels = data
    first, same, other = (results.architecture(made(kind), labels) for kind in ("softplus", "softplus", "silu"))
    assert first == same != other
    network = made("softplus")
    network.save(tmp_path / "network.keras")
    assert results.architecture(keras.models.load_model(tmp_path / "network.keras"), labels) == first
    weights = np.random.default_rng(0).normal(size=(2, 64, 10)).astype(np.float32)
    settings = EvaluationSettings(**{**SETTINGS, "faithfulness": False, "average_case": False, "steps": 1})
    for each in weights[:1], weights[:1]:
        files.evaluate_into(tmp_path / "f", Evaluator(function(each[0]), settings), images[:2], labels[:2])
    with pytest.raises(UsageError, match="architecture_digest"):
        files.evaluate_into(tmp_path / "f", Evaluator(function(-weights[1]), settings), images[:2], labels[:2])


def test_a_damaged_row_in_the_middle_is_an_error(whole, data, tmp_path):
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    lines = (whole / "examples.csv").read_text().split("\n")
    (tmp_path / "examples.csv").write_text("\n".join([*lines[:3], "1,2,3", *lines[4:]]))
    with pytest.raises(UsageError, match=":4: a row of 3"):
        into(tmp_path, data)


def test_shards_merge_into_the_whole(whole, data, tmp_path):
    for number in range(2):
        last = files.evaluate_into(tmp_path, compiled(), *data, batch_size=5, shard=f"{number}/2")
        if number == 0:
            with pytest.raises(UsageError, match="shard-1-of-2 is missing"):
                files.merge(tmp_path)
    merged = files.merge(tmp_path)
    assert {**merged, "made": 0} == {**last, "made": 0}
    assert {path.name for path in whole.iterdir()} < {path.name for path in tmp_path.iterdir()}
    rows = [outcome.read_rows(folder / "examples.csv")[0] for folder in (tmp_path, whole)]
    assert [row["index"] for row in rows[0]] == list(range(13))
    for a, b in zip(*rows):  # other batches round otherwise
        assert a["correct"] == b["correct"] and a.get("kendall", 0) == pytest.approx(b.get("kendall", 0), abs=0.1)
    assert merged["num_examples"] == 13


def test_the_compiled_attack_follows_the_weights(data):
    """A monitor keeps one evaluator while the network trains."""
    import keras

    network = keras.models.clone_model(toys.network())
    network.set_weights(toys.network().get_weights())
    evaluator = Evaluator(network, EvaluationSettings(**SETTINGS))
    before = evaluation.run(evaluator, *data).rows[0]
    network.set_weights([w + 0.05 * np.sin(np.arange(w.size)).reshape(w.shape) for w in network.get_weights()])
    fresh = evaluation.run(Evaluator(network, EvaluationSettings(**SETTINGS)), *data).rows[0]
    after = evaluation.run(evaluator, *data).rows[0]
    assert after["kendall"] == pytest.approx(fresh["kendall"], abs=1e-3) and after["kendall"] != before["kendall"]


def test_statistics():
    found = summary.statistics(np.array([0.0, 0.5, 1.0, 0.9]))
    assert found["mean"] == 0.6 and found["median"] == 0.7
    assert found["ci95"] == list(metrics.bootstrap_interval(np.array([0.0, 0.5, 1.0, 0.9])))
    assert found["median_ci95"] == [0, 1]
