"""The attribution attack: its objectives, what it keeps, and its guarantees. Golden values: test_golden_attacks.py."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import metrics
from rar_tf.attacks import OBJECTIVES
from rar_tf.attacks.balls import L2, LINF
from rar_tf.attacks.ifia import Explainer, Ifia, keeps_label
from rar_tf.attacks.pgd import random_starts
from rar_tf.errors import UsageError
from rar_tf.models.surrogate import softplus_surrogate

import toys

BASE = Ifia(epsilon=0.2, step_size=0.05, steps=6, bounds=(0.0, 1.0), k=10, metric_k=8, explainer=Explainer(ig_steps=4))


@pytest.fixture(scope="module")
def setting():
    images, labels = toys.digits(10)
    network = toys.network()
    correct = np.argmax(network(images), 1) == labels
    return network, softplus_surrogate(network), tf.constant(images[correct]), tf.constant(labels[correct])


def attack(setting, start=True, **changes):
    network, surrogate, images, labels = setting
    chosen = dataclasses.replace(BASE, **changes)
    begin = (
        random_starts(images, tf.range(len(labels)), epsilon=chosen.epsilon, ball=chosen.ball, seed=3)
        if start
        else None
    )
    return chosen(network, surrogate, images, labels, begin)


def test_kept_iterates_keep_the_label_the_budget_and_the_pixel_range(setting):
    network, _, images, labels = setting
    kept = attack(setting)
    found = kept.score.numpy() < 1
    assert found.any()
    assert keeps_label(network, kept.images, labels).numpy().all()
    assert np.abs(kept.images - images).max() <= 0.2 + 1e-6
    assert kept.images.numpy().min() >= 0 and kept.images.numpy().max() <= 1
    clean = BASE.explainer(network, images, labels).numpy()
    maps = BASE.explainer(network, kept.images, labels).numpy()
    np.testing.assert_allclose(kept.maps, maps, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(kept.score.numpy()[found], metrics.kendall(clean, kept.maps.numpy())[found], atol=1e-5)


def test_the_curve_falls_to_the_score(setting):
    kept = attack(setting)
    curve = kept.curve.numpy()
    assert curve.shape == (6, len(kept.score)) and (np.diff(curve, axis=0) <= 0).all()
    np.testing.assert_array_equal(curve[-1], kept.score)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_grows_along_the_ascent(setting, objective):
    """Small steps from the image raise each objective of the surrogate's maps."""
    network, surrogate, images, labels = setting
    wanted = np.tri(8)
    chosen = dataclasses.replace(BASE, objective=objective, step_size=1e-3, steps=8, k=10, region=wanted)
    clean = chosen.clean(network, surrogate, images, labels)
    climb = chosen.objective_of(surrogate, clean)
    from rar_tf.attacks.ascent import ascend

    start = tf.clip_by_value(images + 0.02, 0, 1)
    end, _ = ascend(climb, images, start, epsilon=0.2, step_size=1e-3, steps=8, bounds=(0.0, 1.0))
    assert np.mean(climb(end).numpy() > climb(start).numpy()) > 0.7


@pytest.mark.parametrize("measure", ["kendall", "intersection", "spearman", "mass_center"])
def test_measures_choose_the_iterate(setting, measure):
    kept = attack(setting, measure=measure)
    assert (kept.score.numpy() < 1).any()


@pytest.mark.parametrize(
    "kind, protocol", [("saliency", "rar"), ("input_x_gradient", "wk"), ("integrated_gradients", "wk")]
)
def test_other_attributions_and_protocols(setting, kind, protocol):
    kept = attack(setting, explainer=Explainer(kind, protocol, 4))
    assert kept.maps.shape[1] == 64 and (kept.score.numpy() < 1).any()


def test_any_function_can_be_attacked(setting):
    """Smoothed attributions and the like come as functions of target and images."""

    def doubled(target, images):
        from rar_tf.attributions.gradients import saliency_map

        return 2 * saliency_map(target, images)

    by_name = attack(setting, explainer=Explainer("saliency", "rar"))
    np.testing.assert_allclose(attack(setting, explainer=Explainer(doubled, "rar")).score, by_name.score, atol=0.02)


