"""Center smoothing of attributions (Kumar and Goldstein 2021), the certificate that uniform smoothing is compared with.

The smoothed output is the sample of g(x + N(0, σ²)) whose median distance to the others is least among some candidates:
within twice the radius of the smallest ball that holds half of them. If a ball around it holds a share Φ(Φ⁻¹(½ + Δ) +
ε/σ) of the outputs at x, then the output at every x̃ with ‖x̃ − x‖₂ ≤ ε lies within 3 such radii in a metric, as the
angle is one, and within 10 for 1 − cos, which obeys the triangle inequality only up to a factor of γ = 2: γ(1 + 2γ).

The certificate speaks of the procedure itself, not of a mean: an output at x and one at x̃, each found from its own
samples. It holds with probability 1 − 2α₁ − α₂, up to 2⁻³⁰ for 30 candidates none of which is inside the half.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import stats

from rar_tf import checks, similarity
from rar_tf.certification.field import Field
from rar_tf.certification.smoothing import sample_seed
from rar_tf.errors import UsageError

METRIC_FACTOR, COSINE_FACTOR = 3.0, 10.0
ROUNDING = 1e-6  # of cosines in float32


class CenterSmoother:
    """Certifies the direction of an attribution field by center smoothing, with one compiled sampling step.

    Args:
      batch_size: samples held in memory at once.
      center_samples, radius_samples: samples for the centre and its check, and for the radius.
      candidates: centres tried. alpha_1, alpha_2: probabilities that the centre, and that the radius fails.
      delta: Δ, the slack of the centre's half.

    Raises: UsageError for a setting out of its range.
    """

    def __init__(
        self,
        field: Field,
        *,
        batch_size: int = 250,
        center_samples: int = 10_000,
        radius_samples: int = 10_000,
        candidates: int = 30,
        alpha_1: float = 0.005,
        alpha_2: float = 0.005,
        delta: float = 0.05,
    ):
        for name, value in {"alpha_1": alpha_1, "alpha_2": alpha_2}.items():
            if not 0 < value < 0.5:
                raise UsageError(f"{name} must be between 0 and 0.5, both excluded, got {value:g}")
        checks.positive(
            batch_size=batch_size,
            center_samples=center_samples,
            radius_samples=radius_samples,
            candidates=candidates,
            delta=delta,
        )
        self.batch_size, self.candidates, self.delta = batch_size, candidates, delta
        self.center_samples, self.radius_samples = center_samples, radius_samples
        self.slack = math.sqrt(math.log(2 / alpha_1) / (2 * center_samples))
        self.radius_slack = math.sqrt(math.log(1 / alpha_2) / (2 * radius_samples))

        @tf.function(autograph=False, reduce_retracing=True)
        def directions(image, label, sigma, seed):
            shape = [batch_size, *image.shape]
            noisy = image[None] + sigma * tf.random.stateless_normal(shape, seed)
            return similarity.unit(field(noisy, tf.fill([batch_size], label)))

        self._directions = directions

    def certify(
        self,
        image,
        label: int,
        *,
        epsilon: float,
        sigma: float | None = None,
        seed: int = 0,
        index: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> dict:
        """Return bounds of how far the output may move for ‖x̃ − x‖₂ ≤ ε; NaN where the procedure abstains.

        `angle_bound` in degrees; `cosine_distance_bound` the smaller of 1 − cos of it and 10 times the radius in 1 −
        cos, which says nothing from 1 upwards; `relaxed_bound` the latter alone.

        Shape: image [H, W, C].

        Args:
          sigma: standard deviation of the noise; ε where it is None, as in the paper.

        Raises: UsageError for ε or σ not positive.
        """
        sigma = epsilon if sigma is None else sigma
        checks.positive(epsilon=epsilon, sigma=sigma)
        draw = self._sampler(image, label, sigma, seed, index, progress)
        centers = draw(self.candidates, 0, np.eye(1))[0][: self.candidates]
        distances = 1 - draw(self.center_samples, 1, centers)[1]
        medians = np.median(distances, axis=0)
        best = int(np.argmin(medians))
        center = centers[best : best + 1]
        # Where most maps are the same, the median is theirs, and products of one and of many columns round differently.
        inside = np.mean(1 - draw(self.center_samples, 2, center)[1][:, 0] <= medians[best] + ROUNDING)
        share = stats.norm.cdf(stats.norm.ppf(0.5 + self.delta) + epsilon / sigma) + self.radius_slack
        found = {"angle_bound": math.nan, "cosine_distance_bound": math.nan, "relaxed_bound": math.nan, "abstained": 1}
        if not np.any(center) or max(self.slack, 0.5 - (inside - self.slack)) > self.delta or share >= 1:
            return found
        cosines = np.sort(draw(self.radius_samples, 3, center)[1][:, 0])[::-1]
        farthest = cosines[min(math.ceil(share * len(cosines)), len(cosines)) - 1]
        farthest = float(np.clip(farthest - ROUNDING, -1, 1))
        angle = min(METRIC_FACTOR * math.acos(farthest), math.pi)
        relaxed = COSINE_FACTOR * (1 - farthest)
        return {
            "angle_bound": math.degrees(angle),
            "relaxed_bound": relaxed,
            "cosine_distance_bound": min(1 - math.cos(angle), relaxed),
            "abstained": 0,
        }

    def _sampler(self, image, label, sigma, seed, index, progress):
        image, label = tf.constant(image, tf.float32), tf.constant(label, tf.int64)
        sigma = tf.constant(sigma, tf.float32)

        def draw(count, purpose, centers):
            """The first batch of directions, and the cosines of `count` of them with the centres [n, d]."""
            first, cosines = None, []
            for batch, begin in enumerate(range(0, count, self.batch_size)):
                seeds = sample_seed(seed, 100 + purpose, index, batch)
                samples = self._directions(image, label, sigma, seeds).numpy()[: count - begin]
                first = samples if first is None else first
                if centers.shape[1] == samples.shape[1]:
                    cosines.append(samples @ centers.T)
                if progress is not None:
                    progress(len(samples))
            return first, np.concatenate(cosines) if cosines else None

        if self.candidates > self.batch_size:
            raise UsageError(f"batch_size must be at least the {self.candidates} candidates, got {self.batch_size}")
        return draw
