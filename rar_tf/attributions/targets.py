"""What is attributed: one scalar per sample of a network's output."""

from collections.abc import Callable

import tensorflow as tf

from rar_tf import losses
from rar_tf.errors import UsageError
from rar_tf.models import graph
from rar_tf.models.invariance import is_scale_invariant
from rar_tf.models.split import SplitNetwork


class Target:
    """A score of a network's logits for given labels, as `rar_tf.attributions` takes it.

    The labels repeat themselves as often as the images do, so that one target serves a batch and a path of batches.
    The network runs in evaluation mode: batch statistics and dropout are none of an attribution's business.

    Args:
      network: maps images [N, H, W, C] to logits [N, K]; a Keras model, or any callable with a `training` argument.
      labels: int [B].
      score: maps (logits [N, K], labels [N]) to [N]: `losses.logit`, `losses.probability`, `losses.log_loss`, …
    """

    def __init__(self, network, labels: tf.Tensor, score: Callable = losses.logit):
        self.network = network
        self.labels = labels
        self.score = score

    @property
    def scale_invariant(self) -> bool:
        """Whether f(αx) = f(x) for all α > 0, as networks have it that standardise each image themselves."""
        return is_scale_invariant(self.network)

    @property
    def split(self) -> SplitNetwork | None:
        """The network with its first affine layer apart, where it was handed over so."""
        return self.network if isinstance(self.network, SplitNetwork) else None

    def after_split(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return the scores [N] of the first layer's outputs [N, …], for networks that are split."""
        return self.score(self.network.rest(outputs), repeat_labels(self.labels, outputs))

    @property
    def parameters(self) -> list:
        """The variables that gradients of a chunked attribution reach."""
        return list(getattr(self.network, "trainable_variables", ()))

    def __call__(self, images: tf.Tensor, parameters=None) -> tf.Tensor:
        """Return the scores [N] of images [N, H, W, C]; `parameters` stand in for the network's trainable variables."""
        if parameters is None:
            logits = self.network(images, training=False)
        else:
            logits, _ = self.network.stateless_call(
                list(parameters), [v.value for v in self.network.non_trainable_variables], images, training=False
            )
        return self.score(logits, repeat_labels(self.labels, images))


class HiddenTarget:
    """Like `Target`, but gives a hidden layer's output too: images -> (hidden, scores).

    Raises: UsageError where the network has no layer of that name.
    """

    def __init__(self, network, layer: str, labels: tf.Tensor, score: Callable = losses.logit):
        self.both = with_hidden(network, layer)
        self.labels = labels
        self.score = score

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        hidden, logits = self.both(images, training=False)
        return hidden, self.score(logits, repeat_labels(self.labels, images))


def with_hidden(network, layer: str):
    """Return a Keras model of a functional network's (hidden layer's output, logits)."""
    import keras

    outputs = {node.operation.name: node.output_tensors[0] for node in graph.nodes(network)}
    if layer not in outputs:
        raise UsageError(f"the network has no layer {layer!r}; it has {', '.join(outputs)}")
    return keras.Model(network.inputs, [outputs[layer], network.outputs[0]])


def repeat_labels(labels: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Return labels [B] tiled to the r*B images. Raises: UsageError for another number of images."""
    labels = tf.convert_to_tensor(labels)
    if None not in (images.shape[0], labels.shape[0]) and images.shape[0] % labels.shape[0]:
        raise UsageError(f"a target has a label for each image: {labels.shape[0]} labels for {images.shape[0]} images")
    return tf.tile(labels, [tf.shape(images)[0] // tf.shape(labels)[0]])
