"""Iterative feature importance attacks (IFIA; Ghorbani et al. 2019; Chen et al. 2019, Section 5; Wang and Kong 2022).

An attack is an objective of maps plus the ascent loop: directions come from a smooth surrogate, maps are scored on the
network itself, and the iterate that is kept has the lowest measure of all that keep the label.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rar_tf import checks, metrics, similarity
from rar_tf.attacks import MEASURES, OBJECTIVES
from rar_tf.attacks.ascent import ascend
from rar_tf.attacks.balls import LINF, Ball
from rar_tf.attacks.steps import where_each
from rar_tf.attributions import maps
from rar_tf.attributions.explainer import Explainer
from rar_tf.errors import UsageError

# The 2019 reference's projection: its rounding decides which whole pixel an iterate is cut to.
_REFERENCE_BALL = LINF._replace(
    project=lambda x, images, epsilon: images + tf.clip_by_value(x - images, -epsilon, epsilon)
)


class Clean(NamedTuple):
    """What an objective may know of the unperturbed images: they, their labels, maps, and the surrogate's maps."""

    images: tf.Tensor
    labels: tf.Tensor
    maps: tf.Tensor
    surrogate_maps: tf.Tensor


# Objectives: (attack, clean) -> function (perturbed images, their maps [B, D]) -> [B], to be made large.


def top_k(attack, clean):
    mask = maps.top_k_mask(clean.maps, attack.k)
    return lambda perturbed, values: -tf.reduce_sum(mask * values, axis=1)


