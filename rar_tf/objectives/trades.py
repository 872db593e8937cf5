"""TRADES (Zhang et al. 2019): a trade-off between natural accuracy and a smooth prediction around each image."""

import tensorflow as tf

from rar_tf import losses, randomness
from rar_tf.objectives import settings
from rar_tf.objectives.robust_model import START, RobustModel

_NOISE = 1e-3  # standard deviation of the start, in parts of the pixel range


class TRADES(RobustModel):
    """Minimise l_y(x) + β·KL(p(x)‖p(x')) at the x' that maximises the divergence.

    The adversary starts from x + 0.001·N(0, 1) (of the pixel range), since the divergence has no gradient at x itself.

    The first term is of the image (Zhang et al. 2019), or, with clean_term=False, l_y(x') of the perturbed one, as Wang
    and Kong (2022) print it in Table 1.
    """

    Settings = settings.TRADES

    terms: tuple[str, ...] = ("cross_entropy", "kl")

    def __init__(self, network, **settings):
        super().__init__(network, **settings)
        self.needs_random_start()

    def start(self, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        seed = randomness.step_seed(self.settings.seed, step, START)
        noise = randomness.for_replica(
            lambda zeros: tf.random.stateless_normal(tf.shape(zeros), seed, dtype=zeros.dtype, alg="philox"), images
        )
        return images + _NOISE * (self.settings.bounds[1] - self.settings.bounds[0]) * noise

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        natural = self.network(images, training=False)
        return lambda perturbed: losses.kl_divergence(natural, self.network(perturbed, training=False))

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        natural, adversarial = self.network(images, training=True), self.network(perturbed, training=True)
        return {
            "cross_entropy": losses.cross_entropy(natural if self.settings.clean_term else adversarial, labels),
            "kl": self.settings.beta * losses.kl_divergence(natural, adversarial),
        }
