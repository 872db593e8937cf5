"""Certificates of uniformly smoothed attributions as pure formulas (the paper on uniformly smoothed attributions).

Let h(x) = E g(x + η) with η uniform in the ℓ2 ball of radius r and ‖g‖ ≤ M everywhere. For ‖x̃ − x‖ ≤ ε the maps h(x)
and h(x̃) differ by a vector no longer than A = M·V_U/V_S, with V_S the ball's volume and V_U that of the symmetric
difference of the two balls. With c = ‖h(x)‖ the cosine is therefore at least sqrt(1 − (A/c)²) for A < c: the line from
the origin that touches the ball of radius A around h(x).

The paper's Theorem 1 prints c/sqrt(c² + A²) and its Corollary 1 follows it. That is larger than what a bounded field
can attain (A = 0.2, c = 0.8: true cosine 0.96825, printed bound 0.97014), so it guarantees nothing; it is kept as
formula="paper" for comparison only.
"""

import math

import numpy as np
from scipy import special

from rar_tf import checks
from rar_tf.certification import FORMULAS


def overlap_deficit(epsilon, radius, dimension: int):
    """Return V_U/V_S of two balls of `radius` whose centres lie `epsilon` apart: 0 where they coincide, 2 where
    disjoint.

    q = 2·I_{t²}(1/2, (d+1)/2) with t = ε/(2r): the published 2(1 − I_{1−t²}((d+1)/2, 1/2)) without its cancellation.

    Shape: epsilon and radius broadcast; float64 of their shape.

    Args:
      epsilon: distance, at least 0. radius: positive. dimension: d ≥ 1.
    """
    half_distance = np.minimum(np.asarray(epsilon, np.float64) / (2.0 * np.asarray(radius, np.float64)), 1.0)
    return 2.0 * special.betainc(0.5, (dimension + 1) / 2.0, np.square(half_distance))


def certified_cosine(norm, epsilon, radius, dimension: int, *, bound: float = 1.0, formula: str = "sound"):
    """Return the least cosine between the smoothed map at x and at any x̃ with ‖x̃ − x‖₂ ≤ ε; NaN where none is
    certified.

    Shape: norm, epsilon, radius broadcast; float64 of their shape.

    Args:
      norm: ‖h(x)‖, or a lower confidence limit of it. bound: M, with ‖g‖ ≤ M everywhere.
      formula: `sound`, or `paper` (Theorem 1 as printed, which is no guarantee).

    Raises: UsageError for an unknown formula, or epsilon, radius, bound not positive and finite.
    """
    _check(formula, epsilon=epsilon, radius=radius, bound=bound)
    norm = np.asarray(norm, np.float64)
    change = bound * overlap_deficit(epsilon, radius, dimension)
    norm, change = np.broadcast_arrays(norm, change)
    if formula == "paper":
        cosine = norm / np.maximum(np.hypot(norm, change), np.finfo(np.float64).tiny)
        return np.where(norm > 0, cosine, np.nan)[()]
    certified = (norm > 0) & (change < norm)
    sine = np.divide(change, norm, out=np.ones_like(norm), where=certified)
    return np.where(certified, np.sqrt((1.0 - sine) * (1.0 + sine)), np.nan)[()]


def largest_epsilon(norm, radius, threshold, dimension: int, *, bound: float = 1.0, formula: str = "sound"):
    """Return the largest ε up to which the cosine stays at or above `threshold`; 0 where nothing is certified.

    ε = 2r·sqrt(I⁻¹_w(1/2, (d+1)/2)) with w = c·sqrt(1 − T²)/(2M); Corollary 1 (i) with the right geometry. The printed
    one has w = c·(1/T² − 1)/(2M), which even lacks the square root of its own theorem: formula="paper" restores it.

    Shape: norm, radius, threshold broadcast; float64 of their shape.

    Raises: UsageError as `certified_cosine`, and for a threshold outside (0, 1).
    """
    _check(formula, radius=radius, bound=bound)
    checks.between_0_and_1(threshold=threshold)
    threshold = np.asarray(threshold, np.float64)
    slope = np.sqrt((1.0 - threshold) * (1.0 + threshold))
    if formula == "paper":
        slope = slope / threshold
    fraction = np.clip(np.asarray(norm, np.float64) * slope / (2.0 * bound), 0.0, 1.0)
    square = special.betaincinv(0.5, (dimension + 1) / 2.0, fraction)
    # The last digits of the inverse are rounded towards the safe side.
    return 2.0 * np.asarray(radius, np.float64) * np.sqrt(square) * (1.0 - 1e-9)


def needed_norm(epsilon, radius, threshold, dimension: int, *, bound: float = 1.0, formula: str = "sound"):
    """Return the least ‖h(x)‖ with which the cosine `threshold` is certified at ε: A/sqrt(1 − T²).

    Shape: epsilon, radius, threshold broadcast; float64 of their shape.

    Raises: UsageError as `largest_epsilon`.
    """
    _check(formula, epsilon=epsilon, radius=radius, bound=bound)
    checks.between_0_and_1(threshold=threshold)
    threshold = np.asarray(threshold, np.float64)
    slope = np.sqrt((1.0 - threshold) * (1.0 + threshold))
    if formula == "paper":
        slope = slope / threshold
    return bound * overlap_deficit(epsilon, radius, dimension) / slope


def norm_lower_limit(mean_norm, num_samples: int, confidence: float, *, bound: float = 1.0):
    """Return a lower confidence limit of ‖h‖ from the norm of the mean of `num_samples` independent vectors.

    ‖ĥ‖ − M(1/√N + sqrt(2 ln(1/α)/N)), with probability at least `confidence` = 1 − α: E‖ĥ − h‖ ≤ M/√N, and one sample
    moves ‖ĥ − h‖ by at most 2M/N (McDiarmid 1989). No assumption on the vectors but ‖g‖ ≤ M.

    Raises: UsageError for a confidence outside (0, 1) or num_samples < 1.
    """
    checks.between_0_and_1(confidence=confidence)
    checks.at_least_one(num_samples=num_samples)
    slack = (1.0 + math.sqrt(-2.0 * math.log1p(-confidence))) / math.sqrt(num_samples)
    return np.maximum(np.asarray(mean_norm, np.float64) - bound * slack, 0.0)[()]


def _check(formula, **positive):
    checks.one_of(FORMULAS, formula=formula)
    checks.positive(**positive)
