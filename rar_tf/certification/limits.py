"""Confidence limits of the means of bounded variables.

By betting (Waudby-Smith and Ramdas 2023), valid whenever one stops: let X_1, X_2, … lie in [0, 1], each with a
conditional mean, given those before it, of at most μ. Whoever bets that the mean is larger than m has the capital
K_t(m) = Π (1 + λ_i (X_i − m)) after t draws, with stakes λ_i ≥ 0 that only look at draws before i and leave no factor
negative. Where m ≥ μ no stake wins on average, so by Ville's inequality the capital reaches 1/α at any time with
probability at most α. The capital falls with m; so with probability 1 − α μ is at least every m for which 1/α has been
reached, at all times at once.

Of a fixed number of draws: Clopper and Pearson (1934) for shares, exact, and the empirical Bernstein limits of Maurer
and Pontil (2009) for other variables in [0, 1].
"""

import numpy as np
from scipy import special

from rar_tf import checks

SHARES, WEIGHTS = (1.0, 0.1, 0.01), (0.8, 0.1, 0.1)  # stakes for the horizon and, for early stops, for parts of it
LARGEST_LOSS = 0.9  # of the capital that one draw may take


def mean_lower_limit(values, confidence: float, *, bound: float = 1.0, horizon: int | None = None) -> float:
    """Return a lower limit of a mean, which holds with probability `confidence` whatever decided when to stop.

    Shape: values [n] in [−bound, bound], in the order in which they were drawn.

    Args:
      bound: M.
      horizon: the number of draws that the stakes are made for, chosen before the first; n where it is None, which is
        right only where n was not chosen by what was seen.

    Returns: the limit, −bound where nothing is known.
    Raises: UsageError for a confidence outside (0, 1), or a bound or horizon that is not positive.
    """
    checks.between_0_and_1(confidence=confidence)
    checks.positive(bound=bound)
    draws = np.clip(np.asarray(values, np.float64) / bound, -1.0, 1.0) / 2.0 + 0.5
    count = len(draws)
    if count == 0:
        return -bound
    horizon = count if horizon is None else horizon
    checks.at_least_one(horizon=horizon)
    needed = -np.log1p(-confidence)
    times = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(draws)) / (times + 1)
    variances = (0.0025 + np.cumsum(np.square(draws - means))) / (times + 1)
    before = np.concatenate([[0.25], variances[:-1]])  # what was known before each draw
    stakes = [np.sqrt(2.0 * needed / (before * np.maximum(share * horizon, 1.0))) for share in SHARES]
    logs = np.log(WEIGHTS)

    def reached(mean):
        capitals = [
            log + np.cumsum(np.log1p(np.minimum(stake, LARGEST_LOSS / mean) * (draws - mean)))
            for log, stake in zip(logs, stakes)
        ]
        return np.max(np.logaddexp.reduce(capitals, axis=0)) >= needed

    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2.0
        low, high = (middle, high) if reached(middle) else (low, middle)
    return float(bound * (2.0 * low - 1.0))


def binomial_limits(counts, num_samples: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of probabilities, each of which fails with probability 1 − confidence (Clopper and Pearson).

    Shape: counts of any shape, in 0 … num_samples -> two of the same.

    Raises: UsageError for a confidence outside (0, 1) or num_samples < 1.
    """
    checks.between_0_and_1(confidence=confidence)
    checks.at_least_one(num_samples=num_samples)
    counts = np.asarray(counts, np.float64)
    some, all_but = np.maximum(counts, 1.0), np.minimum(counts, num_samples - 1.0)
    low = np.where(counts > 0, special.betaincinv(some, num_samples - some + 1.0, 1 - confidence), 0.0)
    high = np.where(
        counts < num_samples, special.betainccinv(all_but + 1.0, num_samples - all_but, 1 - confidence), 1.0
    )
    return low, high


def bernstein_limits(mean, variance, num_samples: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of means of variables in [0, 1], each of which fails with probability 1 − confidence.

    mean ∓ sqrt(2V ln(2/α)/N) ∓ 7 ln(2/α)/(3(N − 1)) (Maurer and Pontil 2009, Theorem 4); [0, 1] for a single sample.

    Shape: mean and variance V, of the samples with N − 1 below it, broadcast.
    """
    checks.between_0_and_1(confidence=confidence)
    checks.at_least_one(num_samples=num_samples)
    mean, variance = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(variance, np.float64))
    if num_samples == 1:
        return np.zeros(mean.shape), np.ones(mean.shape)
    level = np.log(2.0) - np.log1p(-confidence)
    slack = np.sqrt(2.0 * variance * level / num_samples) + 7.0 * level / (3.0 * (num_samples - 1))
    return np.maximum(mean - slack, 0.0), np.minimum(mean + slack, 1.0)
