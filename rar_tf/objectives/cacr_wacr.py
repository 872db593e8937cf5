"""Contrastive and weighted attribution regularisers (Sarkar et al. 2021, Eq. (6), (9), (10), (12)).

u_T, u_N = IG(0→x'; p) of the true class and of the most confusing wrong one at x', A = IG(0→x; p_y),
ΔA = IG(x→x'; p_y), P = softmax over pixels of an attribution's channel sums, U uniform:

L_CACR = KL(U‖P_N) − KL(U‖P_T): the true class's attribution is concentrated, the wrong one's spread out.
L_WACR = Σ_{sign A ≠ sign ΔA} |ΔA| + Σ_{same sign} |A·ΔA|: changes against the attribution's sign cost most.
"""

import tensorflow as tf

from rar_tf import losses, similarity
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.objectives import settings
from rar_tf.objectives.madry import Madry


class CacrWacr(Madry):
    """Minimise l_y(x') + λ(L_CACR + L_WACR) at the x' that maximises l_y(x') + ‖IG(x→x'; l_y)‖₁.

    λ, of both regularisers, is `attribution_weight`; the other settings are those of `settings.CacrWacr`.
    """

    Settings = settings.CacrWacr
    terms = ("cross_entropy", "cacr", "wacr")

    def attribution(self, labels, score, images, baseline=0.0, steps=None):
        """Return IG(baseline→images) of a score of the labels."""
        return integrated_gradients(
            Target(self.network, labels, score),
            images,
            baseline,
            steps=steps or self.settings.ig_steps,
            chunk=self.settings.ig_chunk,
        )

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        loss = super().adversary(images, labels)

        def objective(perturbed):
            change = self.attribution(labels, losses.log_loss, perturbed, images, self.settings.attack_ig_steps)
            return loss(perturbed) + tf.reduce_sum(tf.abs(similarity.flatten(change)), axis=1)

        return objective

    def cacr(self, perturbed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return L_CACR, one value per sample [B]."""
        concentrated = self.divergence(self.attribution(labels, losses.probability, perturbed))
        contrast = -tf.minimum(concentrated, self.settings.cacr_limit)
        if not self.settings.cacr_contrast:
            return contrast
        if self.settings.variant == "code":
            return contrast + self.divergence(self.attribution(labels, losses.strongest_rival, perturbed))
        rivals = tf.argmax(losses.without_label(self.network(perturbed, training=False), labels), axis=1)
        return contrast + self.divergence(self.attribution(rivals, losses.probability, perturbed))

    def divergence(self, attribution: tf.Tensor) -> tf.Tensor:
        """Return KL(U‖softmax over pixels of the scaled attribution), [B]."""
        return losses.divergence_from_uniform(
            self.settings.attribution_scale * similarity.flatten(tf.reduce_sum(attribution, -1))
        )

    def wacr(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return L_WACR, one value per sample [B]."""
        score = losses.log_probability if self.settings.variant == "code" else losses.probability
        if self.settings.delta_attribution == "path":
            change = self.attribution(labels, score, perturbed, images)
        else:
            change = self.attribution(labels, score, perturbed) - self.attribution(labels, score, images)
        cost = tf.abs(change)
        if self.settings.wacr_base:
            base = self.attribution(labels, losses.probability, images)
            cost = tf.where(tf.equal(tf.sign(base), tf.sign(change)), tf.abs(base * change), cost)
        return tf.reduce_sum(similarity.flatten(cost), axis=1)

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        weight = self.settings.attribution_weight
        return {
            **super().loss_terms(images, perturbed, labels),
            "cacr": weight * self.settings.cacr_weight * self.cacr(perturbed, labels),
            "wacr": weight * self.settings.wacr_weight * self.wacr(images, perturbed, labels),
        }
