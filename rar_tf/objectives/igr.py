"""The integrated gradients regulariser on AT, TRADES and MART (Wang and Kong 2022, Eq. (3), Table 1)."""

import tensorflow as tf

from rar_tf import similarity
from rar_tf.objectives import settings
from rar_tf.objectives.madry import Madry
from rar_tf.objectives.mart import MART
from rar_tf.objectives.matching import AttributionMatching
from rar_tf.objectives.trades import TRADES


class IGR(AttributionMatching):
    """Adds λ(1 − cos(IG(x), IG(x'))) to a base method: `class Mine(IGR, Base)` with one more name in `terms`.

    With adversary="base" the base method's own perturbation is taken over (the paper's experiments); "igr" maximises
    the regulariser instead (Eq. (5)).
    """

    Settings = settings.IGR

    def __init__(self, network, **settings):
        super().__init__(network, **settings)
        if self.settings.adversary == "igr":
            self.needs_random_start()

    def dissimilarity(self, clean: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return 1.0 - similarity.cosine_similarity(clean, changed)

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        if self.settings.adversary == "base":
            return super().adversary(images, labels)
        return self.attribution_change(images, labels, self.settings.attack_ig_steps)


class IGRAT(IGR, Madry):
    """Adversarial training with the regulariser (AT+IGR)."""

    terms = (*Madry.terms, "attribution")


class IGRTRADES(IGR, TRADES):
    """TRADES with the regulariser (TRADES+IGR)."""

    Settings = settings.IGRTRADES
    terms = (*TRADES.terms, "attribution")


class IGRMART(IGR, MART):
    """MART with the regulariser (MART+IGR)."""

    Settings = settings.IGRMART
    terms = (*MART.terms, "attribution")
