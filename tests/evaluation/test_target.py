"""Attacks towards a map or a region of one's own."""

import numpy as np
import pytest

import rar_tf
from rar_tf.errors import UsageError

import toys

SETTINGS = {
    "bounds": (0, 1),
    "epsilon": 0.3,
    "steps": 15,
    "k": 10,
    "metric_k": 8,
    "ig_steps": 4,
    "prediction_attacks": (),
    "faithfulness": False,
    "average_case": False,
}
IMAGES, LABELS = toys.digits(8)


def evaluated(folder, target, **changes):
    np.save(folder / "target.npy", target)
    given = {**SETTINGS, "target": str(folder / "target.npy"), **changes}
    return rar_tf.evaluate(toys.network(), IMAGES, LABELS, **given).summary()


def test_maps_come_nearer_to_the_one_that_is_wanted(tmp_path):
    network = toys.network()
    wanted = rar_tf.attack(network, IMAGES[::-1], LABELS[::-1], **SETTINGS).maps[0].reshape(8, 8)
    summary = evaluated(tmp_path, wanted, objective="target_map")
    assert summary["target_cosine"]["mean"] > summary["target_cosine_clean"]["mean"] + 0.05


def test_a_region_gains(tmp_path):
    region = np.zeros((8, 8))
    region[:4] = 1
    summary = evaluated(tmp_path, region, objective="target")
    assert summary["target_cosine"]["mean"] > summary["target_cosine_clean"]["mean"] + 0.02


@pytest.mark.parametrize(
    "target, words",
    [
        (np.zeros((8, 8)), "not all zero"),
        (np.ones((8, 8, 1)), "H×W"),
        (np.full((8, 8), np.nan), "finite"),
        (np.ones((4, 4)), "shape"),
        (np.array([["a"]]), "numbers"),
    ],
)
def test_targets_that_cannot_be(tmp_path, target, words):
    with pytest.raises(UsageError, match=words):
        evaluated(tmp_path, target, objective="target_map")


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="needs a map"):
        rar_tf.evaluate(toys.network(), IMAGES, LABELS, **SETTINGS, objective="target_map")
    (tmp_path / "no.npy").write_text("no")
    with pytest.raises(UsageError, match="--ifia_target"):
        rar_tf.evaluate(toys.network(), IMAGES, LABELS, **SETTINGS, target=str(tmp_path / "no.npy"))
