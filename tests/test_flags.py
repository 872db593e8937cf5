"""Every flag file: it parses, its head says what a reader needs, its method runs on tiny images with its settings."""

import dataclasses
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from rar_tf import objectives
from rar_tf.data.datasets import record_of
from rar_tf.experiment import flagfile, optimizers
from rar_tf.experiment import run as experiment  # noqa: E402
from rar_tf.experiment.settings import Experiment
from rar_tf.models.settings import NetworkSettings

from conftest import ROOT

FILES = sorted((ROOT / "flags").glob("*.cfg"))
FAST = sorted((ROOT / "flags" / "fast").glob("*.cfg"))
# What a recipe of minutes may change in a method: the adversary's steps, and how exactly paths are integrated.
SCHEDULE = (
    "align_warmup",
    "epsilon_warmup",
    "attack_steps",
    "step_size",
    "ig_steps",
    "attack_ig_steps",
    "weight_decay",
    "seed",
)
METHODS = (
    "natural",
    "madry",
    "ig_norm",
    "ig_sum_norm",
    "cacr_wacr",
    "trades",
    "mart",
    "igr_at",
    "igr_trades",
    "igr_mart",
    "art",
    "advaat",
    "ssr",
)
PROMISED = (
    [f"{dataset}_{method}" for dataset in ("digits", "mnist", "fashion_mnist") for method in METHODS]
    + [f"cifar10_{method}" for method in METHODS if method != "cacr_wacr"]
    + [
        f"{dataset}_{method}"
        for dataset in ("gtsrb", "flower")
        for method in ("natural", "madry", "ig_norm", "ig_sum_norm", "cacr_wacr")
    ]
    + ["gtsrb_ig_sum_norm_reference", "gtsrb_ig_norm_reference"]
    + [
        f"{dataset}_{method}_p2"
        for dataset in ("mnist", "fashion_mnist")
        for method in ("natural", "madry", "ig_norm", "ig_sum_norm", "cacr_wacr")
    ]
    + [
        f"{dataset}_{method}_wrn"
        for dataset in ("flower", "gtsrb")
        for method in ("natural", "madry", "art", "cacr_wacr")
    ]
    + [f"{dataset}_cacr_wacr_code" for dataset in ("mnist", "fashion_mnist", "gtsrb", "flower")]
    + [f"flower_{method}" for method in ("trades", "advaat", "igr_trades")]
    + [
        f"digits_{name}"
        for name in ("aat", "r2et", "input_gradient", "surrogate", "wasserstein", "align_trades", "align_mart")
    ]
    + [f"{dataset}_align_at" for dataset in ("digits", "mnist", "fashion_mnist", "gtsrb", "cifar10")]
)


@pytest.fixture(scope="module")
def tiny_network():
    """A rectified network of 16×16 images for each number of channels and classes."""
    built = {}

    def of(record):
        key = record.image_shape[-1], record.num_classes
        if key not in built:
            built[key] = keras.Sequential(
                [
                    layers.Input((16, 16, key[0])),
                    layers.Rescaling(1 / record.bounds[1]),
                    layers.Conv2D(4, 5, strides=3, activation="relu"),
                    layers.GlobalAveragePooling2D(),
                    layers.Dense(key[1]),
                ]
            )
        return built[key]

    return of


