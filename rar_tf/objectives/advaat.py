"""Adversarial attributional training (Ivankay et al. 2020): the attributions' Pearson correlation is kept up.

PCL(a, b) = (1 − Pearson(a, b))/2, over all signed features.
"""

import tensorflow as tf

from rar_tf import similarity
from rar_tf.objectives.madry import Madry
from rar_tf.objectives.matching import AttributionMatching


class AAT(AttributionMatching):
    """Minimise l_y(x) + λ·PCL(IG(x), IG(x')) at the x' that maximises it; l_y(x) does not depend on x'."""

    terms = ("cross_entropy", "attribution")

    def __init__(self, network, **settings):
        super().__init__(network, **settings)
        self.needs_random_start()

    def dissimilarity(self, clean: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return 0.5 * (1.0 - similarity.pearson_correlation(clean, changed))

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        return self.attribution_change(images, labels, self.settings.attack_ig_steps)


class AdvAAT(AAT, Madry):
    """Minimise l_y(x') + λ·PCL(IG(x), IG(x')) at the x' that maximises this whole objective."""

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        change, loss = AAT.adversary(self, images, labels), Madry.adversary(self, images, labels)
        return lambda perturbed: loss(perturbed) + change(perturbed)
