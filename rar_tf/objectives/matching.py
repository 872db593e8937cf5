"""What methods share that compare the attribution of an image with that of its perturbation."""

from collections.abc import Callable

import tensorflow as tf

from rar_tf import checks
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.objectives.rar import check_ig_steps
from rar_tf.training import RobustModel


class AttributionMatching(RobustModel):
    """Adds weight · dissimilarity(IG(x), IG(x')) to the terms of the method that it is mixed into.

    The attribution is the integrated gradients of the true class's logit from a black image; both carry gradients to
    the network.

    Args:
      attribution_weight: the term's weight, λ.
      ig_steps: path points m in the training step.
      attack_ig_steps: path points m' inside the adversary, a divisor of m.
      ig_chunk: path points held in memory at once; None for all.
    """

    dissimilarity: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # two attributions [B, H, W, C] -> [B]

    def __init__(
        self,
        network,
        *,
        attribution_weight: float = 1.0,
        ig_steps: int = 10,
        attack_ig_steps: int = 5,
        ig_chunk: int | None = None,
        **settings,
    ):
        super().__init__(network, **settings)
        checks.not_negative(attribution_weight=attribution_weight)
        check_ig_steps(ig_steps, attack_ig_steps)
        self.attribution_weight = attribution_weight
        self.ig_steps, self.attack_ig_steps, self.ig_chunk = ig_steps, attack_ig_steps, ig_chunk

    def attribution_change(self, images: tf.Tensor, labels: tf.Tensor, steps: int):
        """Return perturbed images [B, H, W, C] -> weight · dissimilarity of their attributions and the images' [B]."""
        target = Target(self.network, labels)
        clean = integrated_gradients(target, images, steps=steps, chunk=self.ig_chunk)
        return lambda perturbed: (
            self.attribution_weight
            * self.dissimilarity(clean, integrated_gradients(target, perturbed, steps=steps, chunk=self.ig_chunk))
        )

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        change = self.attribution_change(images, labels, self.ig_steps)
        return {**super().loss_terms(images, perturbed, labels), "attribution": change(perturbed)}
