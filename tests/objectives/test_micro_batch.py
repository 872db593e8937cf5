"""A batch in parts: the same steps, random numbers included, as of the whole batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf.errors import UsageError
from rar_tf.objectives import METHODS

import tiny_networks

SHAPE = (5, 4, 2)


def trained(method, images, labels, jit_compile=False, **settings):
    """The weights after two steps, and what the last one reports."""
    network = tiny_networks.convolutional(shape=SHAPE)
    kind = METHODS[method]
    known = {"epsilon": 0.1, "bounds": (0.0, 1.0), "ig_steps": 4, "attack_ig_steps": 2, **settings}
    model = kind(network, steps=2, **{name: value for name, value in known.items() if name in kind.options()})
    model.compile(keras.optimizers.SGD(0.5), jit_compile=jit_compile)
    model.optimizer.build(network.trainable_variables)
    step = tf.function(lambda: model.train_step((images, labels)), jit_compile=jit_compile, autograph=False)
    step()
    return network.get_weights(), {name: float(value) for name, value in step().items()}


@pytest.mark.parametrize(
    "method, settings",
    [
        ("madry", {"weight_decay": 0.1, "epsilon_warmup": 3}),
        ("madry", {"reduction": "sum", "weight_decay": 0.1}),
        ("ig_sum_norm", {"ig_chunk": 3}),
        ("trades", {}),
        ("align_mart", {"aligned": "path_point", "curvature_weight": 0.5, "linearity_weight": 0.5, "align_steps": 1}),
    ],
)
def test_a_batch_in_parts_gives_the_steps_of_the_whole_one(float64, method, settings):
    images, _, labels = tiny_networks.batch(8)
    whole, said = trained(method, images, labels, **settings)
    parts, said_of_parts = trained(method, images, labels, micro_batch=3, **settings)  # 3, 3 and 2 samples
    for one, other in zip(whole, parts):
        np.testing.assert_allclose(other, one, atol=1e-12)
    assert said.keys() == said_of_parts.keys()
    for name, value in said.items():
        np.testing.assert_allclose(said_of_parts[name], value, rtol=1e-6)  # Keras's trackers are float32


def test_parts_under_xla(float64):
    images, _, labels = tiny_networks.batch(8)
    whole, parts = (trained("ig_sum_norm", images, labels, True, micro_batch=size)[0] for size in (None, 4))
    for one, other in zip(whole, parts):
        np.testing.assert_allclose(other, one, atol=1e-12)
    with pytest.raises(UsageError, match="micro_batch=3 must divide the batch"):
        trained("madry", images, labels, True, micro_batch=3)


def test_batch_statistics_are_each_parts_own(float64):
    images, _, labels = tiny_networks.batch(8)
    statistics = {}
    for size in (None, 4):
        network = keras.Sequential(
            [
                keras.layers.Input(SHAPE),
                keras.layers.BatchNormalization(momentum=0.5, axis=-1),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
        model = METHODS["natural"](network, epsilon=0.1, micro_batch=size)
        model.compile("sgd")
        tf.function(lambda: model.train_step((images, labels)))()
        statistics[size] = network.layers[0].moving_mean.numpy()
    means = images.numpy().reshape(2, -1, 2).mean(axis=1)  # of the two parts
    np.testing.assert_allclose(statistics[None], 0.5 * means.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(statistics[4], 0.25 * means[0] + 0.5 * means[1], rtol=1e-6)