def mass_center(attack, clean):
    height, width, channels = clean.images.shape[1:]

    def center(values):
        grid = tf.reduce_sum(tf.reshape(tf.abs(values), [-1, height * width, values.shape[1] // (height * width)]), 2)
        total = tf.reduce_sum(grid, axis=1, keepdims=True)
        return maps.mass_center(height * width * tf.math.divide_no_nan(grid, total), height, width)

    origin = center(clean.surrogate_maps if attack.reference else clean.maps)
    if attack.reference:
        origin = tf.cast(tf.cast(origin, tf.int32), origin.dtype)
    return lambda perturbed, values: tf.reduce_sum(tf.square(center(values) - origin), axis=1)


def target_region(attack, clean):
    height, width, channels = clean.images.shape[1:]
    if attack.region is None:  # the lower right quarter
        region = np.zeros((height, width), np.float32)
        region[height // 2 :, width // 2 :] = 1
    else:
        region = np.asarray(attack.region, np.float32)
        if region.shape != (height, width):
            raise UsageError(f"the target region must be of shape {(height, width)}, got {region.shape}")
    repeats = clean.maps.shape[1] // (height * width)
    mask = tf.constant(np.repeat(region.reshape(1, -1), repeats, axis=1))
    return lambda perturbed, values: tf.reduce_sum(mask * values, axis=1)


def random_direction(attack, clean):
    # Without a gradient of maps the graph computes none: the attack goes to a random corner of the ball.
    signs = tf.random.stateless_uniform(clean.images.shape[1:], [attack.seed, 1], -1.0, 1.0)
    return lambda perturbed, values: tf.reduce_sum(signs * perturbed, axis=[1, 2, 3])


def kendall(attack, clean):
    """Σ over seeded pairs of −sign(s₀ᵢ − s₀ⱼ)·tanh(κ(sᵢ − sⱼ)), a smooth stand-in for Kendall's rank correlation."""
    features = clean.maps.shape[1]
    rng = np.random.default_rng((attack.seed, features))
    left = rng.integers(0, features, attack.pairs)
    right = (left + rng.integers(1, features, attack.pairs)) % features
    order = tf.sign(tf.gather(clean.maps, left, axis=1) - tf.gather(clean.maps, right, axis=1))
    # κ counts in units of the mean absolute map value, which is 1 in the protocol `rar`.
    scale = tf.reduce_mean(tf.abs(clean.maps), axis=1, keepdims=True)

    def objective(perturbed, values):
        difference = tf.gather(values, left, axis=1) - tf.gather(values, right, axis=1)
        return -tf.reduce_sum(order * tf.tanh(attack.sharpness * tf.math.divide_no_nan(difference, scale)), axis=1)

    return objective


def cosine(attack, clean):
    return lambda perturbed, values: 1.0 - similarity.cosine_similarity(values, clean.maps)


def _scorers(attack, shape):
    """Host functions (clean maps, maps) -> [B], lower where the attack succeeds better."""
    return {
        "kendall": metrics.kendall,
        "intersection": lambda a, b: metrics.topk_intersection(a, b, attack.k),
        "spearman": metrics.spearman,
        "cosine": metrics.cosine,
        "kendall_support": metrics.kendall_support,
        "topk_intersection": lambda a, b: metrics.topk_intersection(a, b, attack.metric_k),
        "mass_center": lambda a, b: -metrics.mass_center_distance(a, b, shape, truncate=attack.reference),
    }


class Kept(NamedTuple):
    """What an attack leaves of each image.

    images [B, H, W, C] and maps [B, D]: the kept iterate; score [B]: its measure, 1 where no iterate improved;
    lowest [B, M]: the least of every tracked score over all iterates that keep the label, at most 1;
    curve [T, B]: the lowest measure so far after each step.
    """

    images: tf.Tensor
    maps: tf.Tensor
    score: tf.Tensor
    lowest: tf.Tensor
    curve: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Ifia:
    """An attribution attack's settings; calling it attacks a batch.

    Args:
      epsilon, step_size: in pixel units; step_size may be a function of the step.
      bounds: pixel range.
      k: features that the objective `topk` and the measure `intersection` look at.
      metric_k: features of the tracked score `topk_intersection`.
      objective: a name of `OBJECTIVES`; measure: a name of `MEASURES`.
      explainer: how maps are scored; directions: how the maps are made that directions come from (None: the same).
      track: further scores whose lowest value over all iterates is recorded.
      feasible: refuse steps that lose the label, try half and quarter of them first.
      score_every: score every so many iterates, the last one always.
      reference: the 2019 reference's details: the clean mass centre is the surrogate's, mass centres are cut to whole
        pixels, and so are iterates where pixels count to more than 1.
      region: [H, W] mask of the objective `target`; None is the lower right quarter.
      pairs, sharpness: feature pairs and κ of the objective `kendall`.
      seed: of pairs and random directions.
    """

    epsilon: float
    step_size: float | Callable
    steps: int
    bounds: tuple[float, float]
    k: int
    metric_k: int = 100
    objective: str = "topk"
    measure: str = "kendall"
    explainer: Explainer = Explainer()
    directions: Explainer | None = None
    ball: Ball = LINF
    track: tuple[str, ...] = ()
    feasible: bool = False
    score_every: int = 1
    reference: bool = False
    region: object = None
    pairs: int = 4096
    sharpness: float = 1.0
    seed: int = 0

    def __post_init__(self):
        checks.one_of(OBJECTIVES, objective=self.objective)
        checks.one_of(MEASURES, measure=self.measure)
        checks.positive(ifia_epsilon=self.epsilon)
        checks.at_least_one(ifia_steps=self.steps)

    @property
    def tracked(self) -> tuple[str, ...]:
        """The names of the columns of `Kept.lowest`: the measure, then those of `track`."""
        return (self.measure, *(name for name in self.track if name != self.measure))

    def __call__(
        self, network, surrogate, images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor | None = None
    ) -> Kept:
        """Attack the maps of images [B, H, W, C] that the network classifies as labels [B], beginning at `start`."""
        clean = self.clean(network, surrogate, images, labels)
        start = images if start is None else start
        if self.feasible:
            start = where_each(keeps_label(network, start, labels), start, images)
        state = (
            0,
            Kept(
                images,
                clean.maps,
                tf.ones_like(labels, tf.float32),
                tf.ones([tf.shape(images)[0], len(self.tracked)]),
                tf.ones([self.steps, tf.shape(images)[0]]),
            ),
        )
        _, (_, kept) = ascend(
            self.objective_of(surrogate, clean),
            images,
            start,
            epsilon=self.epsilon,
            step_size=self.step_size,
            steps=self.steps,
            bounds=self.bounds,
            ball=_REFERENCE_BALL if self.reference else self.ball,
            move=self._move(network, labels),
            observe=self._observe(network, clean),
            state=state,
        )
        return kept

    def clean(self, network, surrogate, images: tf.Tensor, labels: tf.Tensor) -> Clean:
        """Return what the objective compares with. Raises: UsageError where k exceeds a map's features."""
        clean_maps = self.explainer(network, images, labels)
        for name in ("k", "metric_k"):
            metrics.check_k(getattr(self, name), clean_maps.shape[1], f"ifia_{name}")
        return Clean(images, labels, clean_maps, self.explainer(surrogate, images, labels))

    def objective_of(self, surrogate, clean: Clean) -> Callable:
        """Return what the ascent climbs: perturbed images [B, H, W, C] -> [B]."""
        value = OBJECTIVES[self.objective](self, clean)
        explainer = self.directions or self.explainer
        return lambda perturbed: value(perturbed, explainer(surrogate, perturbed, clean.labels))

    def _move(self, network, labels):
        if self.reference and self.bounds[1] > 1:
            return lambda iterate, proposal: tf.cast(tf.cast(proposal, tf.int32), proposal.dtype)
        if not self.feasible:
            return None

        def move(iterate, proposal):
            accepted = iterate
            for share in (0.25, 0.5, 1.0):
                attempt = iterate + share * (proposal - iterate)
                accepted = where_each(keeps_label(network, attempt, labels), attempt, accepted)
            return accepted

        return move

    def _observe(self, network, clean):
        scorers = _scorers(self, tuple(clean.images.shape[1:3]))
        # The reference measures how far the mass centre moved from where the surrogate has it.
        before = clean.surrogate_maps if self.reference and self.measure == "mass_center" else clean.maps

        def host_scores(before, after):
            return np.stack([scorers[name](before, after) for name in self.tracked], axis=1).astype(np.float32)

        def score(iterate, kept):
            values = self.explainer(network, iterate, clean.labels)
            scores = tf.ensure_shape(
                tf.numpy_function(host_scores, [before, values], tf.float32), [None, len(self.tracked)]
            )
            feasible = keeps_label(network, iterate, clean.labels)
            better = feasible & (scores[:, 0] < kept.score)
            return kept._replace(
                images=where_each(better, iterate, kept.images),
                maps=where_each(better, values, kept.maps),
                score=tf.where(better, scores[:, 0], kept.score),
                lowest=tf.where(feasible[:, None], tf.minimum(scores, kept.lowest), kept.lowest),
            )

        def observe(iterate, state):
            step, kept = state
            if self.score_every == 1:
                kept = score(iterate, kept)
            else:
                due = ((step + 1) % self.score_every == 0) | (step + 1 == self.steps)
                kept = tf.cond(due, lambda: score(iterate, kept), lambda: kept)
            curve = tf.where((tf.range(self.steps) == step)[:, None], kept.score, kept.curve)
            return step + 1, kept._replace(curve=curve)

        return observe


def keeps_label(network, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return whether the network classifies images [B, H, W, C] as labels [B]; bool [B]."""
    return tf.argmax(network(images, training=False), axis=1, output_type=labels.dtype) == labels
