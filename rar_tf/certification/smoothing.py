"""Uniformly smoothed attributions, SmoothSM and SmoothIG, and their certificates by Monte Carlo.

h(x) = E g(x + η), η uniform in the ℓ2 ball of radius r (the paper on uniformly smoothed attributions, Eq. 2); the
formulas are `rar_tf.certification.overlap`'s. Gaussian smoothing of the same field has no certificate here; it is for
comparing maps.

Every certificate speaks of the exact h, not of its estimate, and holds with the probability `confidence` for an image.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rar_tf import checks
from rar_tf.attacks.balls import L2
from rar_tf.certification import INTERVALS, chi_square, overlap
from rar_tf.certification.field import Field


class Estimate(NamedTuple):
    """The mean of independent samples of g(x + η), and what is known of it.

    mean, variance: [H, W, C] of one sample's features. num_samples: N. bound: M.
    """

    mean: np.ndarray
    variance: np.ndarray
    num_samples: int
    bound: float

    @property
    def norm(self) -> float:
        """‖ĥ‖, biased upwards."""
        return float(np.linalg.norm(self.mean))

    def norm_low(self, confidence: float, interval: str = "concentration") -> float:
        """Return a lower limit of ‖h‖: rigorous (`concentration`), or the published approximation (`chi_square`)."""
        checks.one_of(INTERVALS, interval=interval)
        if interval == "concentration":
            return overlap.norm_lower_limit(self.norm, self.num_samples, confidence, bound=self.bound)
        return min(chi_square.norm_interval(self.mean, self.variance, self.num_samples, confidence)[0], self.bound)


def uniform_noise(shape, radius, seed: tf.Tensor) -> tf.Tensor:
    """Return independent points η = r·u^{1/d}·z/‖z‖, uniform in the ℓ2 ball. Shape: shape = [N, H, W, C]."""
    return L2.start(tf.zeros(shape), radius, seed)


def gaussian_noise(shape, radius, seed: tf.Tensor) -> tf.Tensor:
    """Return normal noise of standard deviation r/√d in each feature, about as long as the uniform noise."""
    dimension = tf.cast(tf.reduce_prod(shape[1:]), tf.float32)
    return radius * tf.math.rsqrt(dimension) * tf.random.stateless_normal(shape, seed)


def sample_seed(seed: int, purpose: int, index: int, batch: int) -> tf.Tensor:
    """Return the seed of one batch of samples of one image for one purpose, none of them alike.

    Even second halves only: `balls.L2.start` takes the odd ones for the lengths.
    """
    return tf.constant([seed * 1009 + purpose, (index << 24) + 2 * batch], tf.int64)


class Smoother:
    """Smooths an attribution field with one compiled sampling step.

    Args:
      field: (images, labels) -> maps, no longer than `bound` (see `field.unit_field`).
      bound: M. batch_size: samples held in memory at once. noise: `uniform_noise` or `gaussian_noise`.

    Raises: UsageError where bound is not positive and finite.
    """

    def __init__(self, field: Field, *, bound: float = 1.0, batch_size: int = 250, noise: Callable = uniform_noise):
        checks.positive(bound=bound, batch_size=batch_size)
        self.bound, self.batch_size = bound, batch_size

        @tf.function(reduce_retracing=True)
        def step(image, label, radius, seed, count):
            """Σ g and Σ g² over `count` of the batch's samples."""
            shape = tf.concat([[batch_size], tf.shape(image)], 0)
            noisy = image[None] + tf.ensure_shape(noise(shape, radius, seed), [batch_size, *image.shape])
            maps = tf.cast(field(noisy, tf.fill([batch_size], label)), tf.float64)
            counted = tf.cast(tf.range(batch_size) < count, tf.float64)[:, None, None, None]
            return tf.reduce_sum(counted * maps, 0), tf.reduce_sum(counted * tf.square(maps), 0)

        self._step = step

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
    ) -> Estimate:
        """Estimate h(x) from `num_samples` samples, a function of (seed, purpose, index) alone.

        Shape: image [H, W, C], in the network's pixel range.

        Raises: UsageError for a radius that is not positive, or num_samples < 1.
        """
        checks.positive(radius=radius)
        checks.at_least_one(num_samples=num_samples)
        image = tf.constant(image, tf.float32)
        label, radius = tf.constant(label, tf.int64), tf.constant(radius, tf.float32)
        total = squares = np.zeros(image.shape)
        for batch, begin in enumerate(range(0, num_samples, self.batch_size)):
            count = min(self.batch_size, num_samples - begin)
            part, square = self._step(
                image, label, radius, sample_seed(seed, purpose, index, batch), tf.constant(count)
            )
            total, squares = total + part.numpy(), squares + square.numpy()
            if progress is not None:
                progress(count)
        mean = total / num_samples
        variance = np.maximum(squares / num_samples - np.square(mean), 0.0) * (num_samples / max(num_samples - 1, 1))
        return Estimate(mean, variance, num_samples, self.bound)

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
        search_samples: int = 1000,
        attempts: int = 3,
        formula: str = "sound",
    ) -> float:
        """Return the smallest found radius that certifies the cosine `threshold` at `epsilon`; NaN where none is.

        Equation (9) of the paper gives r only implicitly, since ‖h‖ depends on r. Here: the first radius on a grid of
        steps of 1.25 that would do, refined by bisection, all with the same `search_samples` samples; then it is
        confirmed on `num_samples` fresh ones, each attempt 2 % larger than the one before. All attempts together
        hold with `confidence`.

        Raises: UsageError for epsilon or largest not positive, a threshold or confidence outside (0, 1).
        """
        checks.positive(epsilon=epsilon, largest=largest)
        checks.between_0_and_1(threshold=threshold)
        checks.between_0_and_1(confidence=confidence)
        dimension = int(np.prod(np.shape(image)))
        each = 1 - (1 - confidence) / attempts

        def certifies(radius, samples, purpose):
            found = self.estimate(image, label, radius, samples, seed=seed, index=index, purpose=purpose)
            # The search foresees the slack that the confirmation will have.
            low = overlap.norm_lower_limit(found.norm, num_samples, each, bound=self.bound)
            return low >= overlap.needed_norm(epsilon, radius, threshold, dimension, bound=self.bound, formula=formula)

        failing, radius = 0.0, epsilon / 2
        while not certifies(radius, search_samples, 1):
            if radius >= largest:
                return float("nan")
            failing, radius = radius, min(1.25 * radius, largest)
        while failing > 0 and radius - failing > 0.005 * radius:
            middle = (failing + radius) / 2
            failing, radius = (failing, middle) if certifies(middle, search_samples, 1) else (middle, radius)
        for attempt in range(attempts):
            if certifies(radius, num_samples, 2 + attempt):
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
    interval: str = "concentration",
) -> dict:
    """Return what an estimate certifies: the cosine at `epsilon` and the largest ε for each threshold.

    The two are NaN and 0 where nothing is certified.

    Raises: UsageError for a setting out of its range, see `overlap`.
    """
    low = estimate.norm_low(confidence, interval)
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
    low, high = chi_square.norm_interval(estimate.mean, estimate.variance, estimate.num_samples, confidence)
    bounds = overlap.certified_cosine(
        np.array([low, high]), epsilon, radius, estimate.mean.size, bound=estimate.bound, formula=formula
    )
    return float(bounds[1] - bounds[0])
