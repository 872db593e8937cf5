"""Attacks on maps: they find what is there, and none goes below a certificate."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf.attacks.balls import L2, LINF
from rar_tf.certification import attack, overlap
from rar_tf.certification.field import attribution_field, unit_field
from rar_tf.certification.smoothing import Smoother
from rar_tf.errors import UsageError

MATRIX = np.diag([3.0, 1.0, 0.5, 2.0]).astype(np.float32)
IMAGE = np.array([0.5, 0.6, -0.7, 0.4], np.float32).reshape(2, 2, 1)


def network(images, training=False):
    flat = tf.reshape(images, [tf.shape(images)[0], -1])
    value = 0.5 * tf.reduce_sum(flat * tf.linalg.matvec(tf.constant(MATRIX), flat), axis=1)
    return tf.stack([value, tf.zeros_like(value)], axis=1)


FIELD = unit_field(attribution_field(network, "saliency"))


@pytest.mark.parametrize("objective", attack.OBJECTIVES)
def test_smoothed_map_is_attacked_but_not_below_its_certificate(objective):
    smoother = Smoother(FIELD, batch_size=1000)
    estimate = smoother.estimate(IMAGE, 0, 0.5, 20_000, seed=0)
    epsilon = overlap.largest_epsilon(estimate.norm_low(0.99), 0.5, 0.8, 4)
    attacker = attack.SmoothedMapAttack(
        FIELD, FIELD, k=2, restarts=6, restarts_at_once=4, steps=40, objective=objective
    )
    worst = attack.worst_of({"cosine": attacker}, smoother, IMAGE, 0, epsilon, 0.5, num_samples=20_000)["cosine"]
    assert np.linalg.norm(worst.image - IMAGE) <= epsilon * (1 + 1e-5)
    assert 0.8 <= worst.score < 0.9999
    assert worst.inside == pytest.approx(worst.score, abs=0.05)
    points, cosines = attacker.attack(IMAGE, 0, epsilon, 0.5)
    assert len(points) == len(cosines) == 6 and np.all(np.diff(cosines) >= 0)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_maps_of_any_length_have_their_cosine(scale):
    clean, maps = scale * tf.constant([[3.0, 4.0]]), scale * tf.constant([[4.0, 3.0], [-3.0, -4.0]])
    np.testing.assert_allclose(attack.COSINE.inside(clean, maps), [0.96, -1], rtol=1e-6)


def test_plain_map_attack_finds_the_worst_direction():
    attacker = attack.SmoothedMapAttack(FIELD, FIELD, restarts=4, restarts_at_once=4, steps=100, relative_step=1 / 6)
    _, cosines = attacker.attack(IMAGE, 0, 0.3, None)
    rng = np.random.default_rng(0)
    moves = rng.normal(size=(200_000, 4))
    moved = (IMAGE.ravel() + 0.3 * moves / np.linalg.norm(moves, axis=1, keepdims=True)) @ MATRIX
    clean = MATRIX @ IMAGE.ravel()
    least = np.min(moved @ clean / np.linalg.norm(moved, axis=1) / np.linalg.norm(clean))
    assert cosines[0] == pytest.approx(least, abs=2e-3)


@pytest.mark.parametrize("ball, expected", [(L2, 0.1 * 3.0), (LINF, 0.1 * np.sqrt(9 + 1 + 0.25 + 4))])
def test_largest_change_of_a_linear_map_is_its_bound(ball, expected):
    """The saliency map Ax moves by ‖Aδ‖: at most ε·3 in the ℓ2 ball, ε·‖diag A‖ at a corner of the cube."""
    search = attack.LargestChange(
        attribution_field(network, "saliency"),
        network,
        objective="distance",
        ball=ball,
        steps=40,
        relative_step=0.25,
        bounds=(-10.0, 10.0),
    )
    found = search(IMAGE, 0, 0.1)
    assert found["change"] == pytest.approx(expected, rel=1e-3)
    assert found["change_kept"] == pytest.approx(found["change"])
    assert 0 < found["cosine"] < 1


@pytest.mark.parametrize("objective", ["loss", "top_k"])
def test_papers_attacks_move_the_map_less_than_the_direct_one(objective):
    found = {}
    for name in (objective, "distance"):
        search = attack.LargestChange(
            attribution_field(network, "saliency"),
            network,
            objective=name,
            ball=L2,
            steps=40,
            relative_step=0.25,
            bounds=(-10.0, 10.0),
            k=2,
        )
        found[name] = search(IMAGE, 0, 0.1)["change"]
    assert 0 < found[objective] <= found["distance"] * (1 + 1e-4)


def test_unknown_objectives_are_refused():
    with pytest.raises(UsageError, match="unknown objective"):
        attack.SmoothedMapAttack(FIELD, FIELD, objective="spearman")
    with pytest.raises(UsageError, match="unknown objective"):
        attack.LargestChange(FIELD, network, objective="kendall", ball=L2, steps=1, relative_step=1, bounds=(0, 1))


def test_direct_ascent_of_the_cosine_finds_more_than_the_top_k():
    found = {
        objective: attack.SmoothedMapAttack(
            FIELD, FIELD, k=2, restarts=6, restarts_at_once=6, steps=40, objective=objective
        ).attack(IMAGE, 0, 0.3, 0.5)[1][0]
        for objective in ("topk", "cosine")
    }
    assert found["cosine"] < found["topk"] < 1


@pytest.mark.parametrize(
    "score, objective", [(attack.top_k_score(2), "topk_soft"), (attack.kendall_score(), "kendall")]
)
def test_ranks_are_attacked_by_what_is_reported(score, objective):
    attacker = attack.SmoothedMapAttack(
        FIELD, FIELD, k=2, restarts=4, restarts_at_once=4, steps=40, objective=objective, score=score
    )
    points, scores = attacker.attack(IMAGE, 0, 1.5, 0.5)
    assert scores[0] < 1
    smoother = Smoother(FIELD, batch_size=1000)
    worst = attack.worst_of({"topk": attacker}, smoother, IMAGE, 0, 1.5, 0.5, num_samples=5000)["topk"]
    assert worst.score < 1 and np.linalg.norm(worst.image - IMAGE) <= 1.5 * (1 + 1e-5)


@pytest.mark.parametrize("method", ["rank_smoothing", "curvature"])
def test_ranks_of_a_single_pixel_are_attacked(method):
    network = keras.Sequential([keras.layers.Input((1, 1, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    images = np.full((1, 1, 1, 3), 0.5, np.float32)
    labels = np.argmax(network(images), 1)
    options = dict(k=1, certificate_attack=1, certificate_attack_restarts=2, certify_epsilons=0.1)
    found = rar_tf.certify(network, images, labels, method=method, bounds=(0, 1), attribution="saliency", **options)
    assert found.rows[0]["certified_topk"] == found.rows[0]["attack_topk"] == 1 and found.rows[0]["violation"] == 0
