"""A network under evaluation: its predictions, its surrogates, and its functions compiled once."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import arithmetic, inputs
from rar_tf.errors import UsageError
from rar_tf.models.split import split_first_layer
from rar_tf.models.surrogate import Surrogate, climbed, is_smooth, softplus_surrogate


class Subject:
    """What every measurement of one network needs; it can be measured again as the network's weights change.

    Args:
      network: a Keras model of logits, a `RobustModel`, which stands for its network, a `Surrogate`, or any callable
        (images, training=False) -> logits.
      surrogate: the network that directions come from, another one for attacks that are transferred; None is the
        network. One whose activations are smooth is taken itself, another one is cloned with softplus or, where it
        cannot be cloned, taken itself, with a warning.
      split: whether path integrals may compute the first affine layer apart: the same numbers to rounding, in less
        time.
    """

    def __init__(self, network, surrogate=None, *, split: bool = True):
        arithmetic.settle()
        self.network = network = inputs.evaluation_mode(inputs.unwrapped(network))
        self.explained = split_first_layer(network) or network if split else network
        self.warnings: list[str] = []
        self._split = split
        self.beta = tf.Variable(1.0, trainable=False, name="inverse_temperature")
        self.source = network if surrogate is None else inputs.evaluation_mode(inputs.unwrapped(surrogate))
        self._compiled: dict = {}

    def warn(self, message: str) -> None:
        """Log a warning once, and keep it for the summary."""
        if message not in self.warnings:
            self.warnings.append(message)
            logging.warning("%s", message)

    @functools.cached_property
    def surrogate(self):
        """The network that directions come from, at the inverse temperature `beta` where it can be cloned."""
        smooth = self._smooth()
        return split_first_layer(smooth) or smooth if self._split else smooth

    @functools.cached_property
    def climbed(self):
        """What attacks on predictions climb: the network, its gradients without the dead zone of an input stem."""
        return climbed(self.network, self.warn)

    def _smooth(self):
        if isinstance(self.source, Surrogate) or is_smooth(self.source, pooling=False):
            return self.source
        try:
            return softplus_surrogate(self.source, self.beta)
        except UsageError as error:
            whose = "the network" if self.source is self.network else "the surrogate"
            self.warn(f"attack directions come from {whose} itself ({str(error).split(' (')[0]})")
            return self.source

    def compiled(self, name: str, function: Callable) -> Callable:
        """Return `function` of tensors as one of arrays, compiled once under its name, for any number of images."""

        def call(*arrays):
            tensors = [tf.convert_to_tensor(array) for array in arrays]
            if name not in self._compiled:
                self._compiled[name] = tf.function(
                    function,
                    autograph=False,
                    input_signature=[
                        tf.TensorSpec([None, *t.shape[1:]] if t.shape.rank else [], t.dtype) for t in tensors
                    ],
                )
            return tf.nest.map_structure(lambda t: t.numpy(), self._compiled[name](*tensors))

        return call

    def predict(self, images: np.ndarray, labels: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
        """Return the predicted labels [N] of images [N, H, W, C] in the pixel range `bounds` with labels [N].

        Raises: UsageError where network, images and labels do not fit each other, see `rar_tf.inputs`.
        """
        found, cautions = inputs.predictions(self.network, self._logits(), images, labels, bounds)
        for caution in cautions:
            self.warn(caution)
        return found

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the logits [N, K] of images [N, H, W, C]."""
        return inputs.logits(self._logits(), images)

    def _logits(self):
        return self.compiled("predict", lambda x: self.network(x, training=False))
