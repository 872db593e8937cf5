"""docs/neighbours.md: attributions of others can be attacked, and Quantus's metrics run on a network of ours."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import metrics

import toys
from conftest import ROOT

DEEP_LIFT, XPLIQUE, QUANTUS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "neighbours.md").read_text(), re.S)
NAMES = ("network", "images", "labels")


def attributed():
    """What the page's first example leaves before it evaluates."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="relu", bias_initializer="normal"),
            keras.layers.Dense(10),
        ]
    )
    network = keras.Model(network.inputs, network.outputs)
    images = toys.digits(4)[0]
    names = {"network": network, "images": images, "labels": network(images).numpy().argmax(axis=1)}
    exec(compile(DEEP_LIFT.partition("found = ")[0], "docs/neighbours.md", "exec"), names)
    return names


def evaluated(names, attribution):
    given = {"bounds": (0, 1), "epsilon": 0.1, "steps": 2, "k": 10, "metric_k": 8, "pgd_steps": 1}
    found = rar_tf.evaluate(*(names[name] for name in NAMES), attribution=attribution, **given).summary()
    assert found["kendall"]["mean"] < 1 and found["fallback_rate"] < 1
    assert found["randomisation_spearman"]["mean"] < 0.95  # shuffled weights reach the clone


def test_deep_lift_adds_up_to_the_change_of_the_logit():
    names = attributed()
    network, images, labels = (names[name] for name in NAMES)

    def logits(values):
        return network(values).numpy()[np.arange(len(labels)), labels]

    for baseline in (0.0, 0.5):
        maps = rar_tf.explain(network, images, labels, attribution=names["deep_lift"](network, baseline))
        change = logits(images) - logits(np.full_like(images, baseline))
        np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), change, rtol=1e-4, atol=1e-5)
        assert np.abs(maps - rar_tf.explain(network, images, labels, attribution="input_x_gradient")).max() > 1e-3


@pytest.mark.slow
def test_deep_lift_is_attacked():
    names = attributed()
    assert "found = rar_tf.evaluate(network, images, labels, bounds=(0, 1), epsilon=0.1, attribution=" in DEEP_LIFT
    evaluated(names, names["deep_lift"](names["network"]))


@pytest.mark.slow
def test_attributions_of_xplique():
    attributions = pytest.importorskip("xplique.attributions", reason="xplique is no dependency")
    names = attributed()
    exec(compile(XPLIQUE, "docs/neighbours.md", "exec"), names)
    theirs = attributions.GuidedBackprop(names["network"]).explain(names["images"], tf.one_hot(names["labels"], 10))
    np.testing.assert_array_equal(names["maps"], theirs)
    evaluated(names, names["guided_backprop"])


@pytest.mark.slow
def test_metrics_of_quantus():
    pytest.importorskip("quantus", reason="Quantus is no dependency")
    names = attributed()
    exec(compile(QUANTUS, "docs/neighbours.md", "exec"), names)
    maps = np.abs(names["maps"]).reshape(4, -1)
    more = 1 + 1e-7 * maps.max() / maps.mean(axis=1)  # Quantus adds 1e-7 to each, the batch's largest being 1
    np.testing.assert_allclose(names["sparseness"], metrics.gini(maps) / more, rtol=1e-6)
    assert np.isfinite(names["sensitivity"]).all() and np.isfinite(names["correlation"]).all()
