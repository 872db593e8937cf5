"""The attribution attacks against golden values; `golden` says how near they have to be."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import metrics
from rar_tf.attacks.ifia import Explainer, Ifia
from rar_tf.attributions.gradients import gradient
from rar_tf.models.surrogate import softplus_surrogate

import golden
from golden import assert_agrees, unequal

KINDS = {"ig": "integrated_gradients", "simple_gradient": "saliency"}
ATTACKS = [("topK", "kendall"), ("topK", "intersection"), ("mass_center", "mass_center"), ("target", "spearman")]


@pytest.fixture(scope="module", params=golden.cases())
def case(request):
    values = golden.load(request.param)
    network = golden.network(request.param, values)
    return request.param, values, network, softplus_surrogate(network)


def attack(values, kind, objective, measure):
    settings = golden.settings(values)
    return Ifia(
        epsilon=settings["epsilon"],
        step_size=settings["ifia_step_size"],
        steps=settings["ifia_steps"],
        bounds=(0.0, settings["pixel_max"]),
        k=settings["attack_k"],
        metric_k=settings["metric_k"],
        objective=objective.lower(),
        measure=measure,
        explainer=Explainer(KINDS[kind], "rar", settings["ifia_ig_steps"]),
        reference=True,
        region=values["target_map"],
    )


def run(an_attack, network, surrogate, images, labels):
    return an_attack(network, surrogate, tf.constant(images), tf.constant(labels))  # eager: tracing costs more


@pytest.mark.parametrize("kind", KINDS)
def test_saliency_maps(case, kind):
    name, values, network, _ = case
    explainer = Explainer(KINDS[kind], "rar", golden.settings(values)["ifia_ig_steps"])
    labels = tf.constant(values["pred"][:2])
    assert_agrees(
        lambda x: explainer(network, tf.constant(x), labels), network, [values["x"][:2]], values[f"{kind}_saliency"]
    )


@pytest.mark.parametrize("objective, measure", ATTACKS)
@pytest.mark.parametrize("kind", KINDS)
def test_attack(case, kind, objective, measure):
    """Which pixels of the kept images differ, and how far the scores of their maps are apart."""
    name, values, network, surrogate = case
    key, labels, settings = f"{kind}_{objective}_{measure}", values["pred"][:2], golden.settings(values)
    an_attack = attack(values, kind, objective, measure)
    clean = values[f"{kind}_saliency"]

    def attacked(x):
        kept = run(an_attack, network, surrogate, x, labels)
        perturbed, k = kept.maps.numpy(), settings["metric_k"]
        scores = metrics.topk_intersection(clean, perturbed, k), metrics.spearman(clean, perturbed)
        return kept.images.numpy(), np.stack([*scores, metrics.kendall(clean, perturbed)], 1)

    def differs(found, expected):
        pixels = unequal(1e-4 * settings["pixel_max"])
        return pixels(found, expected) if np.ndim(found) == 4 else np.abs(found - expected).max()

    known = values[f"{key}_perturbed"], values[f"{key}_intersection_spearman_kendall"]
    # Ranks of 10,000 features move by some 1e-4 where attributions move by a unit in the last place.
    assert_agrees(attacked, network, [values["x"][:2]], known, distance=differs, least=1e-4)


@pytest.mark.parametrize("objective, measure", ATTACKS)
@pytest.mark.parametrize("kind", KINDS)
def test_first_direction(case, kind, objective, measure):
    _, values, network, surrogate = case
    an_attack, labels = attack(values, kind, objective, measure), tf.constant(values["pred"][:2])

    def direction(x):
        x = tf.constant(x)
        climb = an_attack.objective_of(surrogate, an_attack.clean(network, surrogate, x, labels))
        return np.sign(gradient(climb, x).numpy())

    expected = values[f"{kind}_{objective}_{measure}_direction"]
    assert_agrees(direction, network, [values["x"][:2]], expected, distance=unequal(0), least=0)


def test_batch_equals_single_runs(case):
    _, values, network, surrogate = case
    images, labels = values["x"][:2], values["pred"][:2]
    an_attack = attack(values, "ig", "topK", "kendall")
    alone = [run(an_attack, network, surrogate, images[i : i + 1], labels[i : i + 1]).images.numpy() for i in range(2)]
    assert_agrees(
        lambda x: run(an_attack, network, surrogate, x, labels).images.numpy(),
        network,
        [images],
        np.concatenate(alone),
        distance=unequal(1e-5 * an_attack.bounds[1]),
        least=0,
    )
