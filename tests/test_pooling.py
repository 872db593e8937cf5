"""Exact max-pooling, and what XLA makes of second-order gradients."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf import models, objectives
from rar_tf.errors import UsageError
from rar_tf.models.pooling import ExactMaxPooling2D, with_exact_pooling


@pytest.mark.parametrize("size,padding", [(2, "valid"), (2, "same"), (3, "same"), ((2, 3), "valid")])
def test_values_and_gradients_are_those_of_keras(size, padding):
    # Values from a few levels, so that many windows have ties.
    images = tf.constant(np.random.RandomState(0).randint(0, 3, [2, 7, 8, 3]).astype("float32"))
    found = []
    for kind in (keras.layers.MaxPooling2D, ExactMaxPooling2D):
        with tf.GradientTape() as tape:
            tape.watch(images)
            pooled = kind(size, padding=padding)(images)
            total = tf.reduce_sum(pooled * tf.reshape(tf.range(tf.size(pooled), dtype=tf.float32), tf.shape(pooled)))
        found.append((pooled, tape.gradient(total, images)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


def weight_gradients(network, jit_compile):
    model = objectives.get("ig_norm")(network, epsilon=0.1, ig_steps=4, attack_ig_steps=2)
    images = tf.random.stateless_uniform([3, 28, 28, 1], [1, 2])

    @tf.function(jit_compile=jit_compile)
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model.loss_terms(images, images + 0.1, tf.constant([1, 2, 3]))["attribution"])
        return tape.gradient(loss, network.trainable_variables)

    return np.concatenate([g.numpy().ravel() for g in gradients()])


def test_second_order_gradients_with_and_without_xla(seeded):
    network = models.build("tiny_cnn", (28, 28, 1), 10)
    exact = with_exact_pooling(network)
    plain = weight_gradients(network, False)

    def gap(other):
        return np.linalg.norm(other - plain) / np.linalg.norm(plain)

    assert gap(weight_gradients(exact, False)) < 1e-5
    assert gap(weight_gradients(exact, True)) < 1e-4
    # The reason for all this. If this fails, XLA has been mended and the exact pooling can go.
    assert gap(weight_gradients(network, True)) > 1e-3


def test_training_with_xla_is_training(tmp_path):
    from rar_tf import experiment
    from rar_tf.config import Settings
    settings = Settings(model="tiny_cnn", method="ig_sum_norm", batch_size=8, epsilon=0.1, attack_steps=2, ig_steps=2,
                        attack_ig_steps=1, steps=3, model_dir=str(tmp_path), optimizer="sgd", learning_rate=[0.01],
                        attribution_weight=1.0)
    weights = []
    for jit_compile in (False, True):
        run = experiment.build(settings.replace(jit_compile=jit_compile))
        batch = next(iter(experiment.pipeline.batches(run.record, run.splits.train, 8, seed=0)))

        def step(images, labels):  # from a given start: XLA's random numbers are others
            return run.model.minimise(images, run.model.perturb(images, labels, images + 0.05), labels)

        tf.function(step, jit_compile=jit_compile)(*batch)
        weights.append(np.concatenate([w.ravel() for w in run.network.get_weights()]))
    # A sign step of the adversary may flip within rounding.
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-3 * np.abs(weights[0]).max())


def test_overlapping_windows_are_refused():
    network = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.MaxPooling2D(3, strides=2)])
    with pytest.raises(UsageError, match="do not overlap"):
        with_exact_pooling(network)


def test_networks_without_max_pool_stay_as_they_are():
    network = models.build("resnet_1", (8, 8, 3), 3)
    assert with_exact_pooling(network) is network
