"""CACR and WACR: both variants by numpy and scipy."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import rar_tf

from by_hand import CHANGED, CLEAN, LABELS, B, W, cross_entropy, integrated, probabilities, probability_gradient, terms
from tiny_networks import linear, pixels

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_cacr_equals_numpy(scale):
    found = terms("cacr_wacr", ig_steps=4, attack_ig_steps=2, cacr_weight=0.7, attribution_scale=scale)["cacr"]
    for value, changed, label in zip(found, CHANGED, LABELS):
        rival = np.argmax(np.where(np.arange(3) == label, -1, probabilities(changed)))
        p_true, p_rival = (
            scipy.special.softmax(scale * integrated(probability_gradient(c), 0 * changed, changed, 4))
            for c in (label, rival)
        )
        uniform = np.full(2, 0.5)
        expected = scipy.stats.entropy(uniform, p_rival) - scipy.stats.entropy(uniform, p_true)
        assert value == pytest.approx(0.7 * expected, rel=1e-9)


def test_cacr_of_the_code_chooses_the_rival_at_every_point():
    def rival_gradient(x):
        p = np.where(np.arange(3) == 0, -1, probabilities(x))
        return probability_gradient(np.argmax(p))(x)

    # Along this path the strongest wrong class of class 0 changes from 2 to 1.
    changed = np.array([0.1, 0.9])
    rivals = {int(np.argmax(probabilities(t * changed)[1:])) for t in (0.25, 1.0)}
    assert len(rivals) == 2
    network = {"clean": [changed], "changed": [changed], "labels": [0], "ig_steps": 4, "attack_ig_steps": 2}
    found = {
        variant: terms("cacr_wacr", variant=variant, attribution_scale=40.0, **network)["cacr"][0]
        for variant in ("paper", "code")
    }
    spread = scipy.special.softmax(40 * integrated(rival_gradient, 0 * changed, changed, 4))
    skewed = scipy.special.softmax(40 * integrated(probability_gradient(0), 0 * changed, changed, 4))
    uniform = np.full(2, 0.5)
    assert found["code"] == pytest.approx(scipy.stats.entropy(uniform, spread) - scipy.stats.entropy(uniform, skewed))
    assert abs(found["code"] - found["paper"]) > 1e-3


def test_cacr_without_contrast_and_its_limit():
    alone = terms("cacr_wacr", ig_steps=2, attack_ig_steps=2, attribution_scale=1e4, cacr_contrast=False)["cacr"]
    np.testing.assert_array_equal(alone, [-10.0, -10.0])
    free = terms("cacr_wacr", ig_steps=2, attack_ig_steps=2, attribution_scale=1e4, cacr_contrast=False, cacr_limit=1e9)
    assert np.all(free["cacr"] < -100.0) and np.all(np.isfinite(free["cacr"]))


def wacr(base, change):
    return sum(abs(a * d) if np.sign(a) == np.sign(d) else abs(d) for a, d in zip(base, change))


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("delta", ["path", "difference"])
@pytest.mark.parametrize("with_base", [True, False])
def test_wacr_equals_numpy(variant, delta, with_base):
    found = terms(
        "cacr_wacr",
        ig_steps=4,
        attack_ig_steps=2,
        wacr_weight=0.4,
        attribution_weight=2.0,
        variant=variant,
        delta_attribution=delta,
        wacr_base=with_base,
    )["wacr"]
    for value, clean, changed, label in zip(found, CLEAN, CHANGED, LABELS):

        def of_log(x, label=label):
            return probability_gradient(label)(x) / probabilities(x)[label]

        gradient = of_log if variant == "code" else probability_gradient(label)
        base = integrated(probability_gradient(label), 0 * clean, clean, 4)
        if delta == "path":
            change = integrated(gradient, clean, changed, 4)
        else:
            change = integrated(gradient, 0 * clean, changed, 4) - integrated(gradient, 0 * clean, clean, 4)
        expected = wacr(base, change) if with_base else np.abs(change).sum()
        assert value == pytest.approx(0.8 * expected, rel=1e-9)


def test_wacr_counts_a_pixel_without_base_attribution_as_changed():
    assert wacr([0.0, 1.0], [0.3, 0.2]) == pytest.approx(0.3 + 0.2)
    network = linear([[1.0, 0.0], [1.0, 0.0]])
    found = terms("cacr_wacr", network, [[0.0, 0.5]], [[0.1, 0.5]], [0], ig_steps=1, attack_ig_steps=1)["wacr"]
    p = 1 / (1 + np.exp(-0.6))
    assert found[0] == pytest.approx(0.1 * p * (1 - p))


def test_cacr_wacr_adversary_climbs_the_loss_and_the_size_of_its_attribution():
    model = rar_tf.CacrWacr(linear(W, B), ig_steps=4, attack_ig_steps=2, attribution_weight=0.0)
    found = model.adversary(pixels(*CLEAN), tf.constant(LABELS))(pixels(*CHANGED))
    for value, loss, clean, changed, label in zip(found, cross_entropy(CHANGED), CLEAN, CHANGED, LABELS):
        change = integrated(lambda x, y=label: W @ (probabilities(x) - np.eye(3)[y]), clean, changed, 2)
        assert float(value) == pytest.approx(loss + np.abs(change).sum(), rel=1e-12)
