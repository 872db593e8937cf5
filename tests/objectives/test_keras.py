"""What Keras users rely on: regularisers, metrics and callbacks of their own, checks, and one policy for all."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import rar_tf
from rar_tf.errors import UsageError

import toys


def network(**options):
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, name="last", **options)])


def model(kind=rar_tf.Natural, of=None, **options):
    settings = {} if kind is rar_tf.Natural else {"epsilon": 0.1, "steps": 2}
    made = kind(of or network(), bounds=(0, 1), **settings)
    made.compile(keras.optimizers.SGD(0.1), **options)
    return made


@pytest.fixture(scope="module")
def data():
    return toys.digits(24)


@pytest.mark.parametrize("parts", [None, 5])
def test_the_regularisers_of_layers_are_minimised_as_keras_does(data, parts):
    of, plain = (network(kernel_regularizer=keras.regularizers.L2(0.05)) for _ in range(2))
    ours = rar_tf.Natural(of, bounds=(0, 1), micro_batch=parts)
    ours.compile(keras.optimizers.SGD(0.1))
    plain.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    first, second = (
        each.fit(*data, batch_size=8, epochs=2, shuffle=False, verbose=0).history for each in (ours, plain)
    )
    for one, other in zip(of.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(one, other, atol=2e-6)
    assert first["regularization"][-1] > 0.01
    assert first["loss"][-1] == pytest.approx(first["cross_entropy"][-1] + first["regularization"][-1], rel=1e-5)
    assert first["loss"][0] == pytest.approx(second["loss"][0], rel=1e-4)


@pytest.mark.parametrize("parts", [None, 5])
def test_a_network_that_knows_no_input_shape_trains_as_one_that_does(data, parts):
    options, found = {"kernel_regularizer": "l2", "bias_initializer": "ones", "kernel_initializer": "ones"}, []
    for first in ([layers.Input((8, 8, 1))], []):
        of = keras.Sequential([*first, layers.Flatten(), layers.Dense(10, **options)])
        trained = rar_tf.Madry(of, epsilon=0.1, steps=2, bounds=(0, 1), micro_batch=parts)
        trained.compile(keras.optimizers.SGD(0.1))
        found.append(trained.fit(*data, batch_size=8, shuffle=False, verbose=0).history)
    assert found[0] == found[1] and found[0]["regularization"][0] > 0


def test_an_activity_regulariser_is_named(caplog):
    model(of=network(activity_regularizer="l2"))
    assert "last: its activity regulariser is no part of the loss" in caplog.text


def test_metrics_of_one_s_own_stand_beside_those_of_the_method(data):
    trained = model(rar_tf.Madry, metrics=["accuracy"])
    found = trained.fit(*data, batch_size=8, validation_data=data, verbose=0).history
    assert set(found) == {
        *("loss", "cross_entropy", "accuracy"),
        *("val_loss", "val_natural_accuracy", "val_adversarial_accuracy", "val_accuracy"),
    }
    assert found["val_accuracy"] == found["val_natural_accuracy"]


def test_callbacks_that_keep_weights(data, tmp_path):
    trained = model(rar_tf.Madry)
    keeping = keras.callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", save_weights_only=True)
    trained.fit(*data, verbose=0, callbacks=[keeping, keras.callbacks.BackupAndRestore(tmp_path / "backup")])
    kept = [each.copy() for each in trained.network.get_weights()]
    trained.network.set_weights([0 * each for each in kept])
    trained.load_weights(tmp_path / "best.weights.h5")
    for one, other in zip(trained.network.get_weights(), kept):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("weights", ["sample_weight", "class_weight", "data set"])
def test_weights_are_refused_and_the_next_fit_goes_well(data, weights):
    trained, (images, labels) = model(), data
    with pytest.raises(UsageError, match="weights"):
        if weights == "data set":
            trained.fit(tf.data.Dataset.from_tensor_slices((images, labels, labels)).batch(8), verbose=0)
        else:
            trained.fit(*data, verbose=0, **{weights: {0: 1.0} if weights == "class_weight" else np.ones(24)})
    trained.fit(*data, verbose=0)


def test_evaluate_checks_as_fit_does(data):
    trained, (images, labels) = model(rar_tf.Madry), data
    for wrong, words in (((255 * images, labels), "pixel range"), ((images, np.eye(10)[labels]), "class numbers")):
        with pytest.raises(UsageError, match=words):
            trained.evaluate(*wrong, verbose=0)
    with pytest.raises(UsageError, match="batch_size"):
        trained.evaluate(*data, batch_size=0, verbose=0)


def test_the_loss_of_evaluate_does_not_depend_on_the_batches(data):
    trained = model()
    first, second = (trained.evaluate(*data, batch_size=size, verbose=0, return_dict=True) for size in (7, 24))
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-6)


def test_probabilities_of_a_network_inside_a_network_are_seen():
    inner = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, "softmax")])
    outer = keras.Sequential([layers.Input((8, 8, 1)), layers.Rescaling(2.0), inner])
    with pytest.raises(UsageError, match="softmax"):
        rar_tf.Natural(outer, bounds=(0, 1))


def test_budgets_are_float32_whatever_the_policy_of_the_layers(data):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        last = layers.Dense(10, dtype="float32")
        of = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16, "relu"), last])
        trained = model(rar_tf.Madry, of)
    finally:
        keras.config.set_dtype_policy("float32")
    images, labels = trained._unpack(tuple(map(tf.constant, data)))
    perturbed = trained.perturb(images, labels, trained.start(images, trained.step))
    assert perturbed.dtype == tf.float32 and np.abs(perturbed - images).max() <= 0.1 + 1e-6


def test_replicas_have_equal_parts(data, monkeypatch):
    trained = model()
    two = type("Strategy", (), {"num_replicas_in_sync": 2})()
    monkeypatch.setattr(type(trained), "distribute_strategy", two)
    for images, size in ((23, 8), (24, 7), (24, 9)):
        with pytest.raises(UsageError, match="2 replicas share each batch in equal parts"):
            trained._check_batches(np.zeros(images), size)
    trained._check_batches(np.zeros(24), 8)
    trained._check_batches(np.zeros(22), 8)
