"""Certifications as files: rows, summaries, going on after a stop, parts, and mistakes."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import rar_tf
from rar_tf import export, models
from rar_tf.certification import CERTIFICATES, plots, run
from rar_tf.certification.field import attribution_field
from rar_tf.certification.lipschitz import gradient_bound
from rar_tf.errors import UsageError

COUNT = 4


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(3),
        ]
    )


@pytest.fixture(scope="module")
def data(network):
    images = np.random.default_rng(0).random((COUNT, 6, 6, 1)).astype(np.float32)
    labels = network(images).numpy().argmax(1)
    labels[2] = (labels[2] + 1) % 3  # one image that the network gets wrong
    return images, labels


def settings(method, **changes):
    """What flags give, and the method."""
    return {
        "method": method,
        "num_samples": 400,
        "sample_batch": 100,
        "certify_ig_steps": 3,
        "epsilon": 0.02,
        "threshold": [0.8, 0.9],
        "radius": [0.5, 1.0],
        "certificate_attack_restarts": 3,
        "ifia_metric_k": 5,
        "budgets": ["l2:0.1", "linf:0.01"],
        **changes,
    }


def record_of(settings):
    Settings = run.certificate_of(settings["method"]).Settings
    return Settings.of(settings, bounds=(0, 1), image_shape=(6, 6, 1))


def certify(network, images, labels, settings, folder, **given):
    method = settings["method"]
    return run.certify_into(folder, network, images, labels, method=method, settings=record_of(settings), **given)


def rows_of(folder):
    with open(folder / "examples.csv", newline="") as file:
        return list(csv.DictReader(file))


def without_time(rows):
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


@pytest.mark.parametrize("attribution", ["saliency", pytest.param("integrated_gradients", marks=pytest.mark.slow)])
def test_uniform_smoothing_leaves_rows_a_summary_and_plots(network, data, tmp_path, attribution):
    summary = certify(
        network,
        *data,
        settings(
            "uniform_smoothing",
            attribution=attribution,
            certificate_attack=1,
            largest_radius=4.0,
            interval="concentration",
        ),
        tmp_path,
    )
    rows = rows_of(tmp_path)
    assert len(rows) == 2 * COUNT
    assert [row["certified_cosine"] for row in rows if row["index"] == "2"] == ["", ""]
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["formula"] == "sound" and "is stated and wrong is at most 0.01" in summary["guarantee"]
    assert (summary["num_examples"], summary["num_certifiable"]) == (COUNT, COUNT - 1)
    for entry, radius in zip(summary["results"], (0.5, 1.0)):
        assert entry["radius"] == radius
        cosines = [float(row["certified_cosine"] or "nan") for row in rows if row["radius"] == str(radius)]
        assert entry["certified"]["count"] == sum(cosine >= 0.8 for cosine in cosines)  # the lowest threshold
        assert entry["largest_epsilon_0.9"]["mean"] < entry["largest_epsilon_0.8"]["mean"]
        assert entry["violation"] == {"count": 0, "of": 1, "share": 0.0}
    assert summary["results"][0]["smallest_radius_0.8"]["count"] > 0
    for name in ("certified_cosine.png", "largest_epsilon.png", "attack.png", "maps.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_upper_bound_leaves_rows_a_summary_and_plots(network, data, tmp_path):
    summary = certify(network, *data, settings("upper_bound", certificate_attack=2), tmp_path)
    rows = [row for row in rows_of(tmp_path) if row["bound"]]
    assert len(rows) == 2 * (COUNT - 1)
    for row in rows:
        if row["constrained_estimate"]:  # none where the softplus network's label is another one
            assert 0 < float(row["constrained_estimate"]) <= float(row["bound"]) * (1 + 1e-5)
        if row["ball"] == "l2":
            assert float(row["bound"]) == pytest.approx(0.1 * float(row["xi"]))
            assert float(row["corrected_bound"]) >= float(row["bound"])
        else:
            assert float(row["bound"]) <= 0.01 * 6 * float(row["xi"]) * (1 + 1e-9)
    assert any(row["constrained_estimate"] for row in rows)
    assert sum(bool(row["observed"]) for row in rows) == 4
    assert summary["results"][0]["exceeded"]["of"] == 2
    assert "linear model" in summary["guarantee"] and "Max-pooling is left" not in summary["guarantee"]
    assert all(0.5 < float(row["network_cosine"]) < 1 for row in rows)
    smooth = keras.Sequential(
        [layers.Input((6, 6, 1)), layers.Flatten(), layers.Dense(4, activation="tanh"), layers.Dense(3)]
    )
    assert (
        "of the network. Where" in CERTIFICATES["upper_bound"](smooth, record_of(settings("upper_bound"))).guarantee()
    )
    for name in ("observed.png", "differences.png", "jacobian.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "activation, pooling, said",
    [
        ("softplus", "average", "(a smooth input stem), not"),
        ("relu", "max", "(a smooth input stem, softplus for rectifiers, a smooth maximum for max-pooling, inverse"),
    ],
)
def test_a_bound_says_what_was_made_smooth(activation, pooling, said):
    network = models.build(
        "tiny_cnn", (12, 12, 1), 3, activation=activation, pooling=pooling, stem="dark", stem_epsilon=0.1
    )
    assert said in CERTIFICATES["upper_bound"](network, record_of(settings("upper_bound"))).guarantee()


def test_bounds_hold_to_first_order_where_max_pooling_is_made_smooth(tmp_path):
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(3),
        ]
    )
    images = np.random.default_rng(0).random((6, 6, 6, 1)).astype(np.float32)
    labels = network(images).numpy().argmax(1)
    excess = {}
    for smooth in (False, True):
        chosen = settings(
            "upper_bound", certificate_attack=6, certify_smooth_pooling=smooth, budgets=["l2:0.1", "l2:0.01"]
        )
        summary = certify(network, images, labels, chosen, tmp_path / str(smooth))
        assert ("Max-pooling is left" in summary["guarantee"]) != smooth
        assert ("a smooth maximum for max-pooling" in summary["guarantee"]) == smooth
        rows = rows_of(tmp_path / str(smooth))
        excess[smooth] = [
            max(float(row["observed"]) / float(row["bound"]) for row in part) for part in (rows[::2], rows[1::2])
        ]
    # A smooth network departs from its linear model by less and less; one that jumps does not.
    assert excess[True][0] < 1.1 and excess[True][1] < 1.005
    assert min(excess[False]) > 2


def test_center_smoothing_leaves_rows(network, data, tmp_path):
    changed = settings("center_smoothing", num_samples=2000)
    summary = certify(network, *data, changed, tmp_path)
    assert summary["results"][0]["abstained"]["of"] == COUNT - 1
    assert (tmp_path / "bounds.png").is_file()


def test_stopped_run_goes_on_and_ends_with_the_same_rows(network, data, tmp_path):
    chosen = settings("uniform_smoothing", attribution="saliency", certificate_attack=2)
    certify(network, *data, chosen, tmp_path / "whole")

    class Stop(Exception):
        pass

    seen = []

    def stop_after_three(done):
        seen.append(done)
        if len(seen) == 3:
            raise Stop

    with pytest.raises(Stop):
        certify(network, *data, chosen, tmp_path / "stopped", progress=stop_after_three)
    assert not (tmp_path / "stopped" / "summary.json").exists()
    # The last row is torn, as a kill in the middle of a write leaves it.
    path = tmp_path / "stopped" / "examples.csv"
    path.write_text(path.read_text() + "3,1,")
    again = []
    certify(network, *data, chosen, tmp_path / "stopped", progress=again.append)
    assert again == [3, 1]
    assert without_time(rows_of(tmp_path / "stopped")) == without_time(rows_of(tmp_path / "whole"))


def test_parts_make_the_whole(network, data, tmp_path):
    chosen = settings("uniform_smoothing")
    whole = certify(network, *data, chosen, tmp_path / "whole")
    for shard in ("1/2", "0/2"):
        parts = certify(network, *data, chosen, tmp_path / "parts", shard=shard)
    assert without_time(rows_of(tmp_path / "parts")) == without_time(rows_of(tmp_path / "whole"))
    assert parts["results"][0]["certified_cosine"] == whole["results"][0]["certified_cosine"]


@pytest.mark.parametrize("method", ["upper_bound", pytest.param("uniform_smoothing", marks=pytest.mark.slow)])
def test_parts_attack_what_the_whole_attacks(network, data, tmp_path, method):
    chosen = settings(method, attribution="saliency", certificate_attack=2)
    certify(network, *data, chosen, tmp_path / "whole")
    for shard in ("2/3", "0/3", "1/3"):  # 0 | 1 | 2, 3: the second image that is attacked is alone in its part
        assert not (tmp_path / "parts" / "summary.json").exists()
        certify(network, *data, chosen, tmp_path / "parts", shard=shard)
    whole, parts = (without_time(rows_of(tmp_path / folder)) for folder in ("whole", "parts"))
    assert parts == whole
    column = {"uniform_smoothing": "attack_cosine", "upper_bound": "observed"}[method]
    assert {row["index"] for row in whole if row[column]} == {"0", "1"}
    left = [{path.name for path in (tmp_path / folder).iterdir() if path.is_file()} for folder in ("whole", "parts")]
    assert left[0] == left[1]
    if method == "upper_bound":
        pictures = [np.load(tmp_path / folder / "jacobian.npz")["first"] for folder in ("whole", "parts")]
        np.testing.assert_array_equal(*pictures)


def test_parts_that_are_not_finished_are_named(network, data, tmp_path):
    chosen = settings("center_smoothing")
    with pytest.raises(UsageError, match="holds no shard-i-of-n folders"):
        run.merge(tmp_path)
    certify(network, *data, chosen, tmp_path, shard="1/3")
    with pytest.raises(UsageError, match="of 3 parts shard-0-of-3, shard-2-of-3 is missing"):
        run.merge(tmp_path)
    with pytest.raises(UsageError, match="epsilon was 0.02, now 0.5"):  # at once, not when the last part has ended
        certify(network, *data, settings("center_smoothing", epsilon=0.5), tmp_path, shard="0/3")
    assert not (tmp_path / "shard-0-of-3").exists()


def test_folder_of_other_settings_is_refused(network, data, tmp_path):
    certify(network, *data, settings("center_smoothing"), tmp_path)
    with pytest.raises(UsageError, match="epsilon was 0.02, now 0.5"):
        certify(network, *data, settings("center_smoothing", epsilon=0.5), tmp_path)


def test_paper_formula_is_named_as_no_guarantee(network, data, tmp_path):
    summary = certify(network, *data, settings("uniform_smoothing", formula="paper"), tmp_path)
    assert summary["formula"] == "paper" and summary["guarantee"].startswith("No guarantee")


def test_certifying_in_memory_gives_the_rows_of_the_files(network, data, tmp_path):
    chosen = settings("uniform_smoothing")
    certify(network, *data, chosen, tmp_path)
    found = rar_tf.certify(
        network,
        *data,
        method="uniform_smoothing",
        bounds=(0, 1),
        radius=[0.5, 1.0],
        threshold=[0.8, 0.9],
        epsilon=0.02,
        num_samples=400,
        sample_batch=100,
        certify_ig_steps=3,
    )
    assert without_time([{name: str(value) for name, value in row.items()} for row in found.rows]) == [
        {name: value for name, value in row.items() if value} for row in without_time(rows_of(tmp_path))
    ]
    assert found.summary()["num_certifiable"] == COUNT - 1
    alone = rar_tf.certify(network, *data, method="upper_bound", bounds=(0, 1), budgets="l2:0.1", threshold=0.9)
    assert [row["correct"] for row in alone.rows] == [1, 1, 0, 1] and "largest_epsilon_0.9" in alone.rows[0]
    with pytest.raises(UsageError, match="unknown setting radii"):
        rar_tf.certify(network, *data, method="uniform_smoothing", bounds=(0, 1), radii=1.0)
    with pytest.raises(UsageError, match="unknown setting shard"):  # of scripts alone
        rar_tf.certify(network, *data, method="uniform_smoothing", bounds=(0, 1), shard="0/2")
    with pytest.raises(UsageError, match="pixel range"):
        rar_tf.certify(network, 255 * data[0], data[1], method="uniform_smoothing", bounds=(0, 1))


def test_settings_go_by_their_names_or_their_flags(network, data):
    names = [{"k": 7, "ig_steps": 4}, {"ifia_metric_k": 7, "certify_ig_steps": 4}]
    found = [rar_tf.certify(network, *data, method="upper_bound", bounds=(0, 1), **given).settings for given in names]
    assert found[0] == found[1] and (found[0]["ifia_metric_k"], found[0]["certify_ig_steps"]) == (7, 4)


def test_defaults_say_something(network, data):
    given = {"attribution": "saliency", "num_samples": 10_000}
    found = rar_tf.certify(network, *data, method="uniform_smoothing", bounds=(0, 1), **given)
    assert found.settings["epsilon"] == 0.02 and found.settings["radius"] == [0.3, 0.6]
    assert all(row["certified_cosine"] > 0.9 for row in found.rows if row["correct"])
    by_radius = rar_tf.certify(network, *data, method="uniform_smoothing", bounds=(0, 1), radius=0.3, **given)
    assert by_radius.settings["epsilon"] == 0.02 and by_radius.settings["radius"] == [0.3]
    grey = record_of({"method": "upper_bound"}).replace(bounds=(0, 255)).resolved()
    assert grey.budgets == ("l2:25.5", "linf:2.55")
    asked = record_of({"method": "upper_bound", "epsilon": 0.3}).resolved()
    assert asked.budgets == ("linf:0.3",) and asked.replace(budgets=None, constraint="l2").resolved().budgets == (
        "l2:0.3",
    )


def test_upper_bounds_of_other_norms_lie_in_order_and_are_continued(network, data, tmp_path):
    budgets = ["l1:0.1", "l1.5:0.1", "l2:0.1", "l3:0.1", "linf:0.1"]
    given = settings("upper_bound", budgets=budgets, certificate_attack=1)
    summary = certify(network, *data, given, tmp_path)
    assert [(entry["ball"], entry["epsilon"]) for entry in summary["results"]] == [
        (name.split(":")[0], 0.1) for name in budgets
    ]
    rows = [row for row in rows_of(tmp_path) if row["bound"]]
    for image in range(0, len(rows), 5):
        bounds = [float(row["bound"]) for row in rows[image : image + 5]]
        assert bounds == sorted(bounds) and bounds[0] < bounds[2] < bounds[4]
        for row, bound in zip(rows[image : image + 5], bounds):  # the linear model's own changes lie below
            assert float(row["constrained_estimate"] or 0) <= bound * (1 + 1e-5)
    assert [bool(row["observed"]) for row in rows[:5]] == [False, False, True, False, True]
    before = (tmp_path / "examples.csv").read_text()
    (tmp_path / "summary.json").unlink()
    lines = before.split("\n")
    (tmp_path / "examples.csv").write_text("\n".join(lines[:6]) + "\n")
    certify(network, *data, given, tmp_path)
    assert without_time(rows_of(tmp_path)) == without_time(list(csv.DictReader(lines)))


def test_other_images_are_not_mixed_in(network, data, tmp_path):
    certify(network, *data, settings("center_smoothing"), tmp_path)
    with pytest.raises(UsageError, match="images_digest was"):
        certify(network, data[0] / 2, data[1], settings("center_smoothing"), tmp_path)


def test_network_that_is_always_wrong_gives_a_summary_without_results(network, data, tmp_path):
    images, labels = data
    wrong = (network(images).numpy().argmax(1) + 1) % 3
    summary = certify(network, images, wrong, settings("uniform_smoothing"), tmp_path)
    assert summary["num_certifiable"] == 0 and summary["results"] == []


def test_constant_network_is_not_certified(data, tmp_path):
    constant = keras.Sequential(
        [layers.Input((6, 6, 1)), layers.Flatten(), layers.Dense(2, kernel_initializer="zeros")]
    )
    summary = certify(constant, data[0], np.zeros(COUNT, int), settings("uniform_smoothing"), tmp_path)
    for entry in summary["results"]:
        assert entry["certified"]["count"] == 0 and entry["largest_epsilon_0.8"]["max"] == 0


@pytest.mark.parametrize(
    "method, changes, message",
    [
        ("natural", {}, "--method=natural is no certificate"),
        ("uniform_smoothing", {"threshold": [1.0]}, "threshold must be between 0 and 1"),
        ("uniform_smoothing", {"radius": [0.5, -1.0]}, "radius must be positive"),
        ("uniform_smoothing", {"epsilon": 0.0}, "epsilon must be positive"),
        ("uniform_smoothing", {"confidence": 1.0}, "confidence must be between 0 and 1"),
        ("uniform_smoothing", {"num_samples": 0}, "num_samples must be at least 1"),
        ("uniform_smoothing", {"normalization": "units"}, "unknown normalization 'units'"),
        ("uniform_smoothing", {"interval": "exact"}, "unknown interval 'exact'"),
        ("uniform_smoothing", {"formula": "printed"}, "unknown formula 'printed'"),
        ("uniform_smoothing", {"normalization": "lipschitz"}, "no finite bound M"),
        ("uniform_smoothing", {"normalization": "clip", "attribution_bound": 0.0}, "must be positive"),
        ("uniform_smoothing", {"stop_early": True, "interval": "concentration"}, "stop_early needs interval=betting"),
        ("uniform_smoothing", {"stop_early": True, "certify_label": True}, "leave stop_early off"),
        ("uniform_smoothing", {"radius": [1e-8]}, "float32 pixels of 1 cannot hold: give at least 1.1e-05"),
        ("uniform_smoothing", {"certify_epsilons": [-0.1]}, "certify_epsilons must be positive"),
        ("rank_smoothing", {"noise": "laplace"}, "unknown noise 'laplace'"),
        ("rank_smoothing", {"features": "ranks"}, "unknown features 'ranks'"),
        ("center_smoothing", {"confidence": 0.0}, "confidence must be between 0 and 1"),
        ("upper_bound", {"budgets": ["l0.5:0.1"]}, "budgets are l2:EPSILON"),
        ("upper_bound", {"budgets": ["l2:"]}, "budgets are l2:EPSILON"),
        ("upper_bound", {"certify_softplus_beta": 0.0}, "softplus_beta must be positive"),
    ],
)
def test_mistakes_are_one_clear_line(network, data, tmp_path, method, changes, message):
    with pytest.raises(UsageError, match=message) as raised:
        certify(network, *data, settings(method, **changes), tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_lipschitz_bound_is_never_exceeded_by_a_gradient(network, data, tmp_path):
    bound = gradient_bound(network)
    field = attribution_field(network, "saliency")
    for label in range(3):
        maps = field(
            10 * np.random.default_rng(1).normal(size=(500, 6, 6, 1)).astype(np.float32) - 1, np.full(500, label)
        ).numpy()
        assert 0 < np.linalg.norm(maps.reshape(500, -1), axis=1).max() <= bound
    summary = certify(
        network, *data, settings("uniform_smoothing", attribution="saliency", normalization="lipschitz"), tmp_path
    )
    assert summary["settings"]["bound"] == pytest.approx(bound)
    tangled = keras.Model(network.inputs, network.outputs)
    with pytest.raises(UsageError, match="no finite bound M"):
        gradient_bound(tangled)


class TestBoundsOfNetworksWithoutASurrogate:
    """The Jacobian of a ReLU network says nothing of its maps: no number is better than a wrong one."""

    def exported(self, folder, activation):
        network = keras.Sequential(
            [
                keras.layers.Input((6, 6, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(8, activation=activation),
                keras.layers.Dense(3),
            ]
        )
        export.export_saved_model(network, folder / activation)
        return network, export.load_network(saved_model=str(folder / activation))

    def bounds_of(self, network, **more):
        images = np.random.default_rng(0).uniform(0, 1, (4, 6, 6, 1)).astype(np.float32)
        labels = network(tf.constant(images)).numpy().argmax(1)
        found = rar_tf.certify(
            network, images, labels, method="upper_bound", bounds=(0, 1), attribution="saliency", **more
        )
        return [row["bound"] for row in found.rows], found.guarantee

    def test_a_saved_model_with_rectifiers_is_refused(self, tmp_path, seeded):
        network, saved = self.exported(tmp_path, "relu")
        assert min(self.bounds_of(network)[0]) > 0
        for more in ({}, {"assume_smooth": True}):
            with pytest.raises(UsageError, match="has kinks: give its .keras file \\(--keras_model\\)"):
                self.bounds_of(saved, **more)

    def test_a_smooth_one_has_to_be_said_to_be_smooth(self, tmp_path, seeded):
        network, saved = self.exported(tmp_path, "softplus")
        with pytest.raises(UsageError, match="--assume_smooth"):
            self.bounds_of(saved)
        with pytest.raises(UsageError, match="--assume_smooth"):
            self.bounds_of(lambda x, training=False: network(x))
        bounds, guarantee = self.bounds_of(saved, assume_smooth=True)
        np.testing.assert_allclose(bounds, self.bounds_of(network)[0], rtol=1e-4)
        assert "of the network, which is assumed to be smooth" in guarantee
        assert "assumed" not in self.bounds_of(network)[1]

    def test_kinks_that_no_surrogate_takes_away_are_refused(self, seeded):
        inputs = keras.layers.Input((6, 6, 1))
        hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(inputs))
        network = keras.Model(inputs, keras.layers.Dense(3)(keras.ops.abs(hidden - 0.5)))
        with pytest.raises(UsageError, match="has kinks"):
            self.bounds_of(network)


@pytest.mark.parametrize(
    "noise, features", [("gaussian", "top_k"), pytest.param("uniform", "clipped", marks=pytest.mark.slow)]
)
def test_rank_smoothing_leaves_rows_a_summary_and_plots(network, data, tmp_path, noise, features):
    chosen = settings(
        "rank_smoothing",
        attribution="saliency",
        noise=noise,
        features=features,
        num_samples=2000,
        certify_epsilons=[0.002, 0.01],
        certificate_attack=1,
        certify_label=True,
        threshold=[0.5],
    )
    summary = certify(network, *data, chosen, tmp_path)
    rows = [row for row in rows_of(tmp_path) if row["radius"]]
    assert len(rows) == 4 * (COUNT - 1)
    for near, far in zip(rows[::2], rows[1::2]):
        assert (near["epsilon"], far["epsilon"]) == ("0.002", "0.01")
        for name in ("certified_topk", "certified_kendall", "pixels_in", "pixels_out"):
            assert float(near[name]) >= float(far[name])
        assert int(near["pixels_in"]) <= 5 <= 36 - int(near["pixels_out"])
        assert 0 <= float(near["certified_topk"]) <= 1 and -1 <= float(near["certified_kendall"]) <= 1
    for row in rows:
        if row["attack_topk"]:
            assert float(row["attack_topk"]) >= float(row["certified_topk"]) and row["violation"] == "0"
    assert summary["results"][0]["violation"] == {"count": 0, "of": 1, "share": 0.0}
    assert noise in summary["guarantee"] and "tau-a" in summary["guarantee"]
    for name in ("certified.png", "pixels.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert max(float(row["certified_topk"]) for row in rows) > 0


def broken(network):
    """The network, with a map that is no number where the first pixel is larger than .99."""

    def answer(images):
        return network(images, training=False) + tf.sqrt(tf.nn.relu(0.99 - images[:, 0, 0]))

    return answer


@pytest.mark.parametrize("method", ["uniform_smoothing", "rank_smoothing", "upper_bound"])
def test_attribution_that_is_no_number_leaves_its_image_out_and_no_more(network, data, tmp_path, method):
    images = data[0].copy()
    images[:, 0, 0] = 0.5
    images[1, 0, 0] = 1.0
    labels = np.where(data[1] == network(data[0]).numpy().argmax(1), network(images).numpy().argmax(1), data[1])
    chosen = settings(method, attribution="saliency", radius=[0.05], certificate_attack=4, certify_epsilons=[0.001])
    chosen |= {"num_samples": 200, "certificate_attack_restarts": 1, "assume_smooth": True}
    summary = certify(broken(network), images, labels, chosen, tmp_path)
    rows = [row for row in rows_of(tmp_path) if row["correct"] == "1"]
    bad = [row for row in rows if row["index"] == "1"]
    assert bad and len(rows) > len(bad)
    for row in bad:
        assert not row.get("bound") and not row.get("certified_cosine") and row.get("violation") in (None, "", "0")
        assert row.get("certified", "0") == "0" and not row.get("observed") and not row.get("exceeded")
    column = {"uniform_smoothing": "norm_low", "rank_smoothing": "pixels_out", "upper_bound": "bound"}[method]
    assert all(float(row[column]) > 0 for row in rows if row not in bad)
    assert summary["num_certifiable"] == len({row["index"] for row in rows})


def test_zero_map_keeps_no_cosine_however_small_its_jacobian(data, tmp_path):
    constant = keras.Sequential(
        [layers.Input((6, 6, 1)), layers.Flatten(), layers.Dense(2, kernel_initializer="zeros")]
    )
    certify(constant, data[0], np.zeros(COUNT, int), settings("upper_bound", attribution="saliency"), tmp_path)
    assert {row["largest_epsilon_0.9"] for row in rows_of(tmp_path)} == {"0.0"}


def test_any_function_of_images_is_certified(network, data):
    given = dict(method="uniform_smoothing", bounds=(0, 1), attribution="saliency", num_samples=200)
    plain = rar_tf.certify(lambda images: network(images), *data, **given)
    assert without_time(plain.rows) == without_time(rar_tf.certify(network, *data, **given).rows)


def test_lipschitz_bound_counts_steep_leaks():
    steep = keras.Sequential(
        [layers.Input((2, 2, 1)), layers.Flatten(), layers.Dense(3), layers.ReLU(negative_slope=5.0), layers.Dense(2)]
    )
    bound = gradient_bound(steep)
    images = np.random.default_rng(0).normal(size=(500, 2, 2, 1)).astype(np.float32)
    maps = attribution_field(steep, "saliency")(tf.constant(images), tf.zeros(500, tf.int64)).numpy()
    longest = np.linalg.norm(maps.reshape(500, -1), axis=1).max()
    assert longest <= bound
    first, last = (np.asarray(layer.kernel) for layer in (steep.layers[1], steep.layers[3]))
    assert bound == pytest.approx(5 * np.linalg.norm(first, 2) * np.linalg.norm(last, axis=0).max(), rel=1e-5)


def test_guarantee_says_for_each_or_for_all(network, data):
    given = dict(method="uniform_smoothing", bounds=(0, 1), attribution="saliency", num_samples=400, radius=[0.3, 0.6])
    each = rar_tf.certify(network, *data, **given)
    every = rar_tf.certify(network, *data, simultaneous=True, **given)
    assert "For each image and radius on its own the probability that this is stated and wrong is at most 0.01" in (
        each.guarantee
    )
    assert "for any image or radius of the run is at most 0.01" in every.guarantee
    stricter = rar_tf.certify(network, *data, confidence=1 - 0.01 / (2 * COUNT), **given)
    limits = [[row["norm_low"] for row in found.rows if row["correct"]] for found in (each, every, stricter)]
    assert limits[1] == pytest.approx(limits[2]) and all(a > b for a, b in zip(*limits[:2]))


def test_searches_of_the_smallest_radius_are_statements_too():
    """Each threshold's is certified on its own, beside the radii."""
    settings = {
        "bounds": (0, 1),
        "image_shape": (6, 6, 1),
        "num_images": 10,
        "simultaneous": True,
        "radius": (0.3, 0.6),
    }
    made = CERTIFICATES["uniform_smoothing"].Settings.make({**settings, "threshold": (0.7, 0.8, 0.9)})
    assert made.level == pytest.approx(1 - 0.01 / 20)
    assert made.replace(largest_radius=2.0).level == pytest.approx(1 - 0.01 / 50)


