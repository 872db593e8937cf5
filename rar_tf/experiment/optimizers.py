"""The papers' optimisers; where Keras's update rule is another one, TensorFlow 1's."""

import functools
from collections.abc import Sequence

import keras

from rar_tf.errors import UsageError
from rar_tf.experiment import OPTIMIZERS


@keras.saving.register_keras_serializable("rar_tf")
class Momentum(keras.optimizers.SGD):
    """TensorFlow 1's momentum: a ← μa + g, w ← w − ηa.

    Keras's own folds the rate into the velocity (v ← μv − ηg), which differs as soon as the rate changes.
    """

    def update_step(self, gradient, variable, learning_rate):
        accumulator = self.momentums[self._get_variable_index(variable)]
        momentum = keras.ops.cast(self.momentum, variable.dtype)
        self.assign(accumulator, momentum * accumulator + keras.ops.cast(gradient, variable.dtype))
        self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * accumulator)


adam = functools.partial(keras.optimizers.Adam, epsilon=1e-8)  # TensorFlow 1's epsilon
momentum = functools.partial(Momentum, momentum=0.9)
nesterov = functools.partial(keras.optimizers.SGD, momentum=0.9, nesterov=True)
sgd = keras.optimizers.SGD


def build(name: str, rates: Sequence[float], boundaries: Sequence[int]) -> keras.optimizers.Optimizer:
    """Return an optimiser with a piecewise constant learning rate.

    Args:
      name: one of `OPTIMIZERS`.
      rates: one rate, or one more than there are boundaries.
      boundaries: the last step of each rate but the last, increasing.

    Raises: UsageError for an unknown name or a schedule that does not fit.
    """
    optimizer = OPTIMIZERS[name]
    if len(rates) != len(boundaries) + 1:
        raise UsageError(
            f"learning_rate needs one value more than learning_rate_boundaries, got {len(rates)} and {len(boundaries)}"
        )
    if min(rates) <= 0 or any(low >= high for low, high in zip(boundaries, boundaries[1:])):
        raise UsageError(f"learning rates must be positive and their boundaries increase, got {rates} and {boundaries}")
    if len(rates) == 1:
        return optimizer(rates[0])
    return optimizer(keras.optimizers.schedules.PiecewiseConstantDecay(list(boundaries), list(rates)))
