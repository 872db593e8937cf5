"""Attributional robustness training (Singh et al. 2020; as Wang and Kong 2022, Eq. (49)–(51), print it)."""

import tensorflow as tf

from rar_tf import losses, similarity
from rar_tf.attributions.gradients import saliency_map
from rar_tf.attributions.targets import Target
from rar_tf.models.surrogate import is_smooth, softplus_surrogate
from rar_tf.objectives import settings
from rar_tf.objectives.madry import Madry


class ART(Madry):
    """Minimise l_y(x') + λ·softplus(d(g^y, x) − d(g^{i*}, x)) at the x' that maximises the second term.

    g^i is the gradient of logit i at x' of the network's softplus surrogate, d = 1 − cosine, i* the strongest wrong
    class at x'. So the true class's saliency map shall look like the clean image, more than the rival's does. (The
    print has g(x), which the adversary could not change.)
    λ is `attribution_weight`, the surrogate's inverse temperature `softplus_beta`; a network with smooth activations is
    its own surrogate.
    """

    Settings = settings.ART

    terms = ("cross_entropy", "attribution")

    def __init__(self, network, **settings):
        super().__init__(network, **settings)
        beta = self.settings.softplus_beta
        smooth = beta == 0 or is_smooth(network, pooling=False)
        self.smooth = network if smooth else softplus_surrogate(network, beta)

    def misalignment(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return λ·softplus(cos(g^{i*}(x'), x) − cos(g^y(x'), x)), one value per sample [B]."""
        rivals = tf.argmax(losses.without_label(self.network(perturbed, training=False), labels), axis=1)
        own, rival = (
            similarity.cosine_similarity(saliency_map(Target(self.smooth, classes), perturbed), images)
            for classes in (labels, rivals)
        )
        return self.settings.attribution_weight * tf.math.softplus(rival - own)

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        return lambda perturbed: self.misalignment(images, perturbed, labels)

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            **super().loss_terms(images, perturbed, labels),
            "attribution": self.misalignment(images, perturbed, labels),
        }
