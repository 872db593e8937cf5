"""Adversarial training (Madry et al. 2018)."""

import tensorflow as tf

from rar_tf import losses
from rar_tf.attributions.targets import Target
from rar_tf.objectives.robust_model import RobustModel


class Madry(RobustModel):
    """Minimise l_y(x') at the x' in the ball that PGD finds to maximise it."""

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        return Target(self.network, labels, losses.cross_entropy)

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"cross_entropy": self.cross_entropy(perturbed, labels)}
