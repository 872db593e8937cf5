"""Attacks that look for a violation of a bound: no point may go below a certificate; a linear bound may be exceeded.

The ℓ2 attack on smoothed maps is that of the paper on uniformly smoothed attributions (appendix B: normalised gradient
steps, projection, a random start, 20 restarts), but climbs what is certified, the cosine or the ranks, where the paper
takes from the top k, which finds a third of the change. Inside the attack the smoothed map is a mean over common random
numbers; the score comes from fresh ones. PGD and IFIA look for the largest change of a plain map (Wang and Kong 2023).
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rar_tf import checks, losses, metrics, similarity
from rar_tf.attacks import OBJECTIVES as KNOWN
from rar_tf.attacks.ascent import ascend
from rar_tf.attacks.balls import L2, Ball
from rar_tf.attacks.objectives import Clean
from rar_tf.attributions.maps import top_k_mask
from rar_tf.certification.field import Field
from rar_tf.certification.smoothing import Smoother, sample_seed, uniform_noise

OBJECTIVES = ("cosine", "topk", "topk_soft", "kendall")
UNBOUNDED = (-np.inf, np.inf)  # a certificate holds for all of space, so its attacks need not stay in the pixel range


class Attacked(NamedTuple):
    """image: the worst point found [H, W, C]. score: its agreement with the map at x. inside: the least that the search
    met by its own common samples.
    """

    image: np.ndarray
    score: float
    inside: float


class Score(NamedTuple):
    """What an attack makes small: `inside` of tensors [1, d], [R, d] -> [R], `final` the same of arrays, exact."""

    inside: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    final: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _cosine(clean, maps):
    return similarity.cosine_similarity(similarity.in_range(maps), similarity.in_range(clean) + tf.zeros_like(maps))


COSINE = Score(_cosine, metrics.cosine)


def top_k_score(k: int) -> Score:
    """Return the top-k intersection as a score."""

    def inside(clean, maps):
        return tf.reduce_sum(top_k_mask(clean, k) * top_k_mask(maps, k), 1) / k

    return Score(inside, lambda clean, maps: metrics.topk_intersection(clean, maps, k))


def kendall_score(pairs: int = 4096) -> Score:
    """Return Kendall's tau-a as a score; inside the attack that of a sample of the pairs."""

    def inside(clean, maps):
        features = clean.shape[1]
        left = np.random.default_rng(features).integers(0, features, pairs)
        right = (left + np.random.default_rng(features + 1).integers(1, max(features, 2), pairs)) % features
        order, now = (tf.sign(tf.gather(each, left, axis=1) - tf.gather(each, right, axis=1)) for each in (clean, maps))
        return tf.reduce_mean(order * now, 1)

    return Score(inside, lambda clean, maps: metrics.kendall(clean, maps, "a"))


