"""Certificates of uniformly smoothed attributions as pure formulas (the paper on uniformly smoothed attributions).

Let h(x) = E g(x + η) with η uniform in the ℓ2 ball of radius r and ‖g‖ ≤ M everywhere. For ‖x̃ − x‖ ≤ ε let q be
V_U/V_S, with V_S the ball's volume and V_U that of the symmetric difference of the two balls, and ρ = M·q/2. What the
two balls share gives both maps the same part b, ‖b‖ ≤ M − ρ, and what is each one's own a part no longer than ρ. So
h(x̃) lies within ρ of b, b within ρ of h(x), and the angle is at most the largest of ∠(h(x), b) + arcsin(ρ/‖b‖) over
such b: the formula `sound`, which no bound from c = ‖h(x)‖, M and q alone can improve. Without the limit of ‖b‖ it is
cos ≥ sqrt(1 − (2ρ/c)²), the line from the origin that touches the ball of radius 2ρ around h(x): the formula `tangent`,
the same up to c ≈ .866·M at cos = .8, and smaller above.

The paper's Theorem 1 prints c/sqrt(c² + A²), A = 2ρ, and its Corollary 1 follows it. That is larger than what a bounded
field can attain (A = 0.2, c = 0.8: true cosine 0.96825, printed bound 0.97014), so it guarantees nothing; it is kept as
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
      formula: `sound`, `tangent`, or `paper` (Theorem 1 as printed, which is no guarantee).

    Raises: UsageError for an unknown formula, or epsilon, radius, bound not positive and finite.
    """
    _check(formula, epsilon=epsilon, radius=radius, bound=bound)
    share = overlap_deficit(epsilon, radius, dimension) / 2.0
    cosine = _cosine(np.asarray(norm, np.float64) / bound, share, formula)
    return np.where(np.isnan(norm), np.nan, cosine)[()]


def largest_epsilon(norm, radius, threshold, dimension: int, *, bound: float = 1.0, formula: str = "sound"):
    """Return the largest ε up to which the cosine stays at or above `threshold`; 0 where nothing is certified.

    ε = 2r·sqrt(I⁻¹_w(1/2, (d+1)/2)) with w = ρ/M: in closed form c·sqrt(1 − T²)/(2M) for `tangent` (Corollary 1 (i)
    with the right geometry), by bisection for `sound`. The printed one has w = c·(1/T² − 1)/(2M), which even lacks the
    square root of its own theorem: formula="paper" restores it.

    Shape: norm, radius, threshold broadcast; float64 of their shape.

    Raises: UsageError as `certified_cosine`, and for a threshold outside (0, 1).
    """
    _check(formula, radius=radius, bound=bound)
    checks.between_0_and_1(threshold=threshold)
    threshold, norm = np.broadcast_arrays(np.asarray(threshold, np.float64), np.asarray(norm, np.float64) / bound)
    share = np.clip(np.nan_to_num(norm) * _slope(threshold, formula) / 2.0, 0.0, 1.0)
    if formula == "sound":  # at least what `tangent` has, at most what makes the two maps' ranges meet
        share, _ = _bisect(lambda each: _cosine(norm, each, formula) >= threshold, share, np.clip(norm / 2, share, 1.0))
    square = special.betaincinv(0.5, (dimension + 1) / 2.0, share)
    # The last digits of the inverse are rounded towards the safe side.
    return 2.0 * np.asarray(radius, np.float64) * np.sqrt(square) * (1.0 - 1e-9)


def needed_norm(epsilon, radius, threshold, dimension: int, *, bound: float = 1.0, formula: str = "sound"):
    """Return the least ‖h(x)‖ with which the cosine `threshold` is certified at ε; more than M where none is enough.

    Shape: epsilon, radius, threshold broadcast; float64 of their shape.

    Raises: UsageError as `largest_epsilon`.
    """
    _check(formula, epsilon=epsilon, radius=radius, bound=bound)
    checks.between_0_and_1(threshold=threshold)
    threshold = np.asarray(threshold, np.float64)
    share, threshold = np.broadcast_arrays(overlap_deficit(epsilon, radius, dimension) / 2.0, threshold)
    needed = 2.0 * share / _slope(threshold, formula)
    if formula == "sound":
        highest = np.minimum(needed, 1.0)
        possible = _cosine(highest, share, formula) >= threshold
        _, high = _bisect(lambda each: ~(_cosine(each, share, formula) >= threshold), 2.0 * share, highest)
        needed = np.where(possible, high, needed)
    return bound * needed[()]


def _slope(threshold, formula):
    """2ρ/c of the angle whose cosine is the threshold: its sine, or its tangent where the paper is followed."""
    sine = np.sqrt((1.0 - threshold) * (1.0 + threshold))
    return sine / threshold if formula == "paper" else sine


def _bisect(holds, low, high):
    """The ends of an interval that is halved 60 times around where `holds` ceases; it holds at the lower one."""
    for _ in range(60):
        middle = (low + high) / 2.0
        inside = holds(middle)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low, high


def _cosine(norm, share, formula):
    """The least cosine for c = `norm` and ρ = `share`, both in units of M; NaN where none is certified."""
    norm, share = np.broadcast_arrays(np.asarray(norm, np.float64), share)
    if formula == "paper":
        cosine = norm / np.maximum(np.hypot(norm, 2.0 * share), np.finfo(np.float64).tiny)
        return np.where(norm > 0, cosine, np.nan)
    certified = (norm > 0) & (2.0 * share < norm)
    norm, share = np.where(certified, norm, 1.0), np.where(certified, share, 0.0)
    sine = 2.0 * share / norm
    cosine = np.sqrt((1.0 - sine) * (1.0 + sine))
    if formula == "sound":
        # Over all lengths the angle is largest at ‖b‖² = c² − 3ρ² and falls beyond; a shorter b is the longest that
        # there can be, 1 − ρ. The triangle of 0, b and h has the sides 1 − ρ, ρ and c ≤ 1.
        norm, longest = np.minimum(norm, 1.0), 1.0 - share
        short = norm**2 - 3.0 * share**2 > longest**2
        to_b = (norm**2 + longest**2 - share**2) / (2.0 * norm * longest)
        area = (1.0 - norm) * (1.0 + norm) * (norm - 1.0 + 2.0 * share) * (norm + 1.0 - 2.0 * share)
        across = np.sqrt(np.maximum(area, 0.0)) / (2.0 * norm * longest)
        beyond = share / longest
        joint = to_b * np.sqrt((1.0 - beyond) * (1.0 + beyond)) - across * beyond
        cosine = np.where(short, np.minimum(joint, 1.0), cosine)
    return np.where(certified, cosine, np.nan)


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
