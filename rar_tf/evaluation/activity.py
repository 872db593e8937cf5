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
        """Return a counter for a functional Keras network with rectifiers, None for anything else."""
        found = [node.output_tensors[0] for node in graph.nodes(network) if rectifier_of(node.operation) is not None]
        return cls(keras.Model(network.inputs, found)) if found else None

    def columns(self, images: np.ndarray, perturbed: np.ndarray) -> dict[str, np.ndarray]:
        """Return the number of active units at both and in common. Shape: [N, H, W, C] twice -> [N] each."""
        counts = self._count(tf.convert_to_tensor(images), tf.convert_to_tensor(perturbed))
        return dict(zip(("active", "active_perturbed", "active_both"), (c.numpy() for c in counts)))
