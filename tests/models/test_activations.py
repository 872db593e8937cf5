"""Activations with an inverse temperature: values, limits, derivatives, files."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from rar_tf.errors import UsageError
from rar_tf.models import ACTIVATIONS
from rar_tf.models.activations import Gelu, Silu, SmoothRectifier, Softplus, layer

X = np.linspace(-4, 4, 33)
EXACT = {
    "softplus": lambda x, beta: np.log1p(np.exp(beta * x)) / beta,
    "gelu": lambda x, beta: x * scipy.stats.norm.cdf(beta * x),
    "silu": lambda x, beta: x * scipy.special.expit(beta * x),
}
SMOOTH = tuple(EXACT)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("beta, slope", [(1.0, 0.0), (3.0, 0.0), (0.5, 0.1)])
def test_values_are_the_formulas(name, beta, slope):
    expected = slope * X + (1 - slope) * EXACT[name](X, beta)
    np.testing.assert_allclose(ACTIVATIONS[name](beta, slope)(tf.constant(X)), expected, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_without_a_temperature_they_are_kerass_own(name):
    x = tf.constant(X, tf.float32)
    np.testing.assert_allclose(ACTIVATIONS[name]()(x), getattr(keras.activations, name)(x), atol=1e-6)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_they_near_the_rectifier_as_one_over_beta(name, slope):
    x = tf.constant(X)
    rectified = tf.nn.leaky_relu(x, slope)
    gaps = [np.abs(ACTIVATIONS[name](beta, slope)(x) - rectified).max() for beta in (1.0, 10.0, 100.0)]
    assert gaps[0] < 1 and gaps[1] <= gaps[0] / 5 and gaps[2] <= gaps[0] / 50


@pytest.mark.parametrize("name", SMOOTH)
def test_three_derivatives_equal_differences(name):
    function, h = ACTIVATIONS[name](2.0, 0.1), 1e-5

    def derivatives(x):
        values = []
        with tf.GradientTape() as third:
            third.watch(x)
            with tf.GradientTape() as second:
                second.watch(x)
                with tf.GradientTape() as first:
                    first.watch(x)
                    values.append(function(x))
                values.append(first.gradient(values[0], x))
            values.append(second.gradient(values[1], x))
        return [*values, third.gradient(values[2], x)]

    at, ahead, behind = (derivatives(tf.constant(X + shift)) for shift in (0.0, h, -h))
    for order in (1, 2, 3):
        np.testing.assert_allclose(at[order], (ahead[order - 1] - behind[order - 1]) / (2 * h), atol=1e-8)


def test_ceiling_of_relu6():
    np.testing.assert_allclose(Softplus(50.0, ceiling=6.0)(tf.constant([-1.0, 3.0, 9.0])), [0, 3, 6], atol=1e-2)


def test_relu_is_kerass_own():
    assert ACTIVATIONS["relu"](7.0) is keras.activations.relu
    assert type(layer("relu", 1.0, name="r")) is keras.layers.ReLU
    leaky = layer("relu", 1.0, slope=0.1, name="r")
    np.testing.assert_allclose(leaky(tf.constant([-1.0, 2.0])), [-0.1, 2.0], rtol=1e-6)
    np.testing.assert_allclose(ACTIVATIONS["relu"](1.0, 0.1)(tf.constant([-1.0, 2.0])), [-0.1, 2.0], rtol=1e-6)


@pytest.mark.parametrize("activation", [Softplus(2.0, 0.1, 6.0), Gelu(3.0), Silu(0.5, 0.2)])
def test_configurations_survive_files(activation):
    config = keras.saving.serialize_keras_object(activation)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(activation) and again.get_config() == activation.get_config()
    kept = keras.layers.Dense.from_config(keras.layers.Dense(2, activation=activation).get_config())
    assert kept.activation.get_config() == activation.get_config()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_temperatures_must_be_positive(name):
    with pytest.raises(UsageError, match="activation_beta must be positive"):
        ACTIVATIONS[name](0.0)


def test_a_subclass_gives_the_rectifier():
    with pytest.raises(NotImplementedError):
        SmoothRectifier()(tf.constant(1.0))
