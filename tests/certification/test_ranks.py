"""Certificates of ranks: exact intervals, worst fields, every order within the limits, coverage of the limits."""

import itertools

import numpy as np
import pytest
from scipy import special

from rar_tf import metrics
from rar_tf.certification import overlap, ranks
from rar_tf.certification.limits import bernstein_limits, binomial_limits, mean_lower_limit
from rar_tf.errors import UsageError


@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.85, 1.0])
def test_a_feature_can_move_as_far_as_its_limits_and_no_farther(noise, share):
    """On the line the worst indicator of a share p is a half-line for normal noise, and an interval of the uniform."""
    epsilon, radius = 0.3, 1.0
    low, high = (float(each) for each in ranks.moved(share, share, epsilon, radius, 1, noise))
    if noise == "gaussian":
        edge = special.ndtri(share)  # g = 1 for z ≤ edge; moving the mean by ±ε shifts it
        extremes = special.ndtr(edge - epsilon), special.ndtr(edge + epsilon)
    else:  # g = 1 on [−1, 2p − 1] of the noise around 0, and on all of what lies beyond for the upper end
        grid = (np.arange(200_000) + 0.5) / 100_000 - 1
        field = lambda z: (z < 2 * share - 1).astype(float)
        extremes = field(grid + epsilon).mean(), field(grid - epsilon).mean()
    np.testing.assert_allclose((low, high), extremes, atol=2e-5)
    assert low <= share <= high


def test_uniform_limits_hold_for_random_fields_of_the_plane():
    rng, epsilon = np.random.default_rng(0), 0.4
    grid = np.stack(np.meshgrid(*[np.linspace(-2, 2, 161)] * 2, indexing="ij"), -1)
    here, there = (np.linalg.norm(grid - [shift, 0], axis=-1) <= 1 for shift in (0.0, epsilon))
    # The share of the grid's own disc that the other lacks, in place of q/2 of the continuum.
    share = max(np.mean(here & ~there) / here.mean(), np.mean(there & ~here) / there.mean())
    assert share == pytest.approx(overlap.overlap_deficit(epsilon, 1.0, 2) / 2, abs=0.01)
    for _ in range(300):
        field = rng.random(grid.shape[:2]) ** rng.choice([0.1, 1, 10])
        field[here & ~there] = rng.choice([0, 1])
        field[there & ~here] = rng.choice([0, 1])
        first, second = field[here].mean(), field[there].mean()
        assert abs(second - first) <= share + 0.01


def brute_force(low, high, k):
    """All orders that values within the limits can have, by values at every end of every interval and between."""
    points = np.unique(np.concatenate([low, high]))
    points = np.unique(np.concatenate([points, (points[1:] + points[:-1]) / 2]))
    choices = [points[(points >= lo) & (points <= hi)] for lo, hi in zip(low, high)]
    return np.array(list(itertools.product(*choices)))


@pytest.mark.parametrize("seed", range(8))
def test_ranks_hold_for_all_values_within_the_limits_and_are_attained(seed):
    rng = np.random.default_rng(seed)
    mean = np.round(rng.random(5), 2)
    width = 0.02 + 0.15 * rng.random(5)
    moving, still, k = (mean - width, mean + width), (mean, mean), 2
    values = brute_force(*moving, k)
    inside, outside = ranks.certain_pixels(*moving, k)
    # Of equals any may be said to be the larger: both choices count.
    tops = np.concatenate([metrics.top_k_set(values + tie, k) for tie in 1e-9 * rng.random((20, 1, 5))])
    np.testing.assert_array_equal(inside, tops.all(0))
    np.testing.assert_array_equal(outside, ~tops.any(0))
    chosen = metrics.top_k_set(mean[None], k)[0]
    assert ranks.changed_members(*moving, chosen) == k - (tops & chosen).sum(1).min()
    least = min(metrics.topk_intersection(np.repeat(mean[None], len(values), 0), values + 1e-9 * rng.random(5), k))
    assert ranks.top_k_intersection(mean, still, moving, k) <= least + 1e-9
    tau = metrics.kendall(np.repeat(mean[None], 200, 0), values[rng.integers(0, len(values), 200)], "a")
    assert ranks.kendall(*moving) <= tau.min() + 1e-9


