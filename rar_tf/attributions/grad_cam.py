"""Grad-CAM: where the last feature maps speak for a score (Selvaraju et al. 2017)."""

import keras
import tensorflow as tf

from rar_tf.attributions.gradients import Kind
from rar_tf.attributions.targets import Target, repeat_labels
from rar_tf.errors import UsageError
from rar_tf.models import graph
from rar_tf.models.split import SplitNetwork
from rar_tf.models.surrogate import Part, layers_and_weights


def grad_cam(target: Target, images: tf.Tensor) -> tf.Tensor:
    """Return max(Σ_c α_c A_c, 0) of the last feature maps A, enlarged to the image; α_c is the mean of ∂target/∂A_c.

    Each pixel's value is divided among its channels.

    Shape: images [B, H, W, C] -> [B, H, W, C], not negative.

    Raises: UsageError for a target whose network is no functional Keras model with feature maps.
    """
    images = tf.convert_to_tensor(images)
    with_features = FeatureMaps(getattr(target, "network", None))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        features, logits = with_features(images)
        total = tf.reduce_sum(target.score(logits, repeat_labels(target.labels, images)))
    importance = tf.reduce_mean(tape.gradient(total, features), axis=[1, 2], keepdims=True)
    seen = tf.nn.relu(tf.reduce_sum(importance * features, axis=-1, keepdims=True))
    channels = images.shape[-1]
    enlarged = tf.cast(tf.image.resize(seen, images.shape[1:3]), images.dtype)
    return tf.tile(enlarged, [1, 1, 1, channels]) / channels


class FeatureMaps:
    """A network that also gives its last feature maps: images [N, H, W, C] -> (maps [N, h, w, c], logits [N, K]).

    Raises: UsageError where there are none, or where the network's layers are not to be had.
    """

    def __init__(self, network):
        while isinstance(network, SplitNetwork):
            network = network.network
        model, _ = layers_and_weights(network)
        if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
            raise UsageError("grad_cam needs a functional or sequential Keras network: its layers are looked into")
        found = [node.output_tensors[0] for node in graph.nodes(model) if _gives_feature_maps(node)]
        if not found:
            raise UsageError("grad_cam needs a network with feature maps: no layer gives [N, h, w, c] with h·w > 1")
        self._model = Part(keras.Model(model.inputs, [found[-1], model.outputs[0]]), network)

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, logits = self._model(images)
        return features, logits


def _gives_feature_maps(node):
    layer, skipped = node.operation, ("InputLayer", "Pool", "Dropout")
    if not isinstance(layer, keras.Layer) or any(word in type(layer).__name__ for word in skipped):
        return False
    shape = node.output_tensors[0].shape
    return len(shape) == 4 and None not in shape[1:] and shape[1] * shape[2] > 1


def _check(network) -> None:
    FeatureMaps(network)


GRAD_CAM = Kind(grad_cam, smooth=False, check=_check)
