"""Iterative feature importance attacks (IFIA; Ghorbani et al. 2019; Chen et al. 2019, Section 5; Wang and Kong 2022).

An attack is an objective of maps plus the ascent loop: directions come from a smooth surrogate, maps are scored on the
network itself, and the iterate that is kept has the lowest measure of all that keep the label.

Scores can be had cheaply: iterates are screened with maps of few path points, and only the candidates with the lowest
screened scores are scored with all of them.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rar_tf import checks, metrics
from rar_tf.attacks import MEASURES, OBJECTIVES, scores
from rar_tf.attacks.ascent import ascend, value_and_gradient
from rar_tf.attacks.balls import LINF, Ball
from rar_tf.attacks.objectives import Clean, chosen
from rar_tf.attacks.patches import patch_search, square_sides, uniform_draws
from rar_tf.attacks.steps import StepRule, where_each
from rar_tf.attributions.explainer import Explainer

# The 2019 reference's projection: its rounding decides which whole pixel an iterate is cut to.
_REFERENCE_BALL = LINF._replace(
    project=lambda x, images, epsilon: images + tf.clip_by_value(x - images, -epsilon, epsilon)
)


class Pool(NamedTuple):
    """The candidates of each image: for each of M scores the C iterates with the lowest screened values.

    scores [B, M, C], 1 where there is none yet; images [B, M, C, H, W, channels].
    """

    scores: tf.Tensor
    images: tf.Tensor

    @classmethod
    def empty(cls, images: tf.Tensor, scores: int, candidates: int) -> "Pool":
        """Return the pool of images [B, H, W, channels] before anything is found."""
        batch = tf.shape(images)[0]
        return cls(
            tf.ones([batch, scores, candidates]),
            tf.tile(images[:, None, None], [1, scores, candidates, 1, 1, 1]),
        )

    def merge(self, other: "Pool") -> "Pool":
        """Return the best candidates of two pools."""
        scores = tf.concat([self.scores, other.scores], axis=2)
        best = tf.math.top_k(-scores, self.scores.shape[2])
        images = tf.concat([self.images, other.images], axis=2)
        return Pool(-best.values, tf.gather(images, best.indices, axis=2, batch_dims=2))

    def insert(self, scores: tf.Tensor, images: tf.Tensor) -> "Pool":
        """Return the pool with images [B, H, W, channels] for the worst candidates where scores [B, M] are lower."""
        worst = tf.one_hot(tf.argmax(self.scores, axis=2), self.scores.shape[2], on_value=True, off_value=False)
        better = worst & (scores < tf.reduce_max(self.scores, axis=2))[..., None]
        return Pool(
            tf.where(better, scores[..., None], self.scores),
            tf.where(better[..., None, None, None], images[:, None, None], self.images),
        )


class Kept(NamedTuple):
    """What an attack leaves of each image.

    images [B, H, W, C] and maps [B, D]: the kept iterate; score [B]: its measure, 1 where no iterate improved;
    lowest [B, M]: the least of every tracked score over all candidates, at most 1; curve [T, B]: the lowest (screened)
    measure so far after each step.
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
      epsilon: in pixel units. step_size: the same, or a function of the step, or a rule of `attacks.steps`.
      bounds: pixel range.
      k: features that the top-k objectives and the measure `intersection` look at.
      metric_k: features of the tracked score `topk_intersection`.
      objective: a name of `attacks.OBJECTIVES`; measure: a name of `attacks.MEASURES`.
      explainer: how maps are scored; directions: how the maps are made that directions come from (None: the same).
      screen: how the maps are made that iterates are screened with; None scores every iterate as `explainer` does.
      candidates: iterates of each score that are scored after screening.
      track: further scores that candidates are kept for, and whose lowest value over all candidates is recorded.
      settle_too: further scores whose lowest value is recorded, among the candidates that are kept for the others.
      feasible: refuse steps that lose the label, try half and quarter of them first; the start counts as an iterate.
      score_every: score every so many iterates, the last one always.
      on_device: score iterates where their maps are, as far as `attacks.scores` can; candidates are scored on the host.
      reference: the 2019 reference's details: the clean mass centre is the surrogate's, mass centres are cut to whole
        pixels, and so are iterates where pixels count to more than 1.
      region: [H, W], the region or the map that the objectives `target` and `target_map` go for; None is the lower
        right quarter.
      pairs, sharpness: feature pairs and κ of the pairwise objectives.
      seed: of pairs and random directions.
      among, choice: names of objectives and the number of the one that is climbed, in place of `objective`, where one
        compiled graph is to serve several.
    """

    epsilon: float
    step_size: float | Callable | StepRule
    steps: int
    bounds: tuple[float, float]
    k: int
    metric_k: int = 100
    objective: str = "topk"
    measure: str = "kendall"
    explainer: Explainer = Explainer()
    directions: Explainer | None = None
    screen: Explainer | None = None
    candidates: int = 1
    ball: Ball = LINF
    track: tuple[str, ...] = ()
    settle_too: tuple[str, ...] = ()
    feasible: bool = False
    score_every: int = 1
    on_device: bool = False
    reference: bool = False
    region: object = None
    pairs: int = 4096
    sharpness: float | tf.Tensor = 1.0
    seed: int = 0
    among: tuple[str, ...] = ()
    choice: int | tf.Tensor = 0

    def __post_init__(self):
        checks.one_of(OBJECTIVES, objective=self.objective)
        checks.one_of(MEASURES, measure=self.measure)
        checks.positive(ifia_epsilon=self.epsilon)
        checks.at_least_one(ifia_steps=self.steps, candidates=self.candidates)

    @property
    def tracked(self) -> tuple[str, ...]:
        """The names of the scores that candidates are kept for: the measure, then those of `track`."""
        return (self.measure, *(name for name in self.track if name != self.measure))

    @property
    def wanders(self) -> bool:
        """Whether the path points that directions come from move from step to step."""
        explainer = self.directions or self.explainer
        return isinstance(explainer, Explainer) and explainer.rule == "midpoint"

    @property
    def settled(self) -> tuple[str, ...]:
        """The names of the columns of `Kept.lowest`."""
        return (*self.tracked, *self.settle_too)

    def __call__(
        self, network, surrogate, images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor | None = None
    ) -> Kept:
        """Attack the maps of images [B, H, W, C] that the network classifies as labels [B], beginning at `start`."""
        clean = self.clean(network, surrogate, images, labels)
        pool, curve = self.search(network, surrogate, clean, images if start is None else start, self.empty(images))
        return self.settle(network, clean, pool)._replace(curve=curve)

    def clean(self, network, surrogate, images: tf.Tensor, labels: tf.Tensor) -> Clean:
        """Return what the objective compares with. Raises: UsageError where k exceeds a map's features."""
        clean_maps = self.explainer(network, images, labels)
        for name in ("k", "metric_k"):
            metrics.check_k(getattr(self, name), clean_maps.shape[1], f"ifia_{name}")
        return Clean(images, labels, clean_maps, self.explainer(surrogate, images, labels))

    def empty(self, images: tf.Tensor) -> Pool:
        """Return the pool that a search begins with."""
        return Pool.empty(images, len(self.tracked), self.candidates)

    def search(self, network, surrogate, clean: Clean, start: tf.Tensor, pool: Pool) -> tuple[Pool, tf.Tensor]:
        """Return the pool with what an ascent from `start` [B, H, W, C] finds, and the measure's curve [T, B]."""
        observe = self._observe(network, clean, sure=self.feasible)
        if self.feasible:
            start = tf.clip_by_value(self.ball.project(start, clean.images, self.epsilon), *self.bounds)
            start = where_each(keeps_label(network, start, clean.labels), start, clean.images)
            pool = observe(start, pool)
        curve = tf.TensorArray(tf.float32, self.steps)

        def record(iterate, state):
            step, pool, curve = state
            if self.score_every == 1:
                pool = observe(iterate, pool)
            else:
                due = ((step + 1) % self.score_every == 0) | (step + 1 == self.steps)
                pool = tf.cond(due, lambda: observe(iterate, pool), lambda: pool)
            return step + 1, pool, curve.write(step, tf.reduce_min(pool.scores[:, 0], axis=1))

        _, (_, pool, curve) = ascend(
            self.objective_of(surrogate, clean),
            clean.images,
            start,
            epsilon=self.epsilon,
            step_size=self.step_size,
            steps=self.steps,
            bounds=self.bounds,
            ball=_REFERENCE_BALL if self.reference else self.ball,
            move=self._move(network, clean.labels),
            observe=record,
            state=(0, pool, curve),
            changing=True,
        )
        return pool, curve.stack()

    def moves(self, surrogate, clean: Clean, start: tf.Tensor) -> tf.Tensor:
        """Return whether the objective has a gradient at `start` [B, H, W, C]; bool [B].

        A fixed step without a gradient leads nowhere, and so do all that follow.
        """
        objective = self.objective_of(surrogate, clean)
        _, gradient = value_and_gradient(lambda x: objective(x, 0), start)
        return tf.reduce_any(gradient != 0, axis=[1, 2, 3])

    def search_patches(
        self, network, clean: Clean, start: tf.Tensor, indices: tf.Tensor, seed: tf.Tensor, queries: int
    ) -> Pool:
        """Return the pool of a random search for a low measure in the ℓ∞ ball, which follows no gradient of anything.

        Shape: start [B, H, W, C] in the pixel range, indices int64 [B], seed int64 [].
        """
        height, width, channels = clean.images.shape[1:]
        score = self._scores(network, clean, self.screen or self.explainer, self.tracked, on_device=self.on_device)
        (draws,) = uniform_draws(indices, seed, (queries, 2 + channels))
        best, _ = patch_search(
            lambda candidates: -score(candidates)[1][:, 0],
            clean.images,
            where_each(keeps_label(network, start, clean.labels), start, clean.images),
            draws,
            epsilon=self.epsilon,
            bounds=self.bounds,
            sides=square_sides(queries, height, width, pace=10_000 / queries),
        )
        return self._observe(network, clean)(best, self.empty(clean.images))

    def settle(self, network, clean: Clean, pool: Pool) -> Kept:
        """Return what is kept of the candidates, scored as `explainer` does; the curve is empty."""
        batch, count = tf.shape(clean.images)[0], pool.scores.shape[1] * pool.scores.shape[2]
        shape = tf.concat([[batch, count], tf.shape(clean.images)[1:]], 0)
        candidates = tf.unstack(
            tf.ensure_shape(tf.reshape(pool.images, shape), [None, count, *clean.images.shape[1:]]), axis=1
        )
        found = tf.unstack(tf.reshape(pool.scores, [-1, count]) < 1, axis=1)
        kept = Kept(
            clean.images,
            clean.maps,
            tf.ones([batch]),
            tf.ones([batch, len(self.settled)]),
            tf.zeros([0, batch]),
        )
        score = self._scores(network, clean, self.explainer, self.settled)
        for candidate, is_found in zip(candidates, found):
            values, scores, feasible = score(candidate)
            better = is_found & feasible & (scores[:, 0] < kept.score)
            kept = kept._replace(
                images=where_each(better, candidate, kept.images),
                maps=where_each(better, values, kept.maps),
                score=tf.where(better, scores[:, 0], kept.score),
                lowest=tf.where((is_found & feasible)[:, None], tf.minimum(scores, kept.lowest), kept.lowest),
            )
        return kept

    def objective_of(self, surrogate, clean: Clean) -> Callable:
        """Return what the ascent climbs: (perturbed images [B, H, W, C], step) -> [B]."""
        value = chosen(self, clean) if self.among else OBJECTIVES[self.objective](self, clean)
        explainer = self.directions or self.explainer

        def climbed(perturbed, step=0):
            # Few path points that stay where they are leave gaps that an attack fits itself to: they move every step.
            shift = tf.math.floormod(0.618034 * tf.cast(step, tf.float32) + 0.5, 1.0) - 0.5 if self.wanders else None
            return value(perturbed, explainer(surrogate, perturbed, clean.labels, shift))

        return climbed

    def _move(self, network, labels):
        if self.reference and self.bounds[1] > 1:
            return lambda iterate, proposal: tf.cast(tf.cast(proposal, tf.int32), proposal.dtype)
        if not self.feasible:
            return None

        def shorter(iterate, proposal, kept):
            accepted = iterate
            for share in (0.25, 0.5):
                attempt = iterate + share * (proposal - iterate)
                accepted = where_each(keeps_label(network, attempt, labels), attempt, accepted)
            return where_each(kept, proposal, accepted)

        def move(iterate, proposal):
            kept = keeps_label(network, proposal, labels)
            return tf.cond(tf.reduce_all(kept), lambda: proposal, lambda: shorter(iterate, proposal, kept))

        return move

    def _observe(self, network, clean, *, sure=False):
        """(iterate, pool) -> pool with the iterate where it is among the best."""
        explainer = self.screen or self.explainer
        score = self._scores(network, clean, explainer, self.tracked, sure=sure, on_device=self.on_device)

        def observe(iterate, pool):
            _, found, _ = score(iterate)
            return pool.insert(found, iterate)

        return observe

    def _scores(self, network, clean, explainer, names, *, sure=False, on_device=False):
        """Perturbed images -> (maps [B, D], scores [B, M] by name, whether the label is kept [B]).

        Images that lost their label are not scored: they have 1. sure: that the label is kept is known already.
        """
        budget = {"epsilon": self.epsilon, "black": self.bounds[0]}
        found = scores.scorer(names, clean, k=self.k, metric_k=self.metric_k, **budget) if on_device else None
        scored = found or self._on_host(clean, names)

        def score(perturbed):
            values = explainer(network, perturbed, clean.labels)
            feasible = tf.ones_like(clean.labels, tf.bool) if sure else keeps_label(network, perturbed, clean.labels)
            return values, scored(values, feasible), feasible

        return score

    def _on_host(self, clean, names):
        """(maps [B, D], whether they are to be scored [B]) -> scores [B, M] by name, 1 for the others."""
        scorers = _scorers(self, tuple(clean.images.shape[1:3]))
        # The reference measures how far the mass centre moved from where the surrogate has it.
        before = clean.surrogate_maps if self.reference and self.measure == "mass_center" else clean.maps

        def host_scores(before, after, images, wanted):
            found = np.ones((len(after), len(names)), np.float32)
            if wanted.any():
                rows = before[wanted], after[wanted], images[wanted]
                found[wanted] = np.stack([scorers[name](*rows) for name in names], axis=1)
            return found

        def scored(values, wanted):
            found = tf.numpy_function(host_scores, [before, values, clean.images, wanted], tf.float32)
            return tf.ensure_shape(found, [None, len(names)])

        return scored


def _scorers(attack, shape):
    """Host functions (clean maps, maps, clean images) -> [B], lower where the attack succeeds better."""
    return {
        "kendall": lambda a, b, x: metrics.kendall(a, b),
        "intersection": lambda a, b, x: metrics.topk_intersection(a, b, attack.k),
        "spearman": lambda a, b, x: metrics.spearman(a, b),
        "cosine": lambda a, b, x: metrics.cosine(a, b),
        "kendall_support": lambda a, b, x: metrics.kendall_support(a, b),
        "kendall_foreground": lambda a, b, x: metrics.kendall_foreground(a, b, x, attack.epsilon, attack.bounds[0]),
        "topk_intersection": lambda a, b, x: metrics.topk_intersection(a, b, attack.metric_k),
        "mass_center": lambda a, b, x: -metrics.mass_center_distance(a, b, shape, truncate=attack.reference),
    }


def keeps_label(network, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return whether the network classifies images [B, H, W, C] as labels [B]; bool [B]."""
    return tf.argmax(network(images, training=False), axis=1, output_type=labels.dtype) == labels
