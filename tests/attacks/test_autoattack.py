"""The standard set in an evaluation of predictions: which images fall to which member."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks import PREDICTION_ATTACKS, apgd, balls, fab, square
from rar_tf.evaluation.measurement import Batch
from rar_tf.evaluation.measurements import Predictions
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.subject import Subject

import toys

SETTINGS = EvaluationSettings(bounds=(0.0, 1.0), epsilon=0.3, pgd_steps=20).resolved()
STANDARD = PREDICTION_ATTACKS["autoattack"]
SHORT = {
    "autoattack": (
        *apgd.APGD_CE,
        apgd.towards_targets(steps=20),
        fab.towards_targets(steps=20),
        square.member(queries=600),
    ),
    "autoattack_l2": (
        apgd.untargeted("apgd_ce", losses.cross_entropy, ball=balls.L2),
        apgd.towards_targets(ball=balls.L2, steps=20),
        fab.towards_targets(ball=balls.L2, steps=20),
    ),
}


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    """The names of the package for members with fewer steps and queries, for as long as a test."""
    for kind, members in SHORT.items():
        monkeypatch.setitem(PREDICTION_ATTACKS._places, kind, members)


def predictions(network, *attacks, **changes):
    settings = dataclasses.replace(SETTINGS, prediction_attacks=attacks, **changes)
    return Predictions(Subject(network), settings)


def batch(images, labels, which=slice(None)):
    return Batch(np.arange(len(images), dtype=np.int64)[which], images[which], labels[which])


@pytest.mark.parametrize("attack, dual", [("autoattack", 1), ("autoattack_l2", 2)])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_every_member_breaks_the_images_of_a_linear_network_that_can_be_broken(monkeypatch, attack, dual, classes):
    rng = np.random.default_rng(classes)
    weights = rng.normal(size=(9, classes)).astype(np.float32)
    network = toys.Linear(weights)
    images = rng.uniform(0.3, 0.7, size=(12, 3, 3, 1)).astype(np.float32)
    logits = network(images).numpy()
    labels = np.argmax(logits, 1)
    # The image can be broken where min_j (z_y − z_j) / ‖w_y − w_j‖ < ε; ε is halfway between two of those.
    lengths = np.linalg.norm(weights[:, labels, None] - weights[:, None, :], dual, axis=0)
    gaps = (logits.max(1, keepdims=True) - logits) / np.where(lengths > 0, lengths, 1)
    distances = np.where(lengths > 0, gaps, np.inf).min(1)
    ordered = np.sort(distances)
    widest = 4 + np.argmax(np.diff(np.log(ordered))[4:8])
    epsilon = np.sqrt(ordered[widest] * ordered[widest + 1])

    for member in SHORT[attack]:
        monkeypatch.setitem(PREDICTION_ATTACKS._places, attack, (member,))
        measure = predictions(network, attack, bounds=(-5.0, 5.0), pgd_epsilon=float(epsilon))
        found = measure(batch(images, labels))[f"adversarial_correct:{attack}"]
        if member.name == "apgd_ce" and classes > 2:  # cross-entropy may climb towards a class that is farther
            assert np.all(found >= (distances > epsilon)) and found.sum() < 12
        else:
            np.testing.assert_array_equal(found, distances > epsilon, member.name)
    monkeypatch.setitem(PREDICTION_ATTACKS._places, attack, SHORT[attack])
    measure = predictions(network, attack, bounds=(-5.0, 5.0), pgd_epsilon=float(epsilon))
    measure(batch(images[:1], labels[:1]))
    warned = [warning for warning in measure.subject.warnings if "difference-of-logits" in warning]
    assert len(warned) == (classes < 4) and all(f"has {classes}" in warning for warning in warned)


def test_columns_say_what_stands_after_each_member():
    images, labels = toys.digits(12)
    measure = predictions(toys.network(), "pgd", "autoattack", pgd_epsilon=0.12)
    columns = [f"adversarial_correct:autoattack{part}" for part in ("", ":apgd_ce", ":apgd_t", ":fab_t", ":square")]
    assert measure.columns == ("adversarial_correct", *columns)
    found = measure(batch(images, labels))
    total, *after = (found[column] for column in columns)
    assert all(np.all(later <= before) for before, later in zip(after, after[1:]))
    np.testing.assert_array_equal(total, after[-1])
    assert 0 < after[-1].sum() < 12  # some fall and some stand, so that all members were run
    assert after[-1].sum() <= found["adversarial_correct"].sum()

    for which in (slice(0, 1), slice(5, 9)):  # the same, whatever images come with them
        few = measure(batch(images, labels, which))
        for column in columns:
            np.testing.assert_array_equal(few[column], found[column][which])


def test_pgd_does_not_break_two_networks_that_the_set_breaks():
    images, labels = toys.digits(8)

    def saturated(x, training=False):
        return 1000 * toys.network()(x)

    def quantised(x, training=False):
        return toys.network()(tf.round(4 * x) / 4)

    names = ("pgd", "autoattack")
    for network, breakers in ((saturated, ("apgd_t",)), (quantised, ("square",))):
        correct = np.argmax(network(images), 1) == labels
        found = predictions(network, *names)(Batch(np.arange(8)[correct], images[correct], labels[correct]))
        assert found["adversarial_correct"].mean() > 0.5
        assert found["adversarial_correct:autoattack"].mean() < 0.2
        standing = 1.0
        for member in ("apgd_ce", "apgd_t", "fab_t", "square"):
            left = found[f"adversarial_correct:autoattack:{member}"].mean()
            assert standing - left > 0.5 or member not in breakers
            standing = left


def test_the_set_is_the_standard_one():
    members = STANDARD
    assert [member.name for member in members] == ["apgd_ce", "apgd_t", "fab_t", "square"]
    terms = predictions(toys.network(), "pgd")._terms
    for classes, runs in ((2, [1, 1, 1, 1]), (5, [1, 4, 4, 1]), (10, [1, 9, 9, 1]), (100, [1, 9, 9, 1])):
        assert [member.runs(terms._replace(classes=classes)) for member in members] == runs


def test_a_network_that_tells_its_classes_is_warned_about_before_its_first_image():
    network = toys.Linear(np.ones((9, 3)))
    network.output_shape = (None, 3)
    (warning,) = predictions(network, "autoattack", "pgd").subject.warnings
    assert "apgd_t" in warning and "4 classes or more, the network has 3" in warning
    assert predictions(network, "pgd", "square").subject.warnings == []
