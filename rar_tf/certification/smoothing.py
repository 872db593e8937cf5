"""Uniformly smoothed attributions, SmoothSM and SmoothIG, and their certificates by Monte Carlo.

h(x) = E g(x + η), η uniform in the ℓ2 ball of radius r (the paper on uniformly smoothed attributions, Eq. 2); the
formulas are `rar_tf.certification.overlap`'s. Gaussian smoothing of the same field has no certificate here; it is for
comparing maps.

Every certificate speaks of the exact h, not of its estimate, and holds with the probability `confidence` for an image.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rar_tf import checks
from rar_tf.attacks.balls import L2
from rar_tf.certification import INTERVALS, chi_square, overlap
from rar_tf.certification.field import Field
from rar_tf.certification.limits import mean_lower_limit


class Estimate(NamedTuple):
    """The mean of independent samples of g(x + η), and what is known of it.

    mean, variance: [H, W, C] of one sample's features. num_samples: N. bound: M.
    projections: the samples after the first batch, each along the mean of all batches before its own.
    horizon: the number of samples that was meant; more than N where sampling stopped early.
    kept: how many samples the network gave the label, where that was asked for.
    """

    mean: np.ndarray
    variance: np.ndarray
    num_samples: int
    bound: float
    projections: np.ndarray = np.zeros(0)
    horizon: int | None = None
    kept: int = 0

    @property
    def norm(self) -> float:
        """‖ĥ‖, biased upwards."""
        return float(np.linalg.norm(self.mean))

    def norm_low(self, confidence: float, interval: str = "betting") -> float:
        """Return a lower limit of ‖h‖, 0 where a sample was no number.

        `betting`: whatever direction u_t is taken from earlier samples, E⟨u_t, g⟩ = ⟨u_t, h⟩ ≤ ‖h‖, so that a lower
        limit of the projections' mean (`limits.mean_lower_limit`) is one of ‖h‖, at all times at once.
        `concentration` holds for a number of samples that was fixed before; `chi_square` is the published
        approximation.
        """
        checks.one_of(INTERVALS, interval=interval)
        if not np.isfinite(self.norm):
            return 0.0
        if interval == "betting":
            horizon = max((self.horizon or self.num_samples) - (self.num_samples - len(self.projections)), 1)
            return max(mean_lower_limit(self.projections, confidence, bound=self.bound, horizon=horizon), 0.0)
        if interval == "concentration":
            return overlap.norm_lower_limit(self.norm, self.num_samples, confidence, bound=self.bound)
        if self.num_samples < 2:
            return 0.0  # one sample has no variance
        return min(chi_square.norm_interval(self.mean, self.variance, self.num_samples, confidence)[0], self.bound)

    def foreseen(self, num_samples: int, confidence: float, interval: str = "betting") -> float:
        """Return about what `norm_low` of `num_samples` fresh samples would be; a guess, for searches."""
        if interval != "betting" or not len(self.projections):
            return overlap.norm_lower_limit(self.norm, num_samples, confidence, bound=self.bound)
        level, spread = -math.log1p(-confidence) + 0.25, float(self.projections.std())
        slack = spread * math.sqrt(2 * level / num_samples) + 1.2 * self.bound * level / num_samples
        return float(self.projections.mean()) - slack


def uniform_noise(shape, radius, seed: tf.Tensor) -> tf.Tensor:
    """Return independent points η = r·u^{1/d}·z/‖z‖, uniform in the ℓ2 ball. Shape: shape = [N, H, W, C]."""
    return L2.start(tf.zeros(shape), radius, seed)


def gaussian_noise(shape, radius, seed: tf.Tensor) -> tf.Tensor:
    """Return normal noise of standard deviation r/√d in each feature, about as long as the uniform noise."""
    dimension = tf.cast(tf.reduce_prod(shape[1:]), tf.float32)
    return radius * tf.math.rsqrt(dimension) * tf.random.stateless_normal(shape, seed)


NOISES = {"uniform": uniform_noise, "gaussian": gaussian_noise}


def sample_seed(seed: int, purpose: int, index: int, batch: int) -> tf.Tensor:
    """Return the seed of one batch of samples of one image for one purpose, none of them alike.

    Even second halves only: `balls.L2.start` takes the odd ones for the lengths.
    """
    return tf.constant([seed * 1009 + purpose, (index << 24) + 2 * batch], tf.int64)


class Smoother:
    """Smooths an attribution field with one compiled loop over batches of samples.

    Args:
      field: (images, labels) -> maps, no longer than `bound` (see `field.unit_field`).
      bound: M. batch_size: samples held in memory at once. noise: `uniform_noise` or `gaussian_noise`.
      network: images -> logits, where it is to be counted how often the label is kept.
      channels: of the maps, where they are other ones than the images'.

    Raises: UsageError where bound is not positive and finite.
    """

    def __init__(
        self,
        field: Field,
        *,
        bound: float = 1.0,
        batch_size: int = 250,
        noise: Callable = uniform_noise,
        network: Callable | None = None,
        channels: int | None = None,
    ):
        checks.positive(bound=bound, batch_size=batch_size)
        self.bound, self.batch_size, self.channels = bound, batch_size, channels

        def sample(image, label, radius, seed, count):
            """Maps [B, H, W, C] in float64 of which `count` are kept, zeros after them, and how many keep the label."""
            shape = tf.concat([[batch_size], tf.shape(image)], 0)
            noisy = image[None] + tf.ensure_shape(noise(shape, radius, seed), [batch_size, *image.shape])
            labels = tf.fill([batch_size], label)
            counted = tf.range(batch_size) < count
            maps = tf.cast(field(noisy, labels), tf.float64)
            kept = 0
            if network is not None:
                kept = tf.argmax(network(noisy, training=False), axis=1, output_type=labels.dtype) == labels
                kept = tf.reduce_sum(tf.cast(kept & counted, tf.int32))
            return tf.where(counted[:, None, None, None], maps, 0.0), kept

        @tf.function(autograph=False, reduce_retracing=True)
        def run(image, label, radius, seed, first, count, total, squares):
            """Add `count` samples, from batch `first` on, to Σ g and Σ g²; their projections [batches, B], kept labels.

            A batch is projected on the sum of those before it.
            """
            batches = (count + batch_size - 1) // batch_size

            def body(batch, total, squares, kept, projections):
                batch_seed = seed + tf.stack([0, 2 * tf.cast(first + batch, tf.int64)])
                maps, agreeing = sample(image, label, radius, batch_seed, count - batch * batch_size)
                direction = total / tf.maximum(tf.norm(total), np.finfo(np.float64).tiny)
                projections = projections.write(batch, tf.reduce_sum(maps * direction, [1, 2, 3]))
                total, squares = total + tf.reduce_sum(maps, 0), squares + tf.reduce_sum(tf.square(maps), 0)
                return batch + 1, total, squares, kept + agreeing, projections

            _, total, squares, kept, projections = tf.while_loop(
                lambda batch, *_: batch < batches,
                body,
                (0, total, squares, 0, tf.TensorArray(tf.float64, batches, element_shape=[batch_size])),
                parallel_iterations=1,
            )
            return total, squares, kept, projections.stack()

        self._run = run

    def estimate(
        self,
        image,
        label: int,
        radius: float,
        num_samples: int,
        *,
        seed: int,
        index: int = 0,
        purpose: int = 0,
        progress: Callable[[int], None] | None = None,
        decided: Callable[[Estimate], bool] | None = None,
    ) -> Estimate:
        """Estimate h(x) from `num_samples` samples, a function of (seed, purpose, index) alone.

        Shape: image [H, W, C], in the network's pixel range.

        Args:
          decided: asked a few times on the way; where it says yes no more samples are drawn. Of the limits of ‖h‖ only
            `betting` then holds.

        Raises: UsageError for a radius that is not positive, or num_samples < 1.
        """
        checks.positive(radius=radius)
        checks.at_least_one(num_samples=num_samples)
        image = tf.constant(image, tf.float32)
        label, radius = tf.constant(label, tf.int64), tf.constant(radius, tf.float32)
        total = squares = tf.zeros([*image.shape[:2], self.channels or image.shape[2]], tf.float64)
        begin, kept, projections = 0, 0, []
        while True:
            # Looks come after 2, 4, 8, … batches; without them all samples are one call.
            part = self.batch_size * (1 if begin == 0 else begin // self.batch_size)
            if decided is None:
                part = num_samples if progress is None else 8 * self.batch_size
            count = min(part, num_samples - begin)
            total, squares, agreeing, along = self._run(
                image,
                label,
                radius,
                sample_seed(seed, purpose, index, 0),
                tf.constant(begin // self.batch_size),
                tf.constant(count),
                total,
                squares,
            )
            kept += int(agreeing)
            projections.append(along.numpy().ravel()[:count])
            begin += count
            if progress is not None:
                progress(count)
            found = self._estimate(total.numpy(), squares.numpy(), begin, projections, num_samples, kept)
            if begin == num_samples or (decided is not None and decided(found)):
                return found

    def _estimate(self, total, squares, count, projections, horizon, kept):
        mean = total / count
        variance = np.maximum(squares / count - np.square(mean), 0.0) * (count / max(count - 1, 1))
        along = np.concatenate(projections)[self.batch_size :]
        return Estimate(mean, variance, count, self.bound, along, horizon, kept)

    def smallest_radius(
        self,
        image,
        label: int,
        epsilon: float,
        threshold: float,
        num_samples: int,
        *,
        confidence: float,
        seed: int,
        index: int = 0,
        largest: float,
        least: float = 0.0,
        search_samples: int = 1000,
        attempts: int = 3,
        formula: str = "sound",
        interval: str = "betting",
    ) -> float:
        """Return the smallest found radius that certifies the cosine `threshold` at `epsilon`; NaN where none is.

        Equation (9) of the paper gives r only implicitly, since ‖h‖ depends on r. Here: the first radius on a grid of
        steps of 1.25 that would do, refined by bisection, all with the same `search_samples` samples; then it is
        confirmed on `num_samples` fresh ones, each attempt 2 % larger than the one before. All attempts together
        hold with `confidence`.

        Args:
          least, largest: radii between which it is searched.

        Raises: UsageError for epsilon or largest not positive, a threshold or confidence outside (0, 1).
        """
        checks.positive(epsilon=epsilon, largest=largest)
        checks.between_0_and_1(threshold=threshold)
        checks.between_0_and_1(confidence=confidence)
        dimension = int(np.prod(np.shape(image)))
        each = 1 - (1 - confidence) / attempts

        def needed(radius):
            return overlap.needed_norm(epsilon, radius, threshold, dimension, bound=self.bound, formula=formula)

        def sampled(radius, samples, purpose):
            return self.estimate(image, label, radius, samples, seed=seed, index=index, purpose=purpose)

        searched = max(search_samples, 4 * self.batch_size)  # projections need several batches

        def promises(radius):
            return sampled(radius, searched, 1).foreseen(num_samples, each, interval) >= needed(radius)

        failing, radius = 0.0, max(epsilon / 2, least)
        while radius > largest or not promises(radius):
            if radius >= largest:
                return float("nan")
            failing, radius = radius, min(1.25 * radius, largest)
        while failing > 0 and radius - failing > 0.005 * radius:
            middle = (failing + radius) / 2
            failing, radius = (failing, middle) if promises(middle) else (middle, radius)
        for attempt in range(attempts):
            if sampled(radius, num_samples, 2 + attempt).norm_low(each, interval) >= needed(radius):
                return radius
            radius *= 1.02
        return float("nan")


def certificate(
    estimate: Estimate,
    radius: float,
    *,
    epsilon: float,
    thresholds,
    confidence: float,
    formula: str = "sound",
    interval: str = "betting",
) -> dict:
    """Return what an estimate certifies: the cosine at `epsilon` and the largest ε for each threshold.

    The two are NaN and 0 where nothing is certified, as where a sample was no number.

    Raises: UsageError for a setting out of its range, see `overlap`.
    """
    low = float(estimate.norm_low(confidence, interval))
    dimension = estimate.mean.size
    cosine = overlap.certified_cosine(low, epsilon, radius, dimension, bound=estimate.bound, formula=formula)
    found = {
        "norm": estimate.norm,
        "norm_low": low,
        "certified_cosine": float(cosine),
    }
    for threshold in thresholds:
        largest = overlap.largest_epsilon(low, radius, threshold, dimension, bound=estimate.bound, formula=formula)
        found[f"largest_epsilon_{threshold:g}"] = float(largest)
    return found


def interval_width(
    estimate: Estimate, radius: float, epsilon: float, confidence: float, *, formula: str = "sound"
) -> float:
    """Return t₂ − t₁, the width of the Monte Carlo interval of the certified cosine (C.1, Eq. 45); NaN without one."""
    if estimate.num_samples < 2:
        return math.nan
    low, high = chi_square.norm_interval(estimate.mean, estimate.variance, estimate.num_samples, confidence)
    bounds = overlap.certified_cosine(
        np.array([low, high]), epsilon, radius, estimate.mean.size, bound=estimate.bound, formula=formula
    )
    return float(bounds[1] - bounds[0])
