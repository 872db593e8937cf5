"""Contrastive and weighted attribution regularisers (Sarkar et al. 2021, Eq. (6), (9), (10), (12)).

u_T, u_N = IG(0→x'; p) of the true class and of the most confusing wrong one at x', A = IG(0→x; p_y),
ΔA = IG(x→x'; p_y), P = softmax over pixels of an attribution's channel sums, U uniform:

L_CACR = KL(U‖P_N) − KL(U‖P_T): the true class's attribution is concentrated, the wrong one's spread out.
L_WACR = Σ_{sign A ≠ sign ΔA} |ΔA| + Σ_{same sign} |A·ΔA|: changes against the attribution's sign cost most.
"""

import tensorflow as tf

from rar_tf import checks, losses
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.objectives.madry import Madry
from rar_tf.objectives.rar import check_ig_steps


class CacrWacr(Madry):
    """Minimise l_y(x') + λ(L_CACR + L_WACR) at the x' that maximises l_y(x') + ‖IG(x→x'; l_y)‖₁.

    Args:
      attribution_weight: λ, of both regularisers.
      cacr_weight: L_CACR's own weight (Tables 7 to 10).
      wacr_weight: L_WACR's own weight.
      variant: "paper", or "code" for what the authors' programs do: ΔA of the log-probability, and the most confusing
        class chosen anew at every point of the path.
      delta_attribution: "path" for ΔA = IG(x→x'), "difference" for IG(0→x') − IG(0→x); Eq. (8) takes them to be equal.
      attribution_scale: factor of u_T and u_N before the softmax. Unscaled, attributions of a probability are so small
        that L_CACR is about half their variance, 1e-7 to 1e-5.
      cacr_limit: where KL(U‖P_T), in nats, stops paying: −KL(U‖P_T) has no lower bound. Only scaled ones get there.
      cacr_contrast: whether L_CACR has its term KL(U‖P_N).
      wacr_base: whether L_WACR looks at A; otherwise it is ‖ΔA‖₁.
      ig_steps: path points m in the training step.
      attack_ig_steps: path points m' inside the adversary, a divisor of m.
      ig_chunk: path points held in memory at once; None for all.
    """

    terms = ("cross_entropy", "cacr", "wacr")

    def __init__(
        self,
        network,
        *,
        attribution_weight: float = 1.0,
        cacr_weight: float = 1.0,
        wacr_weight: float = 1.0,
        variant: str = "paper",
        delta_attribution: str = "path",
        attribution_scale: float = 1.0,
        cacr_limit: float = 10.0,
        cacr_contrast: bool = True,
        wacr_base: bool = True,
        ig_steps: int = 50,
        attack_ig_steps: int = 10,
        ig_chunk: int | None = None,
        **settings,
    ):
        super().__init__(network, **settings)
        checks.not_negative(attribution_weight=attribution_weight, cacr_weight=cacr_weight, wacr_weight=wacr_weight)
        checks.positive(attribution_scale=attribution_scale, cacr_limit=cacr_limit)
        checks.one_of(("paper", "code"), variant=variant)
        checks.one_of(("path", "difference"), delta_attribution=delta_attribution)
        check_ig_steps(ig_steps, attack_ig_steps)
        self.cacr_weight, self.wacr_weight = attribution_weight * cacr_weight, attribution_weight * wacr_weight
        self.variant, self.delta_attribution = variant, delta_attribution
        self.attribution_scale, self.cacr_limit = attribution_scale, cacr_limit
        self.cacr_contrast, self.wacr_base = cacr_contrast, wacr_base
        self.ig_steps, self.attack_ig_steps, self.ig_chunk = ig_steps, attack_ig_steps, ig_chunk

    def attribution(self, labels, score, images, baseline=0.0, steps=None):
        """Return IG(baseline→images) of a score of the labels."""
        return integrated_gradients(
            Target(self.network, labels, score), images, baseline, steps=steps or self.ig_steps, chunk=self.ig_chunk
        )

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        loss = super().adversary(images, labels)

        def objective(perturbed):
            change = self.attribution(labels, losses.log_loss, perturbed, images, self.attack_ig_steps)
            return loss(perturbed) + tf.reduce_sum(tf.abs(losses.flatten(change)), axis=1)

        return objective

    def cacr(self, perturbed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return L_CACR, one value a sample [B]."""
        concentrated = self.divergence(self.attribution(labels, losses.probability, perturbed))
        contrast = -tf.minimum(concentrated, self.cacr_limit)
        if not self.cacr_contrast:
            return contrast
        if self.variant == "code":
            return contrast + self.divergence(self.attribution(labels, losses.strongest_rival, perturbed))
        rivals = tf.argmax(losses.without_label(self.network(perturbed, training=False), labels), axis=1)
        return contrast + self.divergence(self.attribution(rivals, losses.probability, perturbed))

    def divergence(self, attribution: tf.Tensor) -> tf.Tensor:
        """Return KL(U‖softmax over pixels of the scaled attribution), [B]."""
        return losses.divergence_from_uniform(self.attribution_scale * losses.flatten(tf.reduce_sum(attribution, -1)))

    def wacr(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return L_WACR, one value a sample [B]."""
        score = losses.log_probability if self.variant == "code" else losses.probability
        if self.delta_attribution == "path":
            change = self.attribution(labels, score, perturbed, images)
        else:
            change = self.attribution(labels, score, perturbed) - self.attribution(labels, score, images)
        cost = tf.abs(change)
        if self.wacr_base:
            base = self.attribution(labels, losses.probability, images)
            cost = tf.where(tf.equal(tf.sign(base), tf.sign(change)), tf.abs(base * change), cost)
        return tf.reduce_sum(losses.flatten(cost), axis=1)

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            **super().loss_terms(images, perturbed, labels),
            "cacr": self.cacr_weight * self.cacr(perturbed, labels),
            "wacr": self.wacr_weight * self.wacr(images, perturbed, labels),
        }
