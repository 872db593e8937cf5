"""attack="auto" is the worst case over its members, so never above plain IFIA."""

import numpy as np
import pytest

from rar_tf.attacks import ensemble
from rar_tf.evaluation import evaluator as evaluation
from rar_tf.evaluation.measurements import AttributionAttack
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.subject import Subject

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
        for name in evaluation.SCORES if plain["correct"] else ():
            assert auto[name] <= auto[f"plain:{name}"] + 1e-9
            # the plain member is plain IFIA itself, up to rounding in a graph that is compiled anew
            assert auto[f"plain:{name}"] == pytest.approx(plain[name], abs=0.05) or auto[name] <= plain[name]


def test_members_are_reported(both):
    summary = both[1].summary()
    assert set(summary["members"]) == {"plain", *(member.name for member in ensemble.MEMBERS)}
    assert summary["kendall"]["mean"] <= min(m["kendall"] for m in summary["members"].values()) + 1e-9
    assert sum(m["lowest_on"] for m in summary["members"].values()) >= 1 - 1e-9
    assert "members" not in both[0].summary()


def test_members_share_the_plain_attacks_budget_and_never_lose_a_label():
    settings = EvaluationSettings(attack="auto", **SETTINGS).resolved()
    runs = AttributionAttack(Subject(toys.network()), settings).runs
    plain = runs[0][1]
    for _, member, _ in runs[1:]:
        assert (member.epsilon, member.ball, member.bounds, member.steps) == (
            plain.epsilon,
            plain.ball,
            plain.bounds,
            plain.steps,
        )
        assert member.feasible and not plain.feasible
        sizes = [float(member.step_size(step)) for step in range(member.steps)]
        assert (np.diff(sizes) < 0).all() and min(sizes) > 0
