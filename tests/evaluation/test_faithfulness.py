"""Maps that say nothing are found out: by pixels put in and taken out, and by shuffled weights."""

import types

import numpy as np
import pytest
from scipy import special

import rar_tf
from rar_tf import metrics
from rar_tf.evaluation import faithfulness
from rar_tf.evaluation.measurement import Batch
from rar_tf.evaluation.summary import FAITHFULNESS

import toys

SETTINGS = {
    "bounds": (0, 1),
    "epsilon": 0.2,
    "steps": 3,
    "k": 10,
    "metric_k": 8,
    "ig_steps": 4,
    "pgd_steps": 2,
}


@pytest.fixture(scope="module")
def of_gradients():
    return rar_tf.evaluate(toys.network(), *toys.digits(12), **SETTINGS)


def test_columns_and_statistics(of_gradients):
    summary = of_gradients.summary()
    attacked = [row for row in of_gradients.rows if row["correct"]]
    for name in FAITHFULNESS:
        values = [row[name] for row in attacked]
        assert summary[name]["mean"] == pytest.approx(np.mean(values)) and np.isfinite(values).all()
    assert summary["insertion"]["mean"] > summary["deletion"]["mean"] + 0.1  # these maps do say something
    assert summary["randomisation_spearman"]["mean"] < 0.6
    assert not any("what the network looks at" in warning for warning in summary["warnings"])


def test_the_network_has_its_weights_back():
    network, before = toys.network(), [value.copy() for value in toys.network().get_weights()]
    with faithfulness.shuffled(network.weights, 0):
        for new, old in zip(network.get_weights(), before):
            np.testing.assert_array_equal(np.sort(new.ravel()), np.sort(old.ravel()))
        assert any((new != old).any() for new, old in zip(network.get_weights(), before))
    with pytest.raises(KeyboardInterrupt), faithfulness.shuffled(network.weights, 0):
        raise KeyboardInterrupt
    for new, old in zip(network.get_weights(), before):
        np.testing.assert_array_equal(new, old)


def test_a_map_that_knows_nothing_of_the_network_is_found_out():
    def edges(target, images):  # the same whatever the network is
        return images

    summary = rar_tf.evaluate(toys.network(), *toys.digits(6), attribution=edges, **SETTINGS).summary()
    assert summary["randomisation_spearman"]["mean"] == pytest.approx(1)
    assert any("weights are shuffled" in warning for warning in summary["warnings"])


def test_a_map_that_ranks_the_wrong_way_round_is_found_out():
    def backwards(target, images):
        return -rar_tf.input_x_gradient(target, images)

    summary = rar_tf.evaluate(
        toys.network(), *toys.digits(12), attribution=backwards, protocol="wk", **SETTINGS
    ).summary()
    assert summary["insertion"]["mean"] < summary["deletion"]["mean"]
    assert any("what the network looks at" in warning for warning in summary["warnings"])


def test_insertion_and_deletion_by_hand():
    """Of f(x) = xW + b with two pixels: the label's probability with no pixel, the first ranked one, and both."""
    weights = np.array([[2.0, 0.0], [1.0, 0.0]], np.float32)
    network, image = toys.Linear(weights, np.array([-1.0, 0.0], np.float32)), np.ones((1, 1, 2, 1), np.float32)
    found = rar_tf.evaluate(network, image, np.array([0]), **{**SETTINGS, "k": 1, "metric_k": 1, "epsilon": 0.01})
    p = {pixels: special.expit(2.0 * pixels[0] + pixels[1] - 1.0) for pixels in ((0, 0), (1, 0), (0, 1), (1, 1))}
    # 20 steps: the first pixel, which the map ranks first, changes after share 0, the second after share 1/2.
    steps = faithfulness.Faithfulness.STEPS
    shares = np.linspace(0, 1, steps + 1)
    put_in = [p[0, 0] if s == 0 else p[1, 0] if s <= 0.5 else p[1, 1] for s in shares]
    taken_out = [p[1, 1] if s == 0 else p[0, 1] if s <= 0.5 else p[0, 0] for s in shares]
    area = lambda values: (np.sum(values) - (values[0] + values[-1]) / 2) / steps
    assert found.rows[0]["insertion"] == pytest.approx(area(put_in), abs=1e-5)
    assert found.rows[0]["deletion"] == pytest.approx(area(taken_out), abs=1e-5)
    assert "randomisation_spearman" not in found.rows[0]  # a function has no weights that could be shuffled


def test_relative_stability_by_hand():
    before, after = np.array([[1.0, 2.0, 0.0]]), np.array([[2.0, 1.0, 0.0]])
    assert metrics.relative_change(before, after)[0] == pytest.approx(np.hypot(1.0, 0.5))
    assert metrics.relative_change(before, before + [[0, 0, 1e-3]])[0] == pytest.approx(1e3)


def test_relative_stability_divides_by_the_change_of_the_image_and_of_the_logits():
    linear = types.SimpleNamespace(
        network=None, logits=lambda images: images.reshape(-1, 2) @ [[1.0, -1.0], [2.0, 0.0]]
    )
    measured = faithfulness.Faithfulness(linear, types.SimpleNamespace(baseline=0.0, seed=0), maps=None)
    images, perturbed = np.array([[0.5, 0.25]]).reshape(1, 1, 2, 1), np.array([[0.6, 0.25]]).reshape(1, 1, 2, 1)
    maps, after = np.array([[1.0, 2.0]]), np.array([[1.0, 1.0]])
    found = measured(Batch(np.array([0]), images, np.array([0]), maps, perturbed, after))
    assert found["relative_input_stability"] == pytest.approx(0.5 / 0.2)
    assert found["relative_output_stability"] == pytest.approx(0.5 / np.hypot(0.1, 0.1))


def test_gini_by_hand():
    maps = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0], [-1.0, 3.0, 0.0, 0.0]])
    pairs = np.abs(np.abs(maps)[:, :, None] - np.abs(maps)[:, None]).mean(axis=(1, 2))
    expected = pairs / (2 * np.maximum(np.abs(maps).mean(axis=1), 1e-12))  # half the relative mean difference
    np.testing.assert_allclose(metrics.gini(maps), expected, atol=1e-12)


def test_it_can_be_left_out():
    found = rar_tf.evaluate(toys.network(), *toys.digits(4), faithfulness=False, **SETTINGS)
    assert not set(FAITHFULNESS) & set(found.summary())
