"""The papers' optimisers; where Keras's update rule is another one, TensorFlow 1's."""

import functools
import math

import keras

from rar_tf.errors import UsageError
from rar_tf.experiment import OPTIMIZERS
from rar_tf.experiment.settings import RunSettings


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


@keras.saving.register_keras_serializable("rar_tf")
class Ramps(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, or a constant rate, that grows from nothing at first and falls to nothing in the end.

    Args:
      rate: the rate in between, or its schedule.
      warmup: steps of linear growth; step 0 has 1/warmup of the rate.
      decay: last steps, in which it falls. steps: those of the whole run. shape: "linear" or "cosine".
    """

    def __init__(self, rate, warmup: int = 0, decay: int = 0, steps: int = 0, shape: str = "linear"):
        self.rate, self.warmup, self.decay, self.steps, self.shape = rate, warmup, decay, steps, shape

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        factor = 1.0
        if self.warmup:
            factor = keras.ops.minimum((step + 1) / self.warmup, 1.0)
        if self.decay:
            left = keras.ops.clip((self.steps - step) / self.decay, 0.0, 1.0)
            factor *= left if self.shape == "linear" else (1 - keras.ops.cos(math.pi * left)) / 2
        return factor * (self.rate(step) if callable(self.rate) else self.rate)

    def get_config(self):
        config = {"warmup": self.warmup, "decay": self.decay, "steps": self.steps, "shape": self.shape}
        rate = keras.saving.serialize_keras_object(self.rate) if callable(self.rate) else self.rate
        return {"rate": rate, **config}

    @classmethod
    def from_config(cls, config):
        if isinstance(config["rate"], dict):
            config = {**config, "rate": keras.saving.deserialize_keras_object(config["rate"])}
        return cls(**config)


def build(settings: RunSettings) -> keras.optimizers.Optimizer:
    """Return the optimiser of a run: piecewise constant rates, and ramps at both ends where the settings have them.

    Raises: UsageError for a schedule that does not fit together or into the run.
    """
    rates, boundaries = settings.learning_rate, settings.learning_rate_boundaries
    if len(rates) != len(boundaries) + 1:
        raise UsageError(
            f"learning_rate needs one value more than learning_rate_boundaries, got {len(rates)} and {len(boundaries)}"
        )
    if any(low >= high for low, high in zip(boundaries, boundaries[1:])):
        raise UsageError(f"learning_rate_boundaries must increase, got {boundaries}")
    warmup, decay, steps = settings.learning_rate_warmup, settings.learning_rate_decay, settings.steps
    if warmup + decay > steps:
        raise UsageError(f"learning_rate_warmup and learning_rate_decay are {warmup + decay} of {steps} steps")
    rate = rates[0]
    if boundaries:
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(list(boundaries), list(rates))
    if warmup or decay:
        rate = Ramps(rate, warmup, decay, steps, settings.decay_shape)
    averaging = {} if settings.weight_average is None else {"use_ema": True, "ema_momentum": settings.weight_average}
    return OPTIMIZERS[settings.optimizer](rate, **averaging)
