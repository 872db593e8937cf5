"""Which rectifiers of a network are active at an image and at its perturbed version (Wang and Kong 2022, 6.4)."""

import keras
import numpy as np
import tensorflow as tf

from rar_tf.models import graph
from rar_tf.models.surrogate import rectifier_of


class ActivityCounter:
    """Counts active rectifier units; a unit is active where its pre-activation, hence its output, is positive."""

    def __init__(self, outputs_of: keras.Model):
        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, *outputs_of.input_shape[1:]])] * 2)
        def count(images, perturbed):
            active, active_perturbed = (
                [tf.reshape(o > 0, [tf.shape(o)[0], -1]) for o in tf.nest.flatten(outputs_of(x, training=False))]
                for x in (images, perturbed)
            )
            both = [a & b for a, b in zip(active, active_perturbed)]
            return [
                sum(tf.reduce_sum(tf.cast(o, tf.int32), axis=1) for o in outputs)
                for outputs in (active, active_perturbed, both)
            ]

        self._count = count

    @classmethod
    def of(cls, network) -> "ActivityCounter | None":
        """Return a counter for a functional Keras network with rectifiers, None for anything else.

        None too where a layer that is no network holds some, whose outputs are not to be had.
        """
        found = _rectified(network)
        if not found or _hides_some(network, [operation for operation, _ in found]):
            return None
        return cls(keras.Model(network.inputs, [outputs for _, outputs in found]))

    def columns(self, images: np.ndarray, perturbed: np.ndarray) -> dict[str, np.ndarray]:
        """Return the number of active units at both and in common. Shape: [N, H, W, C] twice -> [N] each."""
        counts = self._count(tf.convert_to_tensor(images), tf.convert_to_tensor(perturbed))
        return dict(zip(("active", "active_perturbed", "active_both"), (c.numpy() for c in counts)))


def _rectified(network) -> list[tuple]:
    """The operations of a network that have rectifiers, and their outputs, those of networks inside it included."""
    found: list[tuple] = []
    for node in graph.nodes(network):
        inner = _rectified(node.operation)
        if inner:
            operations, outputs = zip(*inner)
            part = keras.Model(node.operation.inputs, list(outputs))
            found += zip(operations, tf.nest.flatten(part(node.input_tensors[0])))
        elif rectifier_of(node.operation) is not None:
            found.append((node.operation, node.output_tensors[0]))
    return found


def _hides_some(network, operations) -> bool:
    """Whether other layers than these, and those that are their rectifiers, have rectifiers."""
    known = {id(part) for operation in operations for part in (operation, rectifier_of(operation))}
    return any(rectifier_of(layer) is not None and id(layer) not in known for layer in network._flatten_layers())
