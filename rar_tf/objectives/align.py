"""Alignment of an image's attribution with that of its adversary, on AT, TRADES and MART: this package's own method.

With a(x) the map of an attribution of the true logit f_y, by default |x ⊙ ∇f_y(x)|, and x' the adversary's image:

    base method's loss + λ[1 − cos(a(x), a(x')) + μ·change(a(x), a(x'))] + ν·curvature + ξ·linearity
    change(a, a') = ‖a − a'‖²/(‖a‖² + ‖a'‖²)

It is made for smooth networks (`rar_tf.smoothed`, or --activation=softplus --pooling=average): only their gradients
move smoothly, so that one point of the ball says something of the others.

Curvature is change(∇f_y(x), ∇f_y(z)) with a random point z of the ball (as in Joo et al. 2023, but free of the
gradients' scale). Linearity is [f_y(z_c) − (1 − u)f_y(z_a) − u·f_y(z_b)]² with z_c = (1 − u)z_a + u·z_b, all random; it
needs no second derivatives (ELLE; Abad Rocamora et al. 2024).
"""

import tensorflow as tf

from rar_tf import randomness, similarity
from rar_tf.attributions import PROTOCOLS
from rar_tf.attributions.explainer import attribute
from rar_tf.attributions.gradients import gradient, saliency_map
from rar_tf.attributions.targets import Target
from rar_tf.objectives import settings
from rar_tf.objectives.madry import Madry
from rar_tf.objectives.mart import MART
from rar_tf.objectives.matching import AttributionMatching
from rar_tf.objectives.robust_model import TERMS
from rar_tf.objectives.trades import TRADES

_PATH, _FIRST, _SECOND, _BETWEEN = range(4)  # what a step's random numbers of the terms are for


class Align(AttributionMatching):
    """Adds the alignment terms to a base method: `class Mine(Align, Base)` with the names of `added` in `terms`.

    λ is `attribution_weight`, μ `distance_weight`, ν `curvature_weight`, ξ `linearity_weight`. `aligned` names the
    attribution and `aligned_protocol` the map. The adversary is the base method's, which then climbs the misalignment
    for `align_steps` more steps; the weights grow over `align_warmup` steps of training.
    """

    Settings = settings.Align
    added = ("attribution", "curvature", "linearity")

    def attributed(self, target: Target, images: tf.Tensor, steps: int) -> tf.Tensor:
        """Return the maps [B, D] that are aligned."""
        if self.settings.aligned == "path_point":
            found = images * gradient(target, self._uniform(images[:, :1, :1, :1], _PATH) * images)
        else:
            found = attribute(self.settings.aligned, target, images, steps=steps, chunk=self.settings.ig_chunk)
        return PROTOCOLS[self.settings.aligned_protocol](found)

    def dissimilarity(self, clean: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        distance = 1.0 - similarity.cosine_similarity(clean, changed)
        if not self.settings.distance_weight:
            return distance
        return distance + self.settings.distance_weight * relative_change(clean, changed)

    def perturb(self, images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor, share=1.0) -> tf.Tensor:
        perturbed, s = super().perturb(images, labels, start, share), self.settings
        if not s.align_steps:
            return perturbed
        change = self.attribution_change(images, labels, s.attack_ig_steps)
        return self._ascend(change, images, perturbed, share, s.align_steps)

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        terms, grown = super().loss_terms(images, perturbed, labels), self.ramp(self.step, self.settings.align_warmup)
        none = tf.zeros_like(images[:, 0, 0, 0])
        for name, term in (("curvature", self.curvature), ("linearity", self.linearity)):
            weight = getattr(self.settings, f"{name}_weight")
            terms[name] = weight * term(images, labels) if weight else none
        return {name: grown * term if name in self.added else term for name, term in terms.items()}

    def curvature(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return the relative change of ∇f_y to a random point of the ball. Shape: [B, H, W, C] -> [B]."""
        target = Target(self.network, labels)
        return relative_change(
            *(similarity.flatten(saliency_map(target, each)) for each in (images, self._inside(images, _FIRST)))
        )

    def linearity(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return [f_y(z_c) − (1 − u)f_y(z_a) − u·f_y(z_b)]², z_a and z_b random. Shape: [B, H, W, C] -> [B]."""
        target, part = Target(self.network, labels), self._uniform(images[:, :1, :1, :1], _BETWEEN)
        first, second = self._inside(images, _FIRST), self._inside(images, _SECOND)
        between = target((1 - part) * first + part * second)
        part = part[:, 0, 0, 0]
        return tf.square(between - (1 - part) * target(first) - part * target(second))

    def _inside(self, images, purpose):
        """A random point of the ball around each image, in the pixel range."""
        point = self._random_start(images, self.step, TERMS + purpose, self.share(self.step))
        return tf.clip_by_value(point, *self.settings.bounds)

    def _uniform(self, like, purpose):
        seed = randomness.step_seed(self.settings.seed, self.step, TERMS + purpose)
        return randomness.for_replica(
            lambda zeros: tf.random.stateless_uniform(tf.shape(zeros), seed, dtype=zeros.dtype, alg="philox"), like
        )


def relative_change(clean: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
    """Return ‖changed − clean‖²/(‖clean‖² + ‖changed‖²), 0 for two zeros. Shape: both [B, D] -> [B], in [0, 2]."""
    size = tf.reduce_sum(tf.square(clean) + tf.square(changed), axis=1)
    return tf.math.divide_no_nan(tf.reduce_sum(tf.square(changed - clean), axis=1), size)


class AlignAT(Align, Madry):
    """Adversarial training with alignment."""

    terms = (*Madry.terms, *Align.added)


class AlignTRADES(Align, TRADES):
    """TRADES with alignment."""

    Settings = settings.AlignTRADES
    terms = (*TRADES.terms, *Align.added)


class AlignMART(Align, MART):
    """MART with alignment."""

    Settings = settings.AlignMART
    terms = (*MART.terms, *Align.added)
