"""What a device has room for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf import memory
from rar_tf.experiment import run
from rar_tf.experiment.settings import Experiment

SETTINGS = {"method": "ig_sum_norm", "ig_steps": 6, "attack_ig_steps": 2, "attack_steps": 1, "epsilon": 0.1}


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.layers.Input((4, 4, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
    )


def test_activations_are_those_of_all_layers():
    inner = network()
    assert memory.activations(inner, (4, 4, 1)) == 16 + 8 + 8 + 3
    outer = keras.Sequential([keras.layers.Input((4, 4, 1)), inner])
    assert memory.activations(outer, (4, 4, 1)) >= 16 + 8 + 8 + 3
    assert memory.activations(lambda images: images, (4, 4, 1)) == 64 * 16


def test_a_chunk_fits_into_its_share(monkeypatch):
    each = memory.BYTES_PER_ACTIVATION * 35 * 5
    for room, expected in ((100, None), (6, None), (5.9, 5), (2, 2), (1, 1), (0.5, 1)):
        monkeypatch.setattr(memory, "of_device", lambda: room * each / memory.SHARE)
        assert memory.path_points(network(), (4, 4, 1), 5, 6) == expected


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="has a GPU")
def test_a_cpus_memory_is_that_of_the_machine_or_its_limit(monkeypatch, tmp_path):
    whole = memory.of_device()
    assert 2**28 < whole < 2**50
    (tmp_path / "memory.max").write_text("1000000\n")
    monkeypatch.setattr(memory, "_LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "none")))
    assert memory.of_device() == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.of_device() >= whole


def test_a_run_leaves_no_more_alive_than_fits(monkeypatch):
    settings = Experiment.of({**SETTINGS, "batch_size": 4})
    images, labels = tf.random.stateless_uniform([4, 4, 4, 1], [1, 2]), tf.constant([0, 1, 2, 0], tf.int64)
    weights = {}
    for room, expected in ((2**40, None), (memory.BYTES_PER_ACTIVATION * 35 * 4 * 2 / memory.SHARE, 2)):
        monkeypatch.setattr(memory, "of_device", lambda: room)
        model = run.build_model(network(), settings, (0.0, 1.0))
        assert model.settings.ig_chunk == expected
        model.compile("sgd")
        tf.function(lambda: model.train_step((images, labels)))()
        weights[expected] = model.network.get_weights()
    for one, other in zip(weights[None], weights[2]):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert run.build_model(network(), Experiment.of({**SETTINGS, "ig_chunk": 5}), (0.0, 1.0)).settings.ig_chunk == 5


def test_the_path_of_a_hidden_layer_is_held_at_once(monkeypatch):
    monkeypatch.setattr(memory, "of_device", lambda: 1.0)
    settings = {**SETTINGS, "method": "rar"}
    of = network()
    for layer, expected in (("input", 1), (of.layers[0].name, None)):
        model = run.build_model(of, Experiment.of({**settings, "layer": layer}), (0.0, 1.0))
        assert model.settings.ig_chunk == expected
