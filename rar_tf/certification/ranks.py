"""Certificates of ranks, as pure formulas: how smoothed maps with features in [0, 1] can change their order.

h_i(x) = E g_i(x + η), 0 ≤ g_i ≤ 1. For ‖x̃ − x‖₂ ≤ ε each h_i(x̃) stays in an interval that h_i(x) and the noise decide,
sharp for each feature: for uniform noise h_i ± q/2, half the share of the symmetric difference of the two balls, which
is the total variation of the two laws (docs/certification.md); for normal noise Φ(Φ⁻¹(h_i) ± ε/σ), the lemma of Neyman
and Pearson (Cohen et al. 2019; for maps Levine, Singla and Feizi 2019).

With limits low_i ≤ h_i(x), h_i(x̃) ≤ high_i of all features at once: where low_i > high_j the features i and j keep
their order.
"""

import numpy as np
from scipy import special

from rar_tf import checks
from rar_tf.certification import NOISES, overlap
from rar_tf.metrics import check_k, top_k_set

Limits = tuple[np.ndarray, np.ndarray]


def moved(low, high, epsilon: float, radius: float, dimension: int, noise: str) -> tuple[np.ndarray, np.ndarray]:
    """Return limits of all h(x̃) with ‖x̃ − x‖₂ ≤ ε from limits of h(x). Shape: both [D] -> both [D].

    Args:
      radius: r of uniform noise; normal noise has the standard deviation σ = r/√d. dimension: d, of the images.

    Raises: UsageError for an unknown noise, or epsilon or radius that are not positive.
    """
    checks.one_of(NOISES, noise=noise)
    checks.positive(epsilon=epsilon, radius=radius)
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    if noise == "uniform":
        share = overlap.overlap_deficit(epsilon, radius, dimension) / 2.0
        return np.maximum(low - share, 0.0), np.minimum(high + share, 1.0)
    shift = epsilon * np.sqrt(dimension) / radius
    return special.ndtr(special.ndtri(low) - shift), special.ndtr(special.ndtri(high) + shift)


def certain_pixels(low: np.ndarray, high: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the features that are in the top k, and of those that are out of it, whatever the values.

    A feature is in where fewer than k others can reach it, and out where k others exceed it. Shape: [D] -> two of [D].

    Raises: UsageError where k is not in 1 … D.
    """
    check_k(k, len(low))
    reaching = len(high) - np.searchsorted(np.sort(high), low, side="left") - (high >= low)
    exceeding = len(low) - np.searchsorted(np.sort(low), high, side="right")
    return reaching < k, exceeding >= k


def changed_members(low: np.ndarray, high: np.ndarray, chosen: np.ndarray) -> int:
    """Return how many of the k chosen features can be missing from the top k at once.

    Where m are missing, m others have taken their places, each at least as high as each of the missing: so the m-th
    highest upper limit of the others is at least the m-th lowest lower limit of the chosen. Shape: [D], [D], bool [D].
    """
    rivals, members = np.sort(high[~chosen])[::-1], np.sort(low[chosen])
    count = min(len(rivals), len(members))
    return int(np.sum(rivals[:count] >= members[:count]))


def changed_members_of_length(values: np.ndarray, chosen: np.ndarray, change: float) -> int:
    """Return how many of the top k can be missing at once where the whole map moves by at most `change` in length.

    Where m are missing some t lies above them and below the m others that are in: that takes Σ (v_i − t)₊² over at
    least the m lowest members and Σ (t − v_j)₊² over at least the m highest others, at the t where the sum is least.
    Shape: values [D], chosen bool [D], the top k.
    """
    rivals, members = np.sort(values[~chosen])[::-1], np.sort(values[chosen])
    for count in range(1, min(len(rivals), len(members)) + 1):
        low, high = rivals[count - 1], members[count - 1]
        for _ in range(60):  # the sum is convex in t
            middle = (low + high) / 2
            slope = np.maximum(middle - rivals[:count], 0).sum() - np.maximum(members[:count] - middle, 0).sum()
            low, high = (low, middle) if slope > 0 else (middle, high)
        cost = (
            np.square(np.maximum(members[:count] - low, 0)).sum() + np.square(np.maximum(low - rivals[:count], 0)).sum()
        )
        if cost > change**2 * (1 + 1e-9):
            return count - 1
    return min(len(rivals), len(members))


def top_k_intersection(mean: np.ndarray, still: Limits, moving: Limits, k: int) -> float:
    """Return a lower limit of the top-k intersection of h(x) and h(x̃).

    Both miss at most so many of the top k of the estimated map; and what is certainly in is in both.

    Shape: mean [D]; still, moving: (low, high) of h(x), and of h(x̃), which contain the former.

    Raises: UsageError where k is not in 1 … D.
    """
    chosen = top_k_set(np.asarray(mean)[None], k)[0]
    kept = k - changed_members(*still, chosen) - changed_members(*moving, chosen)
    return max(kept, int(certain_pixels(*moving, k)[0].sum()), 0) / k


def kendall(low: np.ndarray, high: np.ndarray, *, mean: np.ndarray | None = None, change: float = np.inf) -> float:
    """Return a lower limit of Kendall's tau-a of any two maps within the limits: 2·(certain pairs)/(all pairs) − 1.

    A pair whose order is certain is concordant, and any other one counts as discordant. Where one map is `mean` and the
    other one moves by at most `change` in length, a pair that is more than √2·change apart is certain too. A single
    feature has no pair, and counts as 0.

    Shape: all [D].
    """
    pairs = len(low) * (len(low) - 1) / 2.0
    certain = np.searchsorted(np.sort(high), low, side="left").sum()
    if mean is not None and np.isfinite(change):
        apart = np.searchsorted(np.sort(mean), mean - np.sqrt(2.0) * change * (1 + 1e-9), side="left").sum()
        certain = max(certain, apart)
    return float(2.0 * certain / pairs - 1.0) if pairs else 0.0


def label_epsilon(share: float, radius: float, dimension: int, noise: str) -> float:
    """Return up to which ε a class that a share of more than a half of the noisy images get stays the most frequent.

    Its share at x̃ is at least as `moved` says, and to stay above a half is enough. 0 where it is a half or less.
    """
    checks.one_of(NOISES, noise=noise)
    if share <= 0.5:
        return 0.0
    if noise == "gaussian":
        return float(radius / np.sqrt(dimension) * special.ndtri(share))
    return float(2.0 * radius * np.sqrt(special.betaincinv(0.5, (dimension + 1) / 2.0, share - 0.5)) * (1 - 1e-9))


def largest_epsilon(certifies, radius: float, dimension: int, steps: int = 40) -> float:
    """Return the largest ε found by bisection for which `certifies` (ε -> bool, monotone) holds; 0 where none does."""
    low, high = 0.0, 8.0 * radius / np.sqrt(dimension)  # eight standard deviations of a feature move every share
    for _ in range(steps):
        middle = (low + high) / 2.0
        low, high = (middle, high) if certifies(middle) else (low, middle)
    return low if certifies(max(low, 1e-12)) else 0.0
