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
    assert overlap.certified_cosine(0.8, distance, 1.0, 2, formula="tangent") == pytest.approx(cosine, rel=1e-12)
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


@pytest.mark.parametrize("norm", [0.3, 0.8, 0.9, 0.97, 1.0])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.14])
def test_sound_cosine_is_the_least_of_all_fields_and_one_attains_it(norm, share):
    """h = a + b and h̃ = ã + b with ‖a‖, ‖ã‖ ≤ ρ and ‖b‖ ≤ 1 − ρ: a grid of all b, and the worst ã for each."""
    epsilon = 2 * np.sqrt(special.betaincinv(0.5, 1.5, share))
    assert overlap.overlap_deficit(epsilon, 1.0, 2) / 2 == pytest.approx(share)
    lengths, angles = np.linspace(norm - share, min(norm + share, 1 - share), 4001), np.linspace(0, np.pi / 2, 4001)
    lengths = lengths[lengths > share]
    # |h − b|² ≤ ρ² gives the largest angle of each length.
    fits = (norm**2 + lengths[:, None] ** 2 - 2 * norm * lengths[:, None] * np.cos(angles)) <= share**2 + 1e-12
    widest = np.array([angles[row].max() if row.any() else np.nan for row in fits])
    turned = widest + np.arcsin(share / lengths)
    least = np.cos(np.nanmax(turned))
    found = overlap.certified_cosine(norm, epsilon, 1.0, 2)
    assert found <= least + 1e-9 and found == pytest.approx(least, abs=2e-3)
    assert found >= overlap.certified_cosine(norm, epsilon, 1.0, 2, formula="tangent") - 1e-12
    # The field that is constant on each of the three regions and attains it, measured by sampling the plane.
    angle = np.arccos(found)
    length = 1 - share if norm**2 - 3 * share**2 > (1 - share) ** 2 else np.sqrt(norm**2 - 3 * share**2)
    within = np.arccos(np.clip((norm**2 + length**2 - share**2) / (2 * norm * length), -1, 1))
    b = length * np.array([np.cos(within), np.sin(within)])
    own = np.array([norm, 0.0]) - b
    moved = np.sqrt(length**2 - share**2) * np.array([np.cos(angle), np.sin(angle)])
    parts = [own / share, b / (1 - share), (moved - b) / share]
    assert max(np.linalg.norm(part) for part in parts) <= 1 + 1e-6
    reached = moved @ [norm, 0.0] / norm / np.linalg.norm(moved)
    assert reached == pytest.approx(found, abs=1e-7)


def test_sound_formula_is_never_below_the_tangent_and_gains_above_its_kink():
    for threshold, gain in ((0.8, 1.12), (0.9, 1.18)):
        norms = np.linspace(0.1, 1.0, 50)
        sound, tangent = (
            overlap.largest_epsilon(norms, 1.0, threshold, 784, formula=formula) for formula in ("sound", "tangent")
        )
        assert np.all(sound >= tangent * (1 - 1e-9))
        np.testing.assert_allclose(sound[norms < 0.86], tangent[norms < 0.86], rtol=1e-9)
        ratio = overlap.largest_epsilon(0.985, 1.0, threshold, 784) / overlap.largest_epsilon(
            0.985, 1.0, threshold, 784, formula="tangent"
        )
        assert ratio > gain


def test_random_fields_never_go_below_the_sound_cosine():
    """100,000 random fields on the three regions of the line, with values in the unit disc of the plane."""
    rng, share = np.random.default_rng(5), 0.12
    radii, angles = (
        rng.random((100_000, 3)) ** rng.choice([0.05, 0.5, 3.0], (100_000, 3)),
        rng.normal(0, rng.choice([0.1, 0.5, 2.0], (100_000, 3))),
    )
    values = radii[..., None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    h = share * values[:, 0] + (1 - share) * values[:, 1]
    moved = share * values[:, 2] + (1 - share) * values[:, 1]
    lengths = np.linalg.norm(h, axis=1)
    cosines = np.sum(h * moved, axis=1) / lengths / np.linalg.norm(moved, axis=1)
    # d = 1: two intervals of length 2 whose centres lie 2·.12 apart have q/2 = .12.
    certified = overlap.certified_cosine(lengths, 2 * share, 1.0, 1)
    stated = ~np.isnan(certified)
    assert stated.sum() > 20_000 and np.all(cosines[stated] >= certified[stated] - 1e-9)
