"""The papers' optimisers; where Keras's update rule is another one, TensorFlow 1's."""

import keras

from rar_tf import checks
from rar_tf.errors import UsageError


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


OPTIMIZERS = {
    "adam": lambda rate: keras.optimizers.Adam(rate, epsilon=1e-8),
    "momentum": lambda rate: Momentum(rate, momentum=0.9),
    "nesterov": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "sgd": lambda rate: keras.optimizers.SGD(rate),
}


def build(name: str, rates: list[float], boundaries: list[int]) -> keras.optimizers.Optimizer:
    """Return an optimiser with a piecewise constant learning rate.

    Args:
      name: one of `OPTIMIZERS`.
      rates: one rate, or one more than there are boundaries.
      boundaries: the last step of each rate but the last, increasing.

    Raises: UsageError for an unknown name or a schedule that does not fit.
    """
    checks.one_of(OPTIMIZERS, optimizer=name)
    if len(rates) != len(boundaries) + 1:
        raise UsageError(
            f"learning_rate needs one value more than learning_rate_boundaries, got {len(rates)} and {len(boundaries)}"
        )
    if min(rates) <= 0 or any(low >= high for low, high in zip(boundaries, boundaries[1:])):
        raise UsageError(f"learning rates must be positive and their boundaries increase, got {rates} and {boundaries}")
    rate = rates[0] if len(rates) == 1 else keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    return OPTIMIZERS[name](rate)