def test_every_promised_flag_file_is_there():
    assert sorted(set(PROMISED) - {path.stem for path in FILES}) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_head_says_where_from_what_it_costs_and_how_to_run_it(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert head[-1] == f"# python scripts/train.py --flagfile=flags/{path.name} --model_dir=runs/{path.stem}"
    text = " ".join(line[2:] for line in head)
    assert "Costs" in text
    assert path.stem.startswith("digits_") or "et al. 20" in text or "Wang and Kong 202" in text
    expected = "expect" in text if "reference" in path.stem else "Should reach" in text or "no paper has" in text
    assert path.stem.startswith("digits_") or expected
    assert not any(word in text for word in ("METHODS", "DESIGN", "PITFALLS", "[I]"))


def test_fast_recipes_are_there_for_fifteen_methods_on_four_data_sets_and_for_chens_on_flowers():
    datasets, methods = ("cifar10", "fashion_mnist", "gtsrb", "mnist"), (*METHODS, "r2et", "align_at")
    wanted = [f"{dataset}_{method}" for dataset in datasets for method in methods]
    wanted += [f"flower_{method}" for method in ("natural", "madry", "ig_norm", "ig_sum_norm", "cacr_wacr")]
    wanted += ["gtsrb_madry_long"]  # which alignment begins from
    assert sorted(wanted) == [path.stem for path in FAST]


@pytest.mark.parametrize("path", FAST, ids=lambda path: path.stem)
def test_a_fast_recipe_says_what_it_costs_and_begins_from_another_fast_one(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert head[-1] == f"# python scripts/train.py --flagfile=flags/fast/{path.name} --model_dir=runs/fast/{path.stem}"
    assert "Costs" in " ".join(head)
    assert re.search(r"docs/(results|alignment)\.md", " ".join(head))
    start = flagfile.read(path).get("init_from")
    if start is not None:
        *folder, name, file = pathlib.Path(start).parts
        assert (folder, file) == (["runs", "fast"], "model.keras")
        first, *overrides = name.split(",")
        networks = [
            NetworkSettings.of(
                {**flagfile.read(path.parent / f"{first}.cfg"), **dict(o.split("=") for o in overrides)}
            ),
            Experiment.of(flagfile.read(path)).network,
        ]
        smooth = {"activation": None, "activation_beta": None, "pooling": None}  # they leave weights as they are
        assert dataclasses.replace(networks[0], **smooth) == dataclasses.replace(networks[1], **smooth)
        assert f"--model_dir={'/'.join(folder)}/{name}" in " ".join(head)


@pytest.mark.parametrize(
    "path", [path for path in FAST if (path.parents[1] / path.name).is_file()], ids=lambda p: p.stem
)
def test_a_fast_recipe_changes_schedule_adversary_and_points_and_not_the_objective(path):
    fast, paper = (Experiment.of(flagfile.read(each)) for each in (path, path.parents[1] / path.name))
    changed = {flag for flag, value in fast.method.flags().items() if paper.method.flags()[flag] != value}
    budget = {"epsilon"} if paper.evaluation.evaluation_protocol == "wang2022" else set()  # Chen et al.'s for all
    assert changed <= {"reduction", *SCHEDULE, *budget}


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("method", ["madry", "ig_norm", "ig_sum_norm", "cacr_wacr"])
def test_a_fast_recipe_and_its_paper_have_the_same_objective_on_one_batch(method, dataset, tiny_network):
    files = [ROOT / "flags" / folder / f"{dataset}_{method}.cfg" for folder in ("", "fast")]
    points = {"ig_steps": 10, "attack_ig_steps": 2}
    settings = [Experiment.of({**flagfile.read(path), **points}) for path in files]
    record = record_of(settings[0].data)
    random = np.random.default_rng(0)
    images = tf.constant(random.uniform(0, 1, (4, 16, 16, 1)), tf.float32)
    perturbed = tf.clip_by_value(images + random.uniform(-0.3, 0.3, images.shape), 0, 1)
    found = [
        experiment.build_model(tiny_network(record), each, record.bounds).loss_terms(
            images, perturbed, tf.constant([1, 2, 3, 4])
        )
        for each in settings
    ]
    assert list(found[0]) == list(found[1])
    for name in found[0]:
        np.testing.assert_array_equal(found[0][name], found[1][name])


@pytest.mark.parametrize("path", FILES + FAST, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_method_trains_with_the_files_settings(path, tiny_network):
    settings = Experiment.of({**flagfile.read(path), "attack_steps": 1})
    run = settings.run
    assert path.stem.startswith(settings.data.dataset)
    optimizers.build(run)
    assert len(run.learning_rate_boundaries) == 0 or run.learning_rate_boundaries[-1] < run.steps
    record = record_of(settings.data)
    network = tiny_network(record)
    model = experiment.build_model(network, settings, record.bounds)
    assert type(model) is objectives.METHODS[run.method]
    span = record.bounds[1] - record.bounds[0]
    assert 0 < model.settings.step_size <= model.settings.epsilon < span / 2
    images = tf.constant(np.random.default_rng(0).uniform(*record.bounds, (2, *network.input_shape[1:])), tf.float32)
    labels = tf.constant([1, 3], tf.int64)
    perturbed = model.perturb(images, labels, model.start(images, tf.constant(0, tf.int64)))
    assert float(tf.reduce_max(tf.abs(perturbed - images))) <= model.settings.epsilon * (1 + 1e-5)
    terms = model.loss_terms(images, perturbed, labels)
    assert tuple(terms) == model.terms
    assert all(np.all(np.isfinite(value)) for value in terms.values())


@pytest.mark.parametrize("path", sorted((ROOT / "flags" / "trials").glob("*.cfg")), ids=lambda path: path.stem)
def test_trials_lack_nothing_but_what_each_adds(path):
    settings = Experiment.of({**flagfile.read(path), "method": "align_at", "steps": 300, "learning_rate_decay": 150})
    assert settings.data.dataset == path.stem and settings.evaluation.epsilon == settings.method.epsilon
    optimizers.build(settings.run)
    record = record_of(settings.data)
    assert experiment.build_network(settings.network, record).count_params() < 300_000


def test_every_method_has_a_flag_file_on_the_digits():
    used = {flagfile.read(path)["method"] for path in FILES if path.stem.startswith("digits_")}
    assert used == set(objectives.METHODS)


def test_a_nested_flag_file_is_found_beside_the_one_that_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert flagfile.read(ROOT / "flags" / "gtsrb_art_wrn.cfg")["model"] == "wrn_28_10"
