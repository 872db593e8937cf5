"""What methods share that compare the attribution of an image with that of its perturbation."""

from collections.abc import Callable

import tensorflow as tf

from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.objectives import settings
from rar_tf.objectives.robust_model import RobustModel


class AttributionMatching(RobustModel):
    """Adds weight · dissimilarity(IG(x), IG(x')) to the terms of the method that it is mixed into.

    The attribution is the integrated gradients of the true class's logit from a black image; both carry gradients to
    the network.
    Its weight λ is `attribution_weight`.
    """

    Settings = settings.Matching

    dissimilarity: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # two of what `attributed` returns -> [B]

    def attribution_change(self, images: tf.Tensor, labels: tf.Tensor, steps: int):
        """Return perturbed images [B, H, W, C] -> weight · dissimilarity of their attributions and the images' [B]."""
        target = Target(self.network, labels)
        clean = self.attributed(target, images, steps)
        return lambda perturbed: (
            self.settings.attribution_weight * self.dissimilarity(clean, self.attributed(target, perturbed, steps))
        )

    def attributed(self, target: Target, images: tf.Tensor, steps: int) -> tf.Tensor:
        """Return what is compared of images [B, H, W, C], with so many path points."""
        return integrated_gradients(target, images, steps=steps, chunk=self.settings.ig_chunk)

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        change = self.attribution_change(images, labels, self.settings.ig_steps)
        return {**super().loss_terms(images, perturbed, labels), "attribution": change(perturbed)}
