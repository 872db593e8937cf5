"""scripts/certify.py as a user meets it, and its flag files."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from rar_tf.certification import CERTIFICATES, overlap, ranks
from rar_tf.data.records import RECORDS
from rar_tf.experiment import flagfile

import forks
from conftest import ROOT
from runner import assert_one_line, script

FILES = sorted((ROOT / "flags" / "certify").glob("*.cfg"))


def test_there_are_flag_files_of_every_method():
    assert {flagfile.read(path)["method"] for path in FILES} == set(CERTIFICATES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_flag_file_says_its_command_and_makes_sense(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert f"python scripts/certify.py --flagfile=flags/certify/{path.name} " in head[-1]
    assert "Costs" in " ".join(head)
    given = flagfile.read(path)
    assert path.stem.startswith(given["dataset"]) and given.get("formula", "sound") == "sound"
    record = CERTIFICATES[given["method"]].Settings.of(given, image_shape=(28, 28, 1)).resolved()
    assert {name: value for name, value in record.flags().items() if name in given}.items() <= given.items()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_flag_file_can_certify_something(path):
    """Of the longest map, M = 1, that is: no network is needed to say so."""
    given = flagfile.read(path)
    shape = RECORDS[given["dataset"]].image_shape
    s = CERTIFICATES[given["method"]].Settings.of(given, bounds=RECORDS[given["dataset"]].bounds, image_shape=shape)
    s, d = s.resolved(), s.dimension
    if given["method"] == "uniform_smoothing":
        for threshold in s.threshold:
            assert overlap.needed_norm(s.epsilon, max(s.radius), threshold, d) < 0.9
            assert not s.largest_radius or overlap.needed_norm(s.epsilon, s.largest_radius, threshold, d) < 0.5
        for radius in s.radius:  # the largest ε of each radius is positive whatever --epsilon is
            assert overlap.largest_epsilon(0.9, radius, max(s.threshold), d) > 0
    elif given["method"] == "rank_smoothing":
        low, high = ranks.moved(np.array([0.0, 0.9]), np.array([0.1, 1.0]), min(s.epsilons), max(s.radius), d, s.noise)
        assert low[1] > high[0]


def test_certifies_a_keras_file_and_says_what_it_guarantees(tmp_path):
    network = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.AveragePooling2D(7),
            layers.Flatten(),
            layers.Dense(6, activation="relu"),
            layers.Dense(10),
        ]
    )
    network.save(tmp_path / "network.keras")
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        images = rng.integers(0, 256, size=(240, 28, 28, 1), dtype=np.uint8)
        labels = np.arange(240) % 10 if name == "train" else network(images / np.float32(255)).numpy().argmax(1)
        (tmp_path / "mnist").mkdir(exist_ok=True)
        np.savez(tmp_path / "mnist" / f"{name}.npz", images=images, labels=labels)
    done = script(
        "certify",
        "--method=uniform_smoothing",
        "--dataset=mnist",
        f"--data_dir={tmp_path}",
        f"--keras_model={tmp_path}/network.keras",
        f"--output_dir={tmp_path}/out",
        "--attribution=saliency",
        "--num_samples=200",
        "--num_examples=3",
        "--radius=1,3.5",
        "--threshold=0.8",
    )
    assert done.returncode == 0, done.stderr
    assert "3 of 3 images classified correctly" in done.stdout and "exact smoothed" in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["formula"] == "sound" and [entry["radius"] for entry in summary["results"]] == [1.0, 3.5]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give --method=upper_bound|uniform_smoothing|rank_smoothing|curvature|center_smoothing, got none"),
        (["--method=natural"], "give --method=upper_bound|uniform_smoothing|rank_smoothing|curvature|center_smoothing"),
        (["--method=upper_bound"], "give --output_dir"),
    ],
)
def test_mistake_ends_with_one_line_and_status_2(arguments, message):
    assert_one_line(forks.script("certify", *arguments, "--keras_model=absent.keras"), message)
