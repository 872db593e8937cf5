"""Scores on the device are those of `metrics`, ties, masks and unscored images included."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import metrics
from rar_tf.attacks import scores
from rar_tf.attacks.ifia import Ifia, _scorers
from rar_tf.attacks.objectives import Clean
from rar_tf.attributions.explainer import Explainer
from rar_tf.models.surrogate import softplus_surrogate

import toys

EPSILON, K, METRIC_K = 0.2, 12, 7


def maps_and_images(channels, by_pixel, count=6, side=6):
    """Absolute maps with many zeros and ties, one constant, one of a single feature; other maps; images."""
    rng = np.random.default_rng(channels)
    images = rng.uniform(0, 0.5, (count, side, side, channels)).astype(np.float32)
    shape = (count, side * side * (1 if by_pixel else channels))
    first = np.round(np.maximum(rng.normal(size=shape), 0), 1).astype(np.float32)
    second = np.round(first + np.maximum(rng.normal(0, 0.5, shape), 0), 1).astype(np.float32)
    first[0], first[1] = 0.3, 0
    first[1, 4] = 1
    second[2] = first[2]
    return first, second, images


@pytest.mark.parametrize("at_once", [2**26, 1])
@pytest.mark.parametrize("channels, by_pixel", [(1, True), (3, True), (3, False)])
def test_scores_are_those_of_the_host(channels, by_pixel, at_once, monkeypatch):
    monkeypatch.setattr(scores, "_PAIRS_AT_ONCE", at_once)
    first, second, images = maps_and_images(channels, by_pixel)
    wanted = np.array([True, True, True, True, False, True])
    clean = Clean(images, None, tf.constant(first), None)
    attack = Ifia(EPSILON, 0.1, 1, (0.0, 1.0), K, METRIC_K)
    scorer = scores.scorer(scores.KNOWN, clean, k=K, metric_k=METRIC_K, epsilon=EPSILON, black=0.0)
    found = tf.function(scorer, autograph=False)(tf.constant(second), tf.constant(wanted)).numpy()
    for name, column in zip(scores.KNOWN, found.T):
        expected = _scorers(attack, images.shape[1:3])[name](first, second, images)
        np.testing.assert_allclose(column[wanted], expected[wanted], atol=1e-6, err_msg=name)
        assert column[4] == 1


def test_pairs_of_close_numbers_are_not_tied():
    tiny = np.float32(2e-38) * (1 + np.arange(5, dtype=np.float32) / 2**20)  # differences are no normal numbers
    taus, spearman = scores.rank_correlations(tiny[None], tiny[None, ::-1], tf.ones([1, 5, 1]))
    assert taus.numpy() == -1 and spearman.numpy() == pytest.approx(-1)


def test_what_only_the_host_can_is_left_to_it():
    first, _, images = maps_and_images(1, True)
    given = {"k": K, "metric_k": METRIC_K, "epsilon": EPSILON, "black": 0.0}
    assert scores.scorer(["mass_center"], Clean(images, None, first, None), **given) is None
    wide = np.ones((1, scores.MOST_FEATURES + 1), np.float32)
    assert scores.scorer(["kendall"], Clean(images, None, wide, None), **given) is None


def test_an_attack_scores_on_the_device_as_on_the_host():
    images, labels = toys.digits(5)
    network = toys.network()
    surrogate = softplus_surrogate(network)
    labels = network(images).numpy().argmax(1)
    host = Ifia(
        EPSILON, 0.05, 4, (0.0, 1.0), K, METRIC_K, explainer=Explainer(ig_steps=4), track=("spearman", "cosine")
    )
    found = [
        tf.function(dataclasses.replace(host, on_device=here), autograph=False)(network, surrogate, images, labels)
        for here in (False, True)
    ]
    for one, two in zip(*found):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert np.all(found[1].score.numpy() < 1)
    np.testing.assert_allclose(
        found[1].score,
        metrics.kendall(host.clean(network, surrogate, images, labels).maps.numpy(), found[1].maps),
        1e-5,
    )
