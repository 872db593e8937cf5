"""Scores under changes that nobody chose: by hand, from (seed, index) alone, and above the worst case."""

import numpy as np
import pytest

import rar_tf
from rar_tf.data.corruptions import CORRUPTIONS, corrupted
from rar_tf.evaluation.average_case import CHANGES
from rar_tf.evaluation.summary import AVERAGE_SCORES

import toys

SETTINGS = {
    "bounds": (0, 1),
    "epsilon": 0.2,
    "steps": 6,
    "k": 10,
    "metric_k": 8,
    "ig_steps": 4,
    "prediction_attacks": (),
    "faithfulness": False,
}
IMAGES, LABELS = toys.digits(10)


@pytest.fixture(scope="module")
def found():
    return rar_tf.evaluate(toys.network(), IMAGES, LABELS, **SETTINGS)


def test_noise_of_the_budget_does_less_than_an_attack_of_the_budget(found):
    summary = found.summary()
    assert set(summary["average_case_scores"]) == set(CHANGES)
    noise = summary["average_case_scores"]["uniform_noise"]
    assert summary["kendall"]["mean"] < noise["kendall"] < 1
    assert all(0 <= scores["label_kept"] <= 1 for scores in summary["average_case_scores"].values())


def test_tau_a_counts_ties_and_is_no_larger_than_tau_b(found):
    summary = found.summary()
    assert summary["kendall_a"]["median"] <= summary["kendall"]["median"] and summary["kendall_a"]["mean"] > 0


def test_numbers_are_those_of_an_image_whatever_its_batch(found):
    rows = rar_tf.evaluate(toys.network(), IMAGES, LABELS, batch_size=3, **SETTINGS).rows
    names = [f"{change}:{name}" for change in CHANGES for name in AVERAGE_SCORES]
    for name in names:
        np.testing.assert_allclose(
            [row[name] for row in rows if name in row], [row[name] for row in found.rows if name in row], atol=2e-3
        )


def test_a_network_with_one_gradient_has_one_map():
    weights = np.random.default_rng(0).normal(size=(64, 10))
    network = toys.Linear(weights)
    labels = np.argmax(IMAGES.reshape(len(IMAGES), -1) @ weights, axis=1)
    summary = rar_tf.evaluate(network, IMAGES, labels, attribution="saliency", **SETTINGS).summary()
    for scores in summary["average_case_scores"].values():
        assert all(scores[name] == pytest.approx(1) for name in AVERAGE_SCORES)


def test_corruptions_by_hand():
    images = np.linspace(0, 255, 2 * 4 * 4 * 1, dtype=np.float32).reshape(2, 4, 4, 1)
    index, bounds = np.array([7, 3]), (0.0, 255.0)

    def of(name, *, images=images, index=index, seed=0):
        return corrupted(name, images, bounds, index, seed)

    np.testing.assert_allclose(of("brightness"), np.minimum(images + 25.5, 255), rtol=1e-6)
    mean = images.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(of("contrast"), mean + 0.4 * (images - mean), rtol=1e-5)
    flat = np.full_like(images, 100)
    np.testing.assert_allclose(of("gaussian_blur", images=flat), flat, rtol=1e-6)
    noise = of("gaussian_noise")
    assert noise.min() >= 0 and noise.max() <= 255 and (noise != images).any()
    np.testing.assert_array_equal(of("gaussian_noise", images=images[::-1], index=index[::-1])[::-1], noise)
    assert (of("gaussian_noise", seed=1) != noise).any()
    assert all(of(name).dtype == np.float32 for name in CORRUPTIONS)


def test_accuracies_alone_have_none_and_are_shown(capsys):
    from rar_tf.commands import evaluate

    summary = rar_tf.evaluate(toys.network(), IMAGES, LABELS, bounds=(0, 1), epsilon=0.1, attack="none").summary()
    assert "average_case_scores" not in summary
    evaluate.show(summary, "here")
    assert f"natural accuracy {summary['natural_accuracy']:.4f}" in capsys.readouterr().out
