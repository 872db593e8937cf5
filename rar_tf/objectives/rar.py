"""Robust attribution regularisation (Chen et al. 2019): IG-NORM, IG-SUM-NORM and the general objective.

The attribution term is a size of IG(x→x'; l_y), the integrated gradients of the loss from the image to its
perturbation, so that a small one says: every change of the loss on the way is small, feature by feature.
"""

from collections.abc import Callable

import tensorflow as tf

from rar_tf import losses, similarity
from rar_tf.attributions.path_integral import hidden_integrated_gradients, integrated_gradients
from rar_tf.attributions.targets import HiddenTarget, Target
from rar_tf.errors import UsageError
from rar_tf.objectives import settings
from rar_tf.objectives.robust_model import RobustModel


def _norm_l1(x):
    return tf.reduce_sum(tf.abs(x), axis=1)


SIZES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "sum": lambda x: tf.reduce_sum(x, axis=1),
    "l1": _norm_l1,
    "l1_squared": lambda x: tf.square(_norm_l1(x)),
    "l2": similarity.norm,
}


class RAR(RobustModel):
    """Minimise l_y(x) + weight · max_x' s(IG_h(x→x'; l_y)) (Chen et al. 2019, appendix B, Eq. (4)).

    Special cases: size "sum" and weight 1 give Madry's objective (Proposition 1); one step of the left rule gives
    input-gradient regularisation (Proposition 2), of ‖∇l‖₂² with "l1_squared" in an l2 ball, of ‖∇l‖₁ with "l1" in an
    l_inf ball; layer "output" gives the surrogate loss
    |l(x') − l(x)| (Proposition 3).

    λ is `attribution_weight`, s one of `SIZES`, h "input", "output" (the loss itself) or the name of a hidden layer;
    see `settings.RAR`.
    """

    Settings = settings.RAR
    terms = ("cross_entropy", "attribution")
    climbs_prediction = False  # whether the adversary maximises a loss of predictions besides the size

    def __init__(self, network, **settings):
        super().__init__(network, **settings)
        if self.settings.layer not in ("input", "output") and self.settings.ig_chunk is not None:
            raise UsageError(
                f"ig_chunk={self.settings.ig_chunk}: the path of a hidden layer ({self.settings.layer}) is integrated "
                "at once; leave it out, or take fewer ig_steps"
            )
        if self.settings.size != "sum" and not self.climbs_prediction:
            self.needs_random_start()

    def path_attribution(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor, steps: int) -> tf.Tensor:
        """Return IG_h(x→x'; l_y) of the chosen layer, [B, …]."""
        if self.settings.layer == "output":
            loss = Target(self.network, labels, losses.log_loss)
            return (loss(perturbed) - loss(images))[:, None]
        if self.settings.layer == "input":
            return integrated_gradients(
                Target(self.network, labels, losses.log_loss),
                perturbed,
                images,
                steps=steps,
                rule=self.settings.rule,
                chunk=self.settings.ig_chunk,
            )
        return hidden_integrated_gradients(
            HiddenTarget(self.network, self.settings.layer, labels, losses.log_loss),
            perturbed,
            images,
            steps=steps,
            rule=self.settings.rule,
        )

    def regulariser(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor, steps: int) -> tf.Tensor:
        """Return weight · s(IG_h(x→x'; l_y)), one value per sample [B]."""
        return self.settings.attribution_weight * SIZES[self.settings.size](
            similarity.flatten(self.path_attribution(images, perturbed, labels, steps))
        )

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        return lambda perturbed: self.regulariser(images, perturbed, labels, self.settings.attack_ig_steps)

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "cross_entropy": self.cross_entropy(images, labels),
            "attribution": self.regulariser(images, perturbed, labels, self.settings.ig_steps),
        }


class IGNorm(RAR):
    """Minimise l_y(x) + λ‖IG(x→x*; l_y)‖₁ at the x* that maximises the norm (Chen et al. 2019, IG-NORM)."""


class IGSumNorm(RAR):
    """Minimise l_y(x*) + β‖IG(x→x*; l_y)‖₁ at the x* that maximises this sum (Chen et al. 2019, IG-SUM-NORM).

    The same as the general objective with the size function s(u) = sum(u) + β‖u‖₁; `attribution_weight` is β.
    """

    climbs_prediction = True

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        loss, size = Target(self.network, labels, losses.cross_entropy), super().adversary(images, labels)
        return lambda perturbed: loss(perturbed) + size(perturbed)

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "cross_entropy": self.cross_entropy(perturbed, labels),
            "attribution": self.regulariser(images, perturbed, labels, self.settings.ig_steps),
        }
