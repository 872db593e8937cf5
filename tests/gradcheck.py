"""Float64 finite differences of what a training step differentiates."""

import keras
import numpy as np
import tensorflow as tf

from rar_tf import objectives


def smooth_network(classes: int = 3) -> keras.Model:
    """A small network without kinks, so that finite differences converge."""
    keras.utils.set_random_seed(11)
    return keras.Sequential(
        [
            keras.layers.Input((4, 4, 1)),
            keras.layers.Conv2D(3, 3, activation="softplus"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="tanh", name="hidden"),
            keras.layers.Dense(classes),
        ]
    )


class _Recorder:
    """An optimiser that keeps the gradients instead of applying them."""

    iterations = tf.constant(0, tf.int64)

    def apply_gradients(self, pairs):
        self.gradients = [gradient for gradient, _ in pairs]


def check_parameter_gradient(method, settings, images, perturbed, labels, network=None, rtol=1e-6):
    """Assert that the gradient of a step's loss equals central differences along random directions."""
    network = network or smooth_network()
    images, perturbed = tf.constant(images), tf.constant(perturbed)
    model = objectives.METHODS[method](network, **settings)
    recorder = _Recorder()
    # Keras refuses a foreign optimiser in compile; the step only calls apply_gradients.
    object.__setattr__(model, "optimizer", recorder)
    step = tf.function(lambda: (model.minimise(images, perturbed, labels)["loss"], recorder.gradients))
    _, gradients = step()
    random = np.random.RandomState(5)
    for _ in range(3):
        directions = [random.standard_normal(v.shape) for v in network.trainable_variables]
        values = [v.numpy() for v in network.trainable_variables]
        ends = []
        for h in (1e-5, -1e-5):
            for variable, value, direction in zip(network.trainable_variables, values, directions):
                variable.assign(value + h * direction)
            ends.append(float(step()[0]))
        for variable, value in zip(network.trainable_variables, values):
            variable.assign(value)
        slope = (ends[0] - ends[1]) / 2e-5
        expected = sum(float(np.sum(g * d)) for g, d in zip(gradients, directions))
        np.testing.assert_allclose(slope, expected, rtol=rtol, atol=1e-8)