def test_kendall_is_exact_where_every_uncertain_pair_can_turn():
    low, high = np.array([0.1, 0.2, 0.7, 0.9]), np.array([0.25, 0.3, 0.75, 0.95])
    assert ranks.kendall(low, high) == pytest.approx(2 * 5 / 6 - 1)
    turned = metrics.kendall(np.array([[0.1, 0.2, 0.7, 0.9]]), np.array([[0.25, 0.2, 0.7, 0.9]]), "a")
    assert turned[0] == pytest.approx(ranks.kendall(low, high))


def test_both_top_k_sets_count_where_the_first_is_not_known():
    mean = np.array([0.5, 0.49, 0.1, 0.05])
    known, unknown = (mean, mean), (mean - 0.02, mean + 0.02)
    moving = (mean - 0.03, mean + 0.03)
    assert ranks.top_k_intersection(mean, known, known, 1) == 1
    assert ranks.top_k_intersection(mean, unknown, moving, 1) == 0
    assert ranks.top_k_intersection(mean, unknown, moving, 2) == 1


@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
def test_label_epsilon_is_where_half_of_the_noise_is_left(noise):
    epsilon = ranks.label_epsilon(0.8, 2.0, 784, noise)
    low, _ = ranks.moved(0.8, 0.8, epsilon, 2.0, 784, noise)
    assert float(low) == pytest.approx(0.5, abs=1e-7)
    assert ranks.label_epsilon(0.5, 2.0, 784, noise) == 0


def test_limits_cover_in_2000_repeats():
    rng, confidence = np.random.default_rng(1), 0.9
    share = 0.07
    low, high = binomial_limits(rng.binomial(200, share, 2000), 200, confidence)
    for missed in (np.mean(low > share), np.mean(high < share)):
        assert 0.02 < missed <= 0.1 + 3 * np.sqrt(0.09 / 2000)
    draws = rng.beta(0.3, 3.0, size=(2000, 200))
    low, high = bernstein_limits(draws.mean(1), draws.var(1, ddof=1), 200, confidence)
    assert max(np.mean(low > 0.3 / 3.3), np.mean(high < 0.3 / 3.3)) <= 0.1 + 3 * np.sqrt(0.09 / 2000)
    assert binomial_limits(0, 50, 0.95)[0] == 0 and binomial_limits(50, 50, 0.95)[1] == 1
    assert binomial_limits(0, 50, 0.95)[1] == pytest.approx(1 - 0.05 ** (1 / 50))


def test_betting_limit_covers_in_2000_repeats_even_where_one_stops_at_the_worst_time():
    rng, missed = np.random.default_rng(2), 0
    for _ in range(2000):
        draws = np.where(rng.random(100) < 0.8, 1.0, -1.0)
        # The limit only rises with the draws, so that the last one is the largest at any time.
        missed += mean_lower_limit(draws, 0.9) > 0.6
    assert 0.02 < missed / 2000 <= 0.1 + 3 * np.sqrt(0.09 / 2000)
    draws = np.where(rng.random(200) < 0.8, 1.0, -1.0)
    rising = [mean_lower_limit(draws[:count], 0.9, horizon=200) for count in range(1, 201, 20)]
    assert np.all(np.diff(rising) >= -1e-9)


def test_betting_limit_is_tighter_than_the_concentration_of_the_norm_by_far():
    draws = np.clip(np.random.default_rng(3).normal(0.985, 0.01, 3000), -1, 1)
    assert mean_lower_limit(draws, 0.99) > draws.mean() - 0.004
    assert overlap.norm_lower_limit(draws.mean(), 3000, 0.99) < draws.mean() - 0.07
    assert mean_lower_limit([], 0.9, bound=2.0) == -2.0
    assert mean_lower_limit(2 * draws, 0.99, bound=2.0) == pytest.approx(2 * mean_lower_limit(draws, 0.99))


def test_mistakes_are_one_clear_line():
    for call, message in [
        (lambda: ranks.moved([0.5], [0.5], 0.1, 1.0, 4, "laplace"), "unknown noise 'laplace'"),
        (lambda: ranks.moved([0.5], [0.5], 0.0, 1.0, 4, "uniform"), "epsilon must be positive"),
        (lambda: ranks.certain_pixels(np.zeros(3), np.ones(3), 4), "k must be in 1 … 3"),
        (lambda: mean_lower_limit([0.1], 1.0), "confidence must be between 0 and 1"),
        (lambda: binomial_limits(1, 0, 0.9), "num_samples must be at least 1"),
    ]:
        with pytest.raises(UsageError, match=message):
            call()
