"""docs/extending.md: its examples work."""

import re

import numpy as np
import pytest

import rar_tf
from rar_tf.attacks import ensemble
from rar_tf.attacks.ensemble import Member  # noqa: F401  the example's
from rar_tf.attributions import ATTRIBUTIONS

import toys
from conftest import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.S)
FEW = {"epsilon": 0.2, "steps": 3, "k": 10, "metric_k": 8, "pgd_steps": 2}


@pytest.fixture
def squared_gradient(monkeypatch):
    monkeypatch.setattr(ATTRIBUTIONS, "_places", dict(ATTRIBUTIONS._places))
    names: dict = {}
    exec(BLOCKS[0], names)
    return names["squared_gradient"]


def test_an_attribution_is_an_entry_that_evaluations_and_certificates_know(squared_gradient):
    images, labels = toys.digits(4)
    named = rar_tf.evaluate(toys.network(), images, labels, bounds=(0, 1), attribution="squared_gradient", **FEW)
    given = rar_tf.evaluate(toys.network(), images, labels, bounds=(0, 1), attribution=squared_gradient, **FEW)
    for one, other in zip(named.rows, given.rows):
        assert one.get("kendall") == pytest.approx(other.get("kendall"), abs=0.02)
    assert named.settings["attribution"] == "squared_gradient"
    proof = rar_tf.certify(
        toys.network(),
        images[:1],
        labels[:1],
        method="uniform_smoothing",
        attribution="squared_gradient",
        bounds=(0, 1),
        num_samples=100,
        radius=1.0,
    )
    assert len(proof.rows) == 1 and np.isfinite(proof.rows[0]["norm"])


def test_a_member_is_a_line(monkeypatch):
    member = eval(BLOCKS[1])
    monkeypatch.setattr(ensemble, "MEMBERS", (member,))
    images, labels = toys.digits(4)
    found = rar_tf.evaluate(toys.network(), images, labels, bounds=(0, 1), attack="auto", ig_steps=4, **FEW)
    assert member.name in found.summary()["members"]
