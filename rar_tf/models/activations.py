"""Activations with an inverse temperature β: ReLU, and smooth ones that near it as β grows.

softplus log(1 + e^{βx})/β (Dombrowski et al. 2019), GELU x·Φ(βx) with the normal distribution function Φ (Hendrycks and
Gimpel 2016), SiLU x·sigmoid(βx) (swish; Ramachandran et al. 2017). With a leak of slope a each becomes
a·x + (1 − a)·σ(x), as leaky ReLU is of ReLU. Keras saves, loads and clones them.
"""

import math

import keras
import tensorflow as tf

from rar_tf import checks
from rar_tf.models import ACTIVATIONS


class SmoothRectifier:
    """a·x + (1 − a)·σ(x) of a subclass's σ. Shape: any -> the same.

    Args:
      beta: β, the inverse temperature: a number, or a `tf.Variable` that can be changed later.
      slope: a, the leak.

    Raises: UsageError for β ≤ 0.
    """

    def __init__(self, beta: float | tf.Variable = 1.0, slope: float = 0.0):
        checks.positive(activation_beta=beta)
        self.beta, self.slope = beta if isinstance(beta, tf.Variable) else float(beta), float(slope)
        self.__name__ = type(self).__name__.lower()  # as functions have one, for messages and Keras's summaries

    def rectify(self, x: tf.Tensor, beta: float | tf.Tensor) -> tf.Tensor:
        """Return σ(x)."""
        raise NotImplementedError

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        smooth = self.rectify(x, self.beta_for(x))
        return smooth if self.slope == 0 else self.slope * x + (1 - self.slope) * smooth

    def beta_for(self, x: tf.Tensor) -> float | tf.Tensor:
        """Return β as it multiplies x: a variable has a dtype of its own."""
        return tf.cast(self.beta, x.dtype) if isinstance(self.beta, tf.Variable) else self.beta

    def get_config(self) -> dict:
        return {"beta": self.beta, "slope": self.slope}

    @classmethod
    def from_config(cls, config: dict) -> "SmoothRectifier":
        return cls(**config)


@keras.saving.register_keras_serializable("rar_tf")
class Softplus(SmoothRectifier):
    """log(1 + e^{βx})/β; with a ceiling c, as ReLU6 has one, less log(1 + e^{β(x − c)})/β, leak or not."""

    def __init__(self, beta: float | tf.Variable = 1.0, slope: float = 0.0, ceiling: float | None = None):
        super().__init__(beta, slope)
        self.ceiling = ceiling

    def rectify(self, x: tf.Tensor, beta: float | tf.Tensor) -> tf.Tensor:
        return tf.math.softplus(beta * x) / beta

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        smooth = super().__call__(x)
        return smooth if self.ceiling is None else smooth - self.rectify(x - self.ceiling, self.beta_for(x))

    def get_config(self) -> dict:
        return {**super().get_config(), "ceiling": self.ceiling}


@keras.saving.register_keras_serializable("rar_tf")
class Gelu(SmoothRectifier):
    """x·Φ(βx)."""

    def rectify(self, x: tf.Tensor, beta: float | tf.Tensor) -> tf.Tensor:
        return 0.5 * x * (1.0 + tf.math.erf(beta * math.sqrt(0.5) * x))


@keras.saving.register_keras_serializable("rar_tf")
class Silu(SmoothRectifier):
    """x·sigmoid(βx)."""

    def rectify(self, x: tf.Tensor, beta: float | tf.Tensor) -> tf.Tensor:
        return x * tf.sigmoid(beta * x)


def relu(beta: float = 1.0, slope: float = 0.0):
    """Return Keras's own ReLU, or leaky ReLU of that slope: max(βx, 0)/β is the same for every β.

    Raises: UsageError for β ≤ 0.
    """
    checks.positive(activation_beta=beta)
    return keras.layers.LeakyReLU(negative_slope=slope) if slope else keras.activations.relu


def layer(activation: str, beta: float, *, slope: float = 0.0, name: str) -> keras.layers.Layer:
    """Return an activation of `ACTIVATIONS` as a layer of its own. Raises: UsageError for an unknown one or β ≤ 0."""
    chosen = ACTIVATIONS[activation](beta, slope)
    if isinstance(chosen, SmoothRectifier):
        return keras.layers.Activation(chosen, name=name)
    return keras.layers.LeakyReLU(negative_slope=slope, name=name) if slope else keras.layers.ReLU(name=name)
