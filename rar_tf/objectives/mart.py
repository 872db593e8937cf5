"""MART (Wang et al. 2020): adversarial training that cares more for the images that it misclassifies."""

import tensorflow as tf

from rar_tf import losses
from rar_tf.objectives import settings
from rar_tf.objectives.madry import Madry


class MART(Madry):
    """Minimise BCE(x') + β·KL(p(x)‖p(x'))·(1 − p_y(x)) at the x' that PGD on the cross-entropy finds.

    BCE(x') = l_y(x') − log(1.0001 − max_{k≠y} p_k(x')), the boosted cross-entropy.
    """

    Settings = settings.MART

    terms: tuple[str, ...] = ("boosted_cross_entropy", "kl")

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        natural, adversarial = self.network(images, training=True), self.network(perturbed, training=True)
        boost = -tf.math.log(1.0001 - losses.strongest_rival(adversarial, labels))
        misclassified = 1.0 - losses.probability(natural, labels)
        return {
            "boosted_cross_entropy": losses.cross_entropy(adversarial, labels) + boost,
            "kl": self.settings.beta * losses.kl_divergence(natural, adversarial) * misclassified,
        }
