"""R2ET (Chen et al. 2024, "Training for Stable Explanation for Free"): the ranking of the features is kept apart."""

import tensorflow as tf

from rar_tf import losses, similarity
from rar_tf.attributions.gradients import saliency_map
from rar_tf.attributions.targets import Target
from rar_tf.errors import UsageError
from rar_tf.objectives import settings
from rar_tf.objectives.robust_model import RobustModel

_STEP = 1e-3  # of the finite difference, in parts of the pixel range


class R2ET(RobustModel):
    """Minimise l_y(x) + λ₁·(the top features' gaps to the k-th) + λ₂·‖∇l(x + h·sign ∇l) − ∇l(x)‖/h; no adversary.

    With s = Σ_c|∂l_y/∂x| sorted downwards as s₍₀₎ ≥ s₍₁₎ ≥ …, ranks frozen, the gaps are
    Σ_{i<k−1}(s₍k−1₎ − s₍i₎) + Σ_{i=1..k}(s₍k−1+i₎ − s₍k−1₎): both sums fall as the top k move away from the rest.
    λ₁ is `attribution_weight`, λ₂ `curvature_weight`, and k, at most half of the pixels, `top_k`.
    """

    Settings = settings.R2ET

    terms = ("cross_entropy", "ranking", "curvature")

    def __init__(self, network, **settings):
        super().__init__(network, **settings)
        top_k = self.settings.top_k
        if getattr(network, "inputs", None):
            height, width = network.inputs[0].shape[1:3]
            if None not in (height, width) and 2 * top_k > height * width:
                raise UsageError(f"top_k must be at most half of the {height * width} pixels, got {top_k}")

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        loss = Target(self.network, labels, losses.cross_entropy)
        slope = saliency_map(loss, images)
        h = _STEP * (self.settings.bounds[1] - self.settings.bounds[0])
        ahead = saliency_map(loss, images + h * tf.stop_gradient(tf.sign(slope)))
        curvature = similarity.norm(ahead - slope) / h
        saliency = similarity.flatten(tf.reduce_sum(tf.abs(slope), axis=-1))
        return {
            **super().loss_terms(images, perturbed, labels),
            "ranking": self.settings.attribution_weight * ranking(saliency, self.settings.top_k),
            "curvature": self.settings.curvature_weight * curvature,
        }


def ranking(saliency: tf.Tensor, k: int) -> tf.Tensor:
    """Return the gaps of the top k and of the next k features to the k-th, as they are minimised.

    Shape: saliency [B, D] with D >= 2k -> [B].
    """
    ordered = tf.math.top_k(saliency, 2 * k).values
    edge = ordered[:, k - 1 : k]
    return tf.reduce_sum(edge - ordered[:, : k - 1], axis=1) + tf.reduce_sum(ordered[:, k:] - edge, axis=1)
