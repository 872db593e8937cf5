"""The generalised chi-square against its special cases and simulation."""

import numpy as np
import pytest
from scipy import stats

from rar_tf.certification.chi_square import GeneralizedChiSquare, norm_interval
from rar_tf.errors import UsageError

POINTS = [1e-3, 0.3, 1.0, 1.7, 6.0]


@pytest.mark.parametrize("count", [1, 2, 5, 50, 3000])
@pytest.mark.parametrize("point", POINTS)
def test_equal_weights_are_the_chi_square(count, point):
    law = GeneralizedChiSquare(np.full(count, 2.5))
    x = point * count
    assert law.cdf(2.5 * x) == pytest.approx(stats.chi2.cdf(x, count), rel=1e-9, abs=1e-300)
    assert law.sf(2.5 * x) == pytest.approx(stats.chi2.sf(x, count), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("noncentrality", [0.5, 4.0, 100.0])
@pytest.mark.parametrize("point", POINTS)
def test_equal_weights_and_shifts_are_the_noncentral_chi_square(count, noncentrality, point):
    law = GeneralizedChiSquare(np.ones(count), np.sqrt(noncentrality / count))
    x = point * (count + noncentrality)
    assert law.cdf(x) == pytest.approx(stats.ncx2.cdf(x, count, noncentrality), rel=1e-8, abs=1e-13)
    assert law.sf(x) == pytest.approx(stats.ncx2.sf(x, count, noncentrality), rel=1e-8, abs=1e-13)


def test_pairs_of_weights_are_a_hypoexponential():
    # w(Z₁² + Z₂²) is exponential with mean 2w, so two such pairs have a closed form.
    a, b, x = 2 * 1.0, 2 * 0.3, 1.9
    expected = 1 - (a * np.exp(-x / a) - b * np.exp(-x / b)) / (a - b)
    assert GeneralizedChiSquare([1.0, 1.0, 0.3, 0.3]).cdf(x) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed, count", [(0, 2), (1, 7), (2, 60)])
def test_quantiles_equal_simulation(seed, count):
    rng = np.random.default_rng(seed)
    weights, shifts = rng.gamma(0.5, size=count), rng.normal(size=count)
    draws = np.square(rng.normal(size=(300_000, count)) + shifts) @ weights
    law = GeneralizedChiSquare(weights, shifts)
    for probability in (0.01, 0.2, 0.5, 0.8, 0.99):
        # Three standard errors of a share.
        error = 3 * np.sqrt(probability * (1 - probability) / len(draws))
        assert np.mean(draws <= law.quantile(probability)) == pytest.approx(probability, abs=error)


def test_weights_of_very_different_sizes_and_zero_weights():
    law = GeneralizedChiSquare([1.0, 1e-9, 0.0, 1e-14], [0.0, 3.0, 5.0, 0.0])
    assert law.cdf(1.0) == pytest.approx(stats.chi2.cdf(1.0, 1), abs=1e-7)
    assert law.cdf(0.0) == 0 and law.sf(-1.0) == 1


def test_many_weights_are_nearly_normal():
    law = GeneralizedChiSquare(np.linspace(0.5, 1.5, 20_000), 1.0)
    for deviations in (-2, 0, 2):
        assert law.cdf(law.mean + deviations * law.deviation) == pytest.approx(stats.norm.cdf(deviations), abs=5e-3)


def test_norm_interval_covers_the_estimate_and_shrinks_with_samples():
    rng = np.random.default_rng(5)
    mean, variance = rng.normal(size=30), rng.gamma(1.0, size=30)
    widths = []
    for samples in (1_000, 100_000):
        low, high = norm_interval(mean, variance, samples, 0.99)
        # P(low ≤ ‖N(mean, variance/N)‖ ≤ high) is the confidence.
        draws = mean + rng.normal(size=(100_000, 30)) * np.sqrt(variance / samples)
        inside = np.mean(np.abs(np.linalg.norm(draws, axis=1) - (low + high) / 2) <= (high - low) / 2)
        assert inside == pytest.approx(0.99, abs=0.002)
        widths.append(high - low)
    assert widths[0] == pytest.approx(10 * widths[1], rel=0.05)
    assert norm_interval([3.0, 4.0], [0.0, 0.0], 10, 0.9) == (5.0, 5.0)
    low, _ = norm_interval([3.0, 0.0], [0.0, 1e-6], 10, 0.9)
    assert low == pytest.approx(3.0)


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [0.0], [np.nan]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(UsageError, match="generalised chi-square"):
        GeneralizedChiSquare(weights)
