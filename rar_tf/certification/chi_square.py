"""The distribution of a positive quadratic form of independent normal variables: the generalised chi-square.

Q = Σ_i w_i (Z_i + b_i)² with Z_i standard normal. With K(s) = −½ Σ log(1 − 2 w_i s) + Σ w_i b_i² s/(1 − 2 w_i s), the
logarithm of E exp(sQ), the tails are inversion integrals of exp(K(s) − s·x)/s (Imhof 1961; Davies 1980). Along the
imaginary axis they oscillate and, for few weights, hardly decay. Here the path is a hyperbola through the saddle point
that opens around the branch cut (Rice 1980): nothing oscillates, and the trapezoidal rule converges geometrically,
whether there is one weight or a hundred thousand.
"""

import numpy as np
from scipy import optimize

from rar_tf import checks
from rar_tf.errors import UsageError


class GeneralizedChiSquare:
    """Q = Σ_i weights_i · (Z_i + shifts_i)², Z_i independent standard normal.

    Args:
      weights: [n], none negative, at least one positive. shifts: [n] or a number.

    Raises: UsageError where the weights are negative, not finite or all zero.
    """

    def __init__(self, weights, shifts=0.0):
        weights = np.asarray(weights, np.float64).ravel()
        squares = np.square(np.broadcast_to(np.asarray(shifts, np.float64), weights.shape))
        if not np.all(np.isfinite(weights)) or np.any(weights < 0) or not np.any(weights > 0):
            raise UsageError("a generalised chi-square needs weights that are not negative and not all zero")
        keep = weights > 0
        self.weights, self.squares = weights[keep], squares[keep]
        self.mean = float(np.sum(self.weights * (1 + self.squares)))
        self.deviation = float(np.sqrt(2 * np.sum(np.square(self.weights) * (1 + 2 * self.squares))))

    def cdf(self, x: float) -> float:
        """Return P(Q ≤ x)."""
        if x <= 0:
            return 0.0
        # Each tail is computed as itself where it is the smaller one, so that no digits cancel.
        return self._tail(x, lower=True) if x < self.mean else 1.0 - self._tail(x, lower=False)

    def sf(self, x: float) -> float:
        """Return P(Q > x)."""
        if x <= 0:
            return 1.0
        return self._tail(x, lower=False) if x >= self.mean else 1.0 - self._tail(x, lower=True)

    def quantile(self, probability: float) -> float:
        """Return the x with P(Q ≤ x) = `probability`. Raises: UsageError for a probability outside (0, 1)."""
        if not 0 < probability < 1:
            raise UsageError(f"a quantile needs a probability between 0 and 1, both excluded, got {probability:g}")
        low, high = self.mean, self.mean + self.deviation
        while self.cdf(low) > probability:
            low = max(low - self.deviation, low / 2)
        while self.cdf(high) < probability:
            high += 2 * self.deviation
        return optimize.brentq(lambda x: self.cdf(x) - probability, low, high, xtol=1e-10 * high, rtol=1e-10)

    def _derivatives(self, s):
        """K', K'' and K''' at a real s < 1/(2 max w)."""
        ratio = self.weights / (1 - 2 * self.weights * s)
        growth = 1 / (1 - 2 * self.weights * s)
        first = np.sum(ratio * (1 + self.squares * growth))
        second = np.sum(2 * ratio**2 * (1 + 2 * self.squares * growth))
        third = np.sum(8 * ratio**3 * (1 + 3 * self.squares * growth))
        return first, second, third

    def _exponent(self, s, x):
        """K(s) − s·x for complex s [m]; the weights are taken in slices to bound the memory."""
        total = -s * x
        for begin in range(0, len(self.weights), 4096):
            w, b = self.weights[begin : begin + 4096, None], self.squares[begin : begin + 4096, None]
            ws = w * s[None]
            total = total + np.sum(b * ws / (1 - 2 * ws) - 0.5 * np.log(1 - 2 * ws), axis=0)
        return total

    def _tail(self, x, lower):
        """P(Q ≤ x) along a path left of 0, or P(Q > x) along a path right of it."""
        saddle = self._saddle(x, lower)
        _, second, third = self._derivatives(saddle)
        second, third = second + saddle**-2, third - 2 * saddle**-3
        # A hyperbola with the steepest descent's curvature, s = saddle + (√(y² + b²) − b)/2 + iy. It opens to the
        # right, where exp(−sx) decays, and never by more than 1 in 2: the Gaussian part of K decays along it too.
        bend = max(third / (6 * second), 1e-3 * np.sqrt(second))
        scale = 0.25 / bend
        top = self._exponent(np.array([saddle + 0j]), x)[0].real - np.log(abs(saddle))

        def integrand(y):
            root = np.hypot(y, scale)
            s = saddle + 0.5 * np.square(y) / (root + scale) + 1j * y
            value = np.exp(self._exponent(s, x) - np.log(-s if lower else s) - top)
            return (value * (1 - 0.5j * y / root)).real  # ds/i, and both halves of the path are equal

        step = 0.5 / np.sqrt(second)
        total = step * (self._sum(integrand, step, 0.0) - 0.5 * integrand(np.zeros(1))[0])
        for _ in range(8):
            coarse, total = total, 0.5 * (total + step * self._sum(integrand, step, 0.5))
            step /= 2
            if abs(total - coarse) <= 1e-11 * abs(total):
                break
        return float(np.clip(np.exp(top) * total / np.pi, 0.0, 1.0))

    @staticmethod
    def _sum(integrand, step, offset):
        """Σ_k integrand(step·(k + offset)), k = 0, 1, …, block by block until the terms no longer count."""
        total, start, block = 0.0, 0, 16
        while start < 1_000_000:
            values = integrand(step * (offset + np.arange(start, start + block)))
            total += np.sum(values)
            if np.max(np.abs(values[-8:])) <= 1e-16 * abs(total):
                break
            start, block = start + block, min(2 * start + block, 4096)
        return total

    def _saddle(self, x, lower):
        """The real point where K(s) − s·x − log|s| is least, left or right of 0."""

        def slope(s):
            return self._derivatives(s)[0] - x - 1 / s

        if lower:
            near, far = -1e-12 / self.mean, -1.0 / self.mean
            while slope(far) > 0:
                far *= 2
            return optimize.brentq(slope, far, near, rtol=1e-10)
        edge = 0.5 / np.max(self.weights)
        return optimize.brentq(slope, edge * 1e-12, edge * (1 - 1e-12), rtol=1e-10)


def norm_interval(mean, variance, num_samples: int, confidence: float) -> tuple[float, float]:
    """Return the central interval of ‖ĥ‖ when ĥ is normal around the observed mean with independent features.

    The Monte Carlo interval of the paper on uniformly smoothed attributions (C.1, Eq. 43–45). It relies on the central
    limit theorem, ignores the correlation between pixels and centres the law at the estimate, so it is no guarantee;
    `overlap.norm_lower_limit` is one.

    Shape: mean [d], variance [d] of one sample's features -> (low, high).

    Raises: UsageError for a confidence outside (0, 1).
    """
    checks.between_0_and_1(confidence=confidence)
    mean = np.asarray(mean, np.float64).ravel()
    weights = np.maximum(np.asarray(variance, np.float64).ravel(), 0.0) / num_samples
    constant = float(np.sum(np.square(mean[weights <= 0])))
    if not np.any(weights > 0):
        return float(np.sqrt(constant)), float(np.sqrt(constant))
    keep = weights > 0
    law = GeneralizedChiSquare(weights[keep], mean[keep] / np.sqrt(weights[keep]))
    tail = (1 - confidence) / 2
    low, high = (float(np.sqrt(constant + law.quantile(p))) for p in (tail, 1 - tail))
    return low, high