def squared(target, images):
    return rar_tf.saliency_map(target, images) ** 2


@pytest.mark.parametrize("method", ["uniform_smoothing", "rank_smoothing", "center_smoothing"])
def test_a_function_s_maps_are_certified(network, data, method):
    given = dict(method=method, bounds=(0, 1), num_samples=60, attribution=squared)
    more = {} if method == "center_smoothing" else {"radius": 0.3}
    found = rar_tf.certify(network, *data, **given, **more, **({"k": 5} if method == "rank_smoothing" else {}))
    assert found.settings["attribution"] == "squared" and len(found.rows) >= COUNT
    json.dumps(found.summary())


@pytest.mark.parametrize("method", ["upper_bound", "curvature"])
def test_bounds_know_nothing_of_a_function(network, data, method):
    with pytest.raises(UsageError, match="squared"):
        rar_tf.certify(network, *data, method=method, bounds=(0, 1), attribution=squared)


@pytest.mark.parametrize("method", ["rank_smoothing", "curvature"])
def test_a_k_that_is_all_of_a_map_says_nothing(network, data, method):
    with pytest.raises(UsageError, match="1 … 36, the 36 pixels of a map; got 100"):
        rar_tf.certify(network, *data, method=method, bounds=(0, 1), attribution="saliency")


