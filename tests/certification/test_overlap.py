"""Certificates of uniform smoothing: volumes, inverses, and the counter-example to the printed formula."""

import numpy as np
import pytest
from scipy import special

from rar_tf.certification import overlap
from rar_tf.errors import UsageError


def ball(rng, count, dimension):
    directions = rng.normal(size=(count, dimension))
    return rng.random((count, 1)) ** (1 / dimension) * directions / np.linalg.norm(directions, axis=1, keepdims=True)


@pytest.mark.parametrize("dimension", [2, 5, 20])
@pytest.mark.parametrize("distance", [0.05, 0.4, 1.0, 1.9])
def test_overlap_deficit_equals_monte_carlo(dimension, distance):
    points = ball(np.random.default_rng(dimension), 200_000, dimension)
    points[:, 0] -= distance
    outside = np.mean(np.linalg.norm(points, axis=1) > 1)
    # V_U is the lune of each ball; a standard error is at most 2·0.5/sqrt(200,000) = 0.0022.
    assert overlap.overlap_deficit(distance, 1.0, dimension) == pytest.approx(2 * outside, abs=0.009)


def test_overlap_deficit_has_the_error_function_as_limit():
    half = np.linspace(1e-4, 0.08, 20)
    expected = 2 * special.erf(half * np.sqrt((3072 + 0.5) / 2))
    np.testing.assert_allclose(overlap.overlap_deficit(2 * half, 1.0, 3072), expected, atol=3e-4)


def test_overlap_deficit_of_the_interval_and_of_disjoint_balls():
    # d = 1: two intervals of length 2 that lie ε apart differ by 2·ε/2 of their length.
    np.testing.assert_allclose(overlap.overlap_deficit([0.3, 1.0, 2.0, 7.0], 1.0, 1), [0.3, 1.0, 2.0, 2.0])
    assert overlap.overlap_deficit(5.0, 1.0, 784) == 2.0


@pytest.mark.parametrize("formula", overlap.FORMULAS)
@pytest.mark.parametrize("dimension", [2, 784, 3072, 150_528])
@pytest.mark.parametrize("norm, threshold", [(0.9, 0.8), (0.02, 0.5), (0.5, 0.99999), (1.0, 0.6)])
def test_three_formulations_are_inverse_to_each_other(formula, dimension, norm, threshold):
    epsilon = overlap.largest_epsilon(norm, 2.5, threshold, dimension, formula=formula)
    assert epsilon > 0
    cosine = overlap.certified_cosine(norm, epsilon, 2.5, dimension, formula=formula)
    assert threshold <= cosine < threshold + 1e-4
    needed = overlap.needed_norm(epsilon, 2.5, threshold, dimension, formula=formula)
    assert needed <= norm
    assert needed == pytest.approx(norm, rel=1e-8)
    beyond = overlap.certified_cosine(norm, 1.001 * epsilon, 2.5, dimension, formula=formula)
    assert np.isnan(beyond) or beyond < threshold


def test_largest_epsilon_scales_with_the_radius():
    small, large = overlap.largest_epsilon(0.7, np.array([1.0, 3.0]), 0.9, 784)
    assert large == pytest.approx(3 * small)


def field_of_the_counter_example(distance):
    """A field on the plane with ‖g‖ ≤ 1, ‖h(0)‖ = 0.8 and the worst possible h(distance·e₁) for V_U/V_S = 0.2."""
    direction = np.array([-0.25, np.sqrt(1 - 0.25**2)])
    shared = (np.array([0.8, 0.0]) + 0.1 * direction) / 0.9

    def field(points):
        first = np.linalg.norm(points, axis=1) <= 1
        second = np.linalg.norm(points - [distance, 0], axis=1) <= 1
        values = np.zeros_like(points)
        values[first & second] = shared
        values[first & ~second] = -direction
        values[second & ~first] = direction
        return values

    return field