def test_l2_ball(setting):
    kept = attack(setting, ball=L2, epsilon=0.5, step_size=0.2)
    norms = np.linalg.norm((kept.images - setting[2]).numpy().reshape(len(kept.score), -1), axis=1)
    assert norms.max() <= 0.5 + 1e-5 and (kept.score.numpy() < 1).any()


def test_feasible_steps_never_lose_the_label(setting):
    network, _, _, labels = setting
    loose, feasible = (attack(setting, feasible=f, epsilon=0.5, step_size=0.3, steps=5) for f in (False, True))
    assert (feasible.score.numpy() < 1).mean() >= (loose.score.numpy() < 1).mean()
    assert (feasible.score.numpy() < 1).all()


def test_lowest_scores_are_at_most_the_kept_ones(setting):
    kept = attack(setting, track=("topk_intersection", "cosine"))
    clean = BASE.explainer(setting[0], setting[2], setting[3]).numpy()
    assert kept.lowest.shape[1] == 3
    found = kept.score.numpy() < 1
    np.testing.assert_array_less(
        kept.lowest.numpy()[found, 1], metrics.topk_intersection(clean, kept.maps.numpy(), 8)[found] + 1e-6
    )
    np.testing.assert_array_equal(kept.lowest[:, 0], kept.score)


def test_scoring_now_and_then_scores_the_last_iterate(setting):
    kept = attack(setting, score_every=4)
    curve = kept.curve.numpy()
    assert (curve[:3] == 1).all() and (curve[3] == curve[4]).all() and (curve[5] <= curve[4]).all()


def test_a_label_that_always_flips_is_a_fallback(setting):
    network, surrogate, images, labels = setting
    kept = dataclasses.replace(BASE)(network, surrogate, images, (labels + 1) % 10)
    np.testing.assert_array_equal(kept.score, 1)
    np.testing.assert_array_equal(kept.images, images)


def test_a_chunk_size_changes_nothing(setting):
    whole, parts = (attack(setting, explainer=Explainer(ig_steps=4, chunk=c)) for c in (None, 2))
    same = np.mean(np.abs(whole.images - parts.images) < 1e-5, axis=(1, 2, 3))
    assert same.min() > 0.95


def test_compiled_for_any_batch_size(setting):
    network, surrogate, images, labels = setting
    compiled = tf.function(
        lambda x, y: BASE(network, surrogate, x, y),
        input_signature=[tf.TensorSpec([None, 8, 8, 1]), tf.TensorSpec([None], tf.int64)],
    )
    together = compiled(images, labels).images.numpy()
    alone = compiled(images[:1], labels[:1]).images.numpy()
    assert np.mean(np.abs(alone[0] - together[0]) < 1e-5) >= 0.95


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"objective": "nope"}, "unknown objective"),
        ({"measure": "nope"}, "unknown measure"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"steps": 0}, "steps"),
        ({"k": 65}, "1 … 64"),
        ({"metric_k": 0}, "1 … 64"),
        ({"objective": "target", "region": np.ones((3, 3))}, "target"),
        ({"objective": "target_map"}, "--ifia_target"),
    ],
)
def test_settings_that_cannot_be(setting, changes, words):
    with pytest.raises(UsageError, match=words):
        attack(setting, **changes)


def test_linear_network_has_constant_gradients():
    """Saliency maps of a linear network are constant: no attack can change them, and the score says so."""
    network = toys.Linear(np.random.default_rng(0).normal(size=(16, 3)))
    images = tf.constant(np.random.default_rng(1).random((3, 4, 4, 1)).astype(np.float32))
    labels = tf.argmax(network(images), axis=1)
    chosen = Ifia(
        epsilon=0.2,
        step_size=0.1,
        steps=3,
        bounds=(0.0, 1.0),
        k=4,
        metric_k=4,
        ball=LINF,
        explainer=Explainer("saliency"),
    )
    kept = chosen(network, network, images, labels)
    np.testing.assert_array_equal(kept.score, 1)