def test_labels_in_a_column(network, data):
    images, labels = data
    given = dict(method="uniform_smoothing", bounds=(0, 1), attribution="saliency", num_samples=60, radius=0.3)
    rows = [rar_tf.certify(network, images, each, **given).rows for each in (labels, labels[:, None])]
    assert [row["norm"] for row in rows[0] if row["correct"]] == [row["norm"] for row in rows[1] if row["correct"]]


def test_settings_that_can_say_nothing_are_named_before_the_start(network, data, caplog):
    given = dict(method="uniform_smoothing", bounds=(0, 1), attribution="saliency", num_samples=200)
    rar_tf.certify(network, *data, radius=0.3, epsilon=0.3, **given)
    assert "no map smoothed with radius 0.3 can be certified for a cosine of 0.9" in caplog.text
    caplog.clear()
    found = rar_tf.certify(network, *data, **given)
    assert "can be certified" not in caplog.text
    assert all(row["largest_epsilon_0.9"] > 0 for row in found.rows if row["correct"])


def test_best_radius_is_one_of_those_and_has_samples_of_its_own(network, data):
    given = dict(method="uniform_smoothing", bounds=(0, 1), attribution="saliency", num_samples=2000)
    radii = [0.02, 0.3, 0.6]
    best = rar_tf.certify(network, *data, radius=radii, best_radius=True, **given)
    every = rar_tf.certify(network, *data, radius=radii, **given)
    for row in best.rows:
        if row["correct"]:
            rivals = {each["radius"]: each for each in every.rows if each["index"] == row["index"]}
            assert row["largest_epsilon_0.9"] == rivals[row["radius"]]["largest_epsilon_0.9"]
            assert row["largest_epsilon_0.9"] >= 0.9 * max(each["largest_epsilon_0.9"] for each in rivals.values())


