"""Input-gradient regularisation (Drucker and LeCun 1992; Ross and Doshi-Velez 2018): a loss that is flat at each image.

Chen et al. (2019), Proposition 2: with one point of the left rule the attribution of x→x' is (x' − x) ⊙ ∇l(x), and the
largest q-th power of its ℓ1 norm over the ball of the dual norm p, 1/p + 1/q = 1, is (ε‖∇l(x)‖_q)^q by Hölder's
inequality. The maximum is known, so there is no adversary.
"""

import tensorflow as tf

from rar_tf import losses, similarity
from rar_tf.attributions.gradients import saliency_map
from rar_tf.attributions.targets import Target
from rar_tf.objectives import settings
from rar_tf.objectives.robust_model import RobustModel


class InputGradient(RobustModel):
    """Minimise l_y(x) + λ(ε‖∇l_y(x)‖_q)^q; λ is `attribution_weight`, q `gradient_order`, ε the dual ball's radius."""

    Settings = settings.InputGradient
    terms = ("cross_entropy", "gradient")

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        s = self.settings
        gradient = similarity.flatten(saliency_map(Target(self.network, labels, losses.log_loss), images))
        powers = tf.reduce_sum(tf.pow(s.epsilon * tf.abs(gradient), s.gradient_order), axis=1)
        return {**super().loss_terms(images, perturbed, labels), "gradient": s.attribution_weight * powers}