class SmoothedMapAttack:
    """The ℓ2 attack on smoothed maps (plain ones for `radius` None), compiled once for all images.

    Args:
      field: the bounded field that is certified; scores every iterate.
      directions: the field whose gradient is followed, a softplus surrogate's; ReLU maps have next to none.
      k: features in the top-k objectives. samples: common random numbers of the smoothed map.
      relative_step: step size as a share of ε. restarts_at_once: most starts in one batch.
      objective: of `OBJECTIVES`, as in `rar_tf.attacks`: what is climbed. score: what the kept iterate makes least.
      noise: that of the smoothed map.

    Raises: UsageError for an unknown objective.
    """

    def __init__(
        self,
        field: Field,
        directions: Field,
        *,
        k: int = 100,
        samples: int = 32,
        steps: int = 200,
        relative_step: float = 0.25,
        restarts: int = 20,
        restarts_at_once: int = 5,
        objective: str = "cosine",
        score: Score = COSINE,
        noise: Callable = uniform_noise,
    ):
        checks.one_of(OBJECTIVES, objective=objective)
        batches = -(-restarts // restarts_at_once)
        self.restarts, self.samples, self.score, self.noise = restarts, samples, score, noise
        self.restarts_at_once = -(-restarts // batches)  # batches of nearly equal size, so that few starts are wasted

        def smoothed(of, points, label, noise):
            """Means of field `of` over the common noise. Shape: points [R, H, W, C], noise [S, H, W, C] -> [R, d]."""
            noisy = noise[:, None] + points[None]
            flat = tf.reshape(noisy, tf.concat([[-1], tf.shape(points)[1:]], 0))
            flat = tf.ensure_shape(flat, [None, *points.shape[1:]])
            maps = similarity.flatten(of(flat, tf.fill([tf.shape(flat)[0]], label)))
            return tf.reduce_mean(tf.reshape(maps, [tf.shape(noise)[0], tf.shape(points)[0], maps.shape[1]]), 0)

        @tf.function(autograph=False, reduce_retracing=True)
        def attack(image, label, epsilon, noise, seed):
            images = tf.repeat(image[None], self.restarts_at_once, 0)
            images = tf.ensure_shape(images, [self.restarts_at_once, *image.shape])
            clean = smoothed(field, images[:1], label, noise)
            guide = smoothed(directions, images[:1], label, noise)
            setup = SimpleNamespace(k=max(min(k, clean.shape[1] - 1), 1), sharpness=10.0, pairs=4096, seed=0)
            known = (images[:1], label[None], guide if objective == "cosine" else clean, guide)
            climb = KNOWN[objective](setup, Clean(*(tf.repeat(each, self.restarts_at_once, 0) for each in known)))

            def value(points):
                return climb(points, smoothed(directions, points, label, noise))

            def observe(points, state):
                best, least = state
                found = score.inside(clean, smoothed(field, points, label, noise))
                better = found < least
                return tf.where(better[:, None, None, None], points, best), tf.minimum(found, least)

            start = L2.start(images, epsilon, seed)
            _, state = ascend(
                value,
                images,
                start,
                epsilon=epsilon,
                step_size=relative_step * epsilon,
                steps=steps,
                bounds=UNBOUNDED,
                ball=L2,
                observe=observe,
                state=(images, tf.fill([self.restarts_at_once], 1.0)),
            )
            return state

        self._attack = attack

    def attack(self, image, label: int, epsilon: float, radius: float | None, *, seed: int = 0, index: int = 0):
        """Return all restarts' worst points [R, H, W, C] and their scores [R] inside the attack, the worst first."""
        image, label = tf.constant(image, tf.float32), tf.constant(label, tf.int64)
        noise = (
            tf.zeros([1, *image.shape])
            if radius is None
            else self.noise([self.samples, *image.shape], radius, sample_seed(seed, 50, index, 0))
        )
        found = []
        for batch in range(-(-self.restarts // self.restarts_at_once)):
            worst = self._attack(
                image, label, tf.constant(epsilon, tf.float32), noise, sample_seed(seed, 51, index, batch)
            )
            found.append([value.numpy() for value in worst])
        points, scores = (np.concatenate(values)[: self.restarts] for values in zip(*found))
        order = np.argsort(scores)
        return points[order], scores[order]


def worst_of(
    searches: Mapping[str, SmoothedMapAttack],
    smoother: Smoother,
    image,
    label: int,
    epsilon: float,
    radius: float,
    *,
    num_samples: int,
    seed: int = 0,
    index: int = 0,
    kept: int = 3,
) -> dict[str, Attacked]:
    """Attack a smoothed map and score the `kept` worst restarts of all searches on fresh samples, the same at x and x̃.

    What one search finds may be worse by another one's score than what that one finds.

    Returns: the worst point by each search's score.
    """
    points, inside = [], {}
    for name, search in searches.items():
        found, scores = search.attack(image, label, epsilon, radius, seed=seed, index=index)
        points += list(found[:kept])
        inside[name] = float(scores[0])

    def smoothed(point):
        return smoother.estimate(point, label, radius, num_samples, seed=seed, index=index, purpose=60).mean.ravel()

    maps = np.stack([smoothed(point) for point in points])
    clean, worst = np.repeat(smoothed(image)[None], len(maps), 0), {}
    for name, search in searches.items():
        scores = search.score.final(clean, maps)
        least = int(np.argmin(scores))
        worst[name] = Attacked(points[least], float(scores[least]), inside[name])
    return worst


class LargestChange:
    """Looks for the largest ‖g(x + δ) − g(x)‖ of a plain attribution over a ball, from random starts.

    Args:
      objective: `distance` climbs the change itself; `top_k` is IFIA's; `loss` is PGD on the label's cross-entropy.
      network: images -> logits, for `loss` and for whether the label is kept. k: features of the top-k objective.
      relative_step: step size as a share of ε.

    Raises: UsageError for an unknown objective.
    """

    def __init__(
        self,
        field: Field,
        network,
        *,
        objective: str,
        ball: Ball,
        steps: int,
        relative_step: float,
        bounds: tuple[float, float],
        k: int = 100,
    ):
        checks.one_of(("distance", "top_k", "loss"), objective=objective)

        @tf.function(autograph=False, reduce_retracing=True)
        def search(image, label, epsilon, seed):
            clean = similarity.flatten(field(image, label))
            chosen = top_k_mask(clean, min(k, clean.shape[1]))

            def value(points):
                if objective == "loss":
                    return losses.cross_entropy(network(points, training=False), label)
                maps = similarity.flatten(field(points, label))
                return (
                    -tf.reduce_sum(chosen * maps, 1)
                    if objective == "top_k"
                    else tf.reduce_sum(tf.square(maps - clean), 1)
                )

            def observe(points, state):
                maps = similarity.flatten(field(points, label))
                change, cosine = tf.norm(maps - clean, axis=1), COSINE.inside(clean, maps)
                kept = tf.argmax(network(points, training=False), axis=1, output_type=label.dtype) == label
                largest, least, largest_kept = state
                return (
                    tf.maximum(largest, change),
                    tf.minimum(least, cosine),
                    tf.where(kept, tf.maximum(largest_kept, change), largest_kept),
                )

            start = tf.clip_by_value(ball.start(image, epsilon, seed), *bounds)
            return ascend(
                value,
                image,
                start,
                epsilon=epsilon,
                step_size=relative_step * epsilon,
                steps=steps,
                bounds=bounds,
                ball=ball,
                observe=observe,
                state=(tf.zeros([1]), tf.ones([1]), tf.zeros([1])),
            )[1]

        self._search = search

    def __call__(self, image, label: int, epsilon: float, *, restarts: int = 1, seed: int = 0, index: int = 0) -> dict:
        """Return the largest `change`, the least `cosine`, and the largest `change_kept` among points that keep the
        label.

        Shape: image [H, W, C].
        """
        found = [
            [
                float(value.numpy()[0])
                for value in self._search(
                    tf.constant(image, tf.float32)[None],
                    tf.constant([label], tf.int64),
                    tf.constant(epsilon, tf.float32),
                    sample_seed(seed, 70, index, restart),
                )
            ]
            for restart in range(restarts)
        ]
        changes, cosines, kept = zip(*found)
        return {"change": max(changes), "cosine": min(cosines), "change_kept": max(kept)}