def test_counter_example_lies_below_the_printed_bound_and_meets_the_sound_one():
    distance = 2 * np.sqrt(special.betaincinv(0.5, 1.5, 0.1))
    assert overlap.overlap_deficit(distance, 1.0, 2) == pytest.approx(0.2, rel=1e-12)
    field = field_of_the_counter_example(distance)
    assert np.linalg.norm(field(ball(np.random.default_rng(1), 1000, 2)), axis=1).max() <= 1
    # The smoothed maps follow exactly from the areas: 0.9 of each disc is shared, 0.1 is its own lune.
    shared, lune, other = field(np.array([[distance / 2, 0], [-0.99, 0], [distance + 0.99, 0]]))
    h, moved = 0.9 * shared + 0.1 * lune, 0.9 * shared + 0.1 * other
    cosine = h @ moved / np.linalg.norm(h) / np.linalg.norm(moved)
    assert np.linalg.norm(h) == pytest.approx(0.8)
    assert cosine == pytest.approx(0.96825, abs=1e-5)
    printed = overlap.certified_cosine(0.8, distance, 1.0, 2, formula="paper")
    assert printed == pytest.approx(0.97014, abs=1e-5)
    assert cosine < printed
    assert overlap.certified_cosine(0.8, distance, 1.0, 2) == pytest.approx(cosine, rel=1e-12)
    # The same by sampling, without any of the areas.
    points = ball(np.random.default_rng(2), 1_000_000, 2)
    h, moved = field(points).mean(0), field(points + [distance, 0]).mean(0)
    assert h @ moved / np.linalg.norm(h) / np.linalg.norm(moved) == pytest.approx(0.96825, abs=1e-3)


def test_sound_cosine_is_the_least_over_all_changes_of_that_length():
    angles = np.linspace(0, 2 * np.pi, 100_001)
    moved = np.stack([0.8 + 0.3 * np.cos(angles), 0.3 * np.sin(angles)])
    least = np.min(moved[0] / np.linalg.norm(moved, axis=0))
    epsilon = 2 * np.sqrt(special.betaincinv(0.5, 1.5, 0.15))
    assert overlap.certified_cosine(0.8, epsilon, 1.0, 2) == pytest.approx(least, abs=1e-8)


def test_nothing_is_certified_where_the_change_may_reach_the_map():
    assert np.isnan(overlap.certified_cosine(0.2, 2.0, 1.0, 2))
    assert np.isnan(overlap.certified_cosine(0.0, 0.1, 1.0, 2))
    assert np.isnan(overlap.certified_cosine(0.0, 0.1, 1.0, 2, formula="paper"))
    assert overlap.largest_epsilon(0.0, 1.0, 0.9, 784) == 0


def test_norm_lower_limit_has_the_stated_slack_and_covers():
    assert 1 - overlap.norm_lower_limit(1.0, 100_000, 0.99) == pytest.approx(0.0128, abs=1e-4)
    assert overlap.norm_lower_limit(0.01, 100, 0.99) == 0
    # Unit vectors around the circle with mean 0.3: the limit exceeds it in at most 1 − confidence of the trials.
    rng = np.random.default_rng(3)
    signs = np.where(rng.random((2000, 200)) < 0.65, 1.0, -1.0)
    other = np.sqrt(1 - 0.5) * rng.choice([-1, 1], size=(2000, 200))
    means = np.hypot((signs * np.sqrt(0.5)).mean(1), other.mean(1))
    truth = 0.3 * np.sqrt(0.5)
    assert np.mean(overlap.norm_lower_limit(means, 200, 0.5) > truth) <= 0.5
    assert np.mean(overlap.norm_lower_limit(means, 200, 0.5)) < truth < np.mean(means)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: overlap.largest_epsilon(0.5, 1.0, 1.0, 2), "threshold must be between 0 and 1"),
        (lambda: overlap.largest_epsilon(0.5, 1.0, 0.0, 2), "threshold must be between 0 and 1"),
        (lambda: overlap.certified_cosine(0.5, 0.0, 1.0, 2), "epsilon must be positive"),
        (lambda: overlap.certified_cosine(0.5, 0.1, -1.0, 2), "radius must be positive"),
        (lambda: overlap.certified_cosine(0.5, 0.1, 1.0, 2, bound=np.inf), "bound must be positive and finite"),
        (lambda: overlap.certified_cosine(0.5, 0.1, 1.0, 2, formula="tight"), "unknown formula"),
        (lambda: overlap.norm_lower_limit(0.5, 100, 1.0), "confidence must be between 0 and 1"),
        (lambda: overlap.norm_lower_limit(0.5, 0, 0.9), "num_samples must be at least 1"),
    ],
)
def test_bad_settings_are_refused_in_one_line(call, message):
    with pytest.raises(UsageError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
