"""bfloat16 products: float32 attributions, weights and exports, and how far off the gradients are."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import models
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.experiment import run as experiment
from rar_tf.models.precision import set_compute_dtype


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name, shape", [("tiny_cnn", (28, 28, 1)), ("resnet_1", (16, 16, 3))])
def test_attributions_and_weight_gradients_in_bfloat16(seeded, name, shape):
    network = models.build(name, shape, 10)
    images, labels = tf.random.stateless_uniform([3, *shape], [1, 2]), tf.constant([1, 2, 3])
    model = rar_tf.IGSumNorm(network, epsilon=0.1, ig_steps=4, attack_ig_steps=2)

    def measure():
        maps = integrated_gradients(Target(network, labels), images, steps=4)
        with tf.GradientTape() as tape:
            loss = tf.add_n(
                [
                    tf.reduce_sum(term)
                    for term in model.loss_terms(images, tf.clip_by_value(images + 0.1, 0.0, 1.0), labels).values()
                ]
            )
        gradients = tape.gradient(loss, network.trainable_variables)
        assert maps.dtype == tf.float32 and all(gradient.dtype == tf.float32 for gradient in gradients)
        return maps.numpy(), np.concatenate([gradient.numpy().ravel() for gradient in gradients])

    exact = measure()
    set_compute_dtype(network, "bfloat16")
    assert network(images).dtype == tf.float32
    rounded = measure()
    set_compute_dtype(network, "float32")
    for before, during, after in zip(exact, rounded, measure()):
        np.testing.assert_array_equal(after, before)
        assert 1e-5 < relative(during, before) < 0.2


def test_a_run_in_bfloat16_exports_a_float32_network(tmp_path):
    run = experiment.train(
        dict(
            model="tiny_cnn",
            method="madry",
            batch_size=8,
            attack_steps=2,
            steps=2,
            ifia_steps=2,
            ifia_ig_steps=2,
            ifia_k=10,
            ifia_metric_k=10,
            eval_pgd_steps=2,
            eval_examples=2,
            compute_dtype="bfloat16",
            model_dir=str(tmp_path / "run"),
        )
    )
    loaded = keras.saving.load_model(run.folder / "model.keras")
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
    assert {variable.dtype for variable in loaded.variables} == {"float32"}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float64"])
def test_networks_of_other_dtypes_are_explained_and_evaluated(seeded, policy):
    built = [keras.layers.Conv2D(4, 3, activation="relu", dtype=policy) for _ in range(2)]
    last = keras.layers.Dense(3, dtype="float64" if policy == "float64" else "float32")
    network = keras.Sequential([keras.layers.Input((8, 8, 1)), *built, keras.layers.Flatten(dtype=policy), last])
    images = np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32)
    labels = np.argmax(network(images), axis=1)
    assert rar_tf.explain(network, images, attribution="occlusion").any()
    settings = {"steps": 2, "k": 5, "metric_k": 5, "ig_steps": 4, "pgd_steps": 2, "average_case": False}
    summary = rar_tf.evaluate(network, images, labels, bounds=(0, 1), epsilon=0.1, **settings).summary()
    assert summary["natural_accuracy"] == 1 and np.isfinite(summary["kendall"]["mean"])


def test_logits_of_another_dtype_than_images_are_not_trained():
    layers = [keras.layers.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, dtype="float64")]
    with pytest.raises(rar_tf.UsageError, match="the logits are float64, and images and losses float32"):
        rar_tf.Natural(keras.Sequential(layers))
