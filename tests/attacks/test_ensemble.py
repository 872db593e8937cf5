"""attack="auto" is the worst case over its members, so never above plain IFIA."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf.attacks import ensemble
from rar_tf.evaluation import job as evaluation
from rar_tf.evaluation.measurement import Batch
from rar_tf.evaluation.measurements import AttributionAttack
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.subject import Subject
from rar_tf.evaluation.summary import SCORES

import toys

SETTINGS = {
    "bounds": (0.0, 1.0),
    "epsilon": 0.2,
    "steps": 6,
    "step_size": 0.05,
    "ig_steps": 4,
    "k": 10,
    "metric_k": 8,
    "pgd_steps": 2,
}


@pytest.fixture(scope="module")
def both():
    images, labels = toys.digits(10)
    return [
        evaluation.evaluate(toys.network(), images, labels, attack=attack, batch_size=8, **SETTINGS)
        for attack in ("ifia", "auto")
    ]


def test_never_above_plain_ifia_on_any_image(both):
    for plain, auto in zip(*(e.rows for e in both)):
        for name in SCORES if plain["correct"] else ():
            assert auto[name] <= auto[f"plain:{name}"] + 1e-9
            # the plain member is plain IFIA itself, up to rounding in a graph that is compiled anew
            assert auto[f"plain:{name}"] == pytest.approx(plain[name], abs=0.05) or auto[name] <= plain[name]


def test_members_are_reported(both):
    summary = both[1].summary()
    assert set(summary["members"]) == {"plain", *(member.name for member in ensemble.MEMBERS), ensemble.PATCHES.name}
    assert summary["kendall"]["mean"] <= min(m["kendall"] for m in summary["members"].values()) + 1e-9
    assert sum(m["lowest_on"] for m in summary["members"].values()) == pytest.approx(1)
    assert "members" not in both[0].summary()


def test_members_have_kendall_s_correlation_whatever_chooses_the_iterate():
    """Of the mass centre the measure is a negative distance."""
    images, labels = toys.digits(3)
    settings = EvaluationSettings(attack="auto", measure="mass_center", **{**SETTINGS, "steps": 2}).resolved()
    attack = AttributionAttack(Subject(toys.network()), settings)
    attack.members, attack.patches = ensemble.MEMBERS[:1], False
    columns = attack(Batch(np.arange(3), images, labels))
    lowest = np.minimum(columns["kendall:plain"], columns[f"kendall:{attack.members[0].name}"])
    np.testing.assert_allclose(lowest, columns["kendall"], atol=1e-3)


def test_members_share_the_plain_attacks_budget_and_maps():
    settings = EvaluationSettings(attack="auto", **SETTINGS).resolved()
    plain = AttributionAttack(Subject(toys.network()), settings).plain
    attack = ensemble.member_attack(plain, tf.constant(0), tf.constant(1.0), tf.constant(1.0))
    for name in ("epsilon", "ball", "bounds", "explainer", "screen", "measure", "tracked"):
        assert getattr(attack, name) == getattr(plain, name), name
    assert attack.feasible and not plain.feasible


@pytest.fixture(scope="module")
def compiled():
    network = toys.network()
    return network, AttributionAttack(Subject(network), EvaluationSettings(attack="auto", **SETTINGS).resolved())


@pytest.mark.parametrize("member", ensemble.MEMBERS, ids=lambda member: member.name)
def test_members_stay_in_the_ball_and_never_lose_a_label(compiled, member):
    images, labels = toys.digits(8)
    network, attack = compiled
    correct = np.argmax(network(images), 1) == labels
    batch = Batch(np.arange(correct.sum()), images[correct], labels[correct])
    attack.members = (member,)
    attack(batch)
    assert np.abs(batch.perturbed - batch.images).max() <= 0.2 + 1e-6
    assert batch.perturbed.min() >= 0 and batch.perturbed.max() <= 1
    np.testing.assert_array_equal(np.argmax(network(batch.perturbed), 1), batch.labels)


def test_the_ensemble_in_the_l2_ball():
    """Corners of the ℓ∞ ball are no start there, and no squares are moved to them."""
    images, labels = toys.digits(6)
    settings = EvaluationSettings(attack="auto", **{**SETTINGS, "steps": 2, "ball": "l2"}).resolved()
    attack = AttributionAttack(Subject(toys.network()), settings)
    batch = Batch(np.arange(6), images, labels)
    attack.members = ensemble.MEMBERS[:1]
    columns = attack(batch)
    assert set(attack.columns) >= set(columns) and not any("patches" in name for name in attack.columns)
    distances = np.linalg.norm((batch.perturbed - batch.images).reshape(6, -1), axis=1)
    assert distances.max() <= 0.2 + 1e-6 and distances.max() > 0.1
    *_, (_, _, _, pool) = attack._searches(batch, (images, labels, batch.maps, batch.maps))
    moved = np.linalg.norm((pool.images - images[:, None, None]).reshape(6, -1, 64), axis=2)
    assert moved.max() <= 0.2 + 1e-6


@pytest.mark.parametrize("attack", ["ifia", pytest.param("auto", marks=pytest.mark.slow)])
def test_on_a_linear_network_the_attainable_score_is_the_score(attack):
    """Its gradients never change, so holding them fixed changes nothing."""
    images, labels = toys.digits(8)
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    network = toys.Linear(weights)
    labels = np.argmax(network(tf.constant(images)), axis=1)
    summary = evaluation.evaluate(network, images, labels, attack=attack, **SETTINGS).summary()
    for name in ("kendall", "topk_intersection", "cosine", "spearman"):
        assert summary[name]["attainable"] == pytest.approx(summary[name]["mean"], abs=0.02), name