def test_label_and_map_are_certified_together_at_several_epsilons(network, data):
    given = dict(method="uniform_smoothing", bounds=(0, 1), attribution="saliency", num_samples=1000, radius=0.3)
    found = rar_tf.certify(network, *data, certify_label=True, certify_epsilons=[0.005, 0.01], epsilon=0.02, **given)
    for row in found.rows:
        if row["correct"]:
            assert row["cosine_at_0.005"] > row["cosine_at_0.01"] > row["certified_cosine"]
            assert row["joint"] == int(row["label_epsilon"] >= 0.02)
    assert "stays the label" in found.guarantee


def test_a_plot_says_what_it_is_of():
    rows = [{"index": index, "correct": int(index < 5)} for index in range(6) for _ in ("radius 1", "radius 2")]
    record = {"dataset": "digits", "split": "test", "method": "uniform_smoothing", "attribution": "saliency"}
    record |= {"model_dir": "runs/mine", "made": {"git_revision": "0123456789abcdef", "date": "2026-01-31T12:00:00"}}
    data, images, made = run.title(rows, record).splitlines()
    assert data == "digits, test: uniform_smoothing" and images == "saliency; 5 of 6 images"
    assert made == "mine, commit 0123456789, 2026-01-31"


def test_certified_and_attacked_values_are_drawn_of_the_same_images():
    rows = [{"epsilon": epsilon, "certified_topk": 0.9} for epsilon in (0.1, 0.2)]
    rows += [{"epsilon": 0.1, "certified_topk": 0.5, "attack_topk": 0.6}, {"epsilon": 0.2, "attack_topk": 0.4}]
    (axis,) = plots.over_epsilon({"top-k": (rows, "topk")}).axes
    np.testing.assert_array_equal([line.get_ydata() for line in axis.lines], [[0.5, 0.0], [0.6, 0.4]])
    (axis,) = plots.over_epsilon({"top-k": (rows[:2], "topk")}).axes
    np.testing.assert_array_equal([line.get_ydata() for line in axis.lines], [[0.9, 0.9]])


def test_lipschitz_bound_is_of_the_size_at_which_a_layer_is_used():
    keras.utils.set_random_seed(0)
    small = keras.Sequential([keras.layers.Input((2, 2, 1)), keras.layers.Conv2D(2, 3, padding="same", use_bias=False)])
    shared, flatten, last = small.layers[0], keras.layers.Flatten(), keras.layers.Dense(1, use_bias=False)
    network = keras.Sequential([keras.layers.Input((12, 12, 1)), shared, flatten, last])
    matrix = flatten(shared(np.eye(144).reshape(144, 12, 12, 1))).numpy()
    left, values, _ = np.linalg.svd(matrix.T, full_matrices=False)
    last.set_weights([left[:, :1]])  # the logit's gradient has the length of the convolution's largest singular value
    assert gradient_bound(network) >= values[0] * (1 - 1e-6)
