"""Uniformly smoothed attributions: sampling, Monte Carlo limits, the search for a radius."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from rar_tf.certification import overlap, smoothing
from rar_tf.certification.field import attribution_field, clipped_field, unit_field
from rar_tf.certification.limits import mean_lower_limit
from rar_tf.errors import UsageError


def logits(matrix):
    """A network of two logits, xᵀA x/2 and 0, with the gradient A x."""

    def network(images, training=False):
        flat = tf.reshape(images, [tf.shape(images)[0], -1])
        value = 0.5 * tf.reduce_sum(flat * tf.linalg.matvec(matrix, flat), axis=1)
        return tf.stack([value, tf.zeros_like(value)], axis=1)

    return network


def saliency(matrix):
    return attribution_field(logits(tf.constant(matrix, tf.float32)), "saliency")


@pytest.mark.parametrize("dimension", [2, 5, 784])
def test_uniform_noise_fills_the_ball(dimension):
    noise = smoothing.uniform_noise([20_000, 1, dimension, 1], 2.0, smoothing.sample_seed(0, 0, 0, 0)).numpy()
    lengths = np.linalg.norm(noise.reshape(20_000, -1), axis=1)
    assert lengths.max() <= 2.0 * (1 + 1e-6)
    # P(‖η‖ ≤ s) = (s/r)^d
    ranks = (lengths / 2.0) ** dimension
    for share in (0.1, 0.5, 0.9):
        assert np.mean(ranks <= share) == pytest.approx(share, abs=0.012)
    assert np.abs(noise.mean(0)).max() < 0.05


def test_samples_of_images_batches_and_purposes_are_independent():
    seeds = [
        smoothing.sample_seed(*key) for key in [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0)]
    ]
    draws = np.stack([smoothing.uniform_noise([1, 40, 40, 1], 1.0, seed).numpy().ravel() for seed in seeds])
    assert np.abs(np.corrcoef(draws) - np.eye(5)).max() < 0.1


def test_smoothed_linear_attribution_is_itself():
    """A quadratic network's gradient is linear, so its mean over any centred noise is its value at the centre."""
    matrix = np.diag([3.0, 1.0, 0.5, 2.0])
    image = np.array([1.0, 2.0, 0.0, -1.0], np.float32).reshape(2, 2, 1)
    smoother = smoothing.Smoother(saliency(matrix), bound=100.0, batch_size=512)
    found = smoother.estimate(image, 0, 0.5, 20_000, seed=0)
    np.testing.assert_allclose(found.mean.ravel(), [3, 2, 0, -2], atol=0.02)
    # Cov(Aη) = A² r²/(d + 2)
    np.testing.assert_allclose(found.variance.ravel(), np.array([9, 1, 0.25, 4]) * 0.25 / 6, rtol=0.06)


def test_smoothed_unit_field_has_a_known_norm():
    """g(x) = x/‖x‖ at x = 0 averages to nothing; far from 0, to nearly the unit vector towards x."""
    smoother = smoothing.Smoother(unit_field(saliency(np.eye(4))), batch_size=1000)
    at_zero = smoother.estimate(np.zeros((2, 2, 1)), 0, 1.0, 10_000, seed=0)
    assert at_zero.norm < 0.03
    assert at_zero.norm_low(0.99) == 0
    far = smoother.estimate(np.full((2, 2, 1), 50.0), 0, 1.0, 1_000, seed=0)
    assert far.norm == pytest.approx(1.0, abs=1e-3)


def test_estimate_does_not_depend_on_the_batch_and_repeats_itself():
    field, image = unit_field(saliency(np.diag([3.0, 1.0, 0.5, 2.0]))), np.ones((2, 2, 1), np.float32)
    smoother = smoothing.Smoother(field, batch_size=300)
    first = smoother.estimate(image, 0, 1.0, 1000, seed=1, index=3)
    again = smoother.estimate(image, 0, 1.0, 1000, seed=1, index=3)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert first.num_samples == 1000
    other = smoother.estimate(image, 0, 1.0, 1000, seed=1, index=4)
    assert np.abs(first.mean - other.mean).max() > 0
    # A partly filled last batch counts its samples only: 1000 = 3·300 + 100.
    seeds = [smoothing.sample_seed(1, 0, 3, batch) for batch in range(4)]
    noise = np.concatenate([smoothing.uniform_noise([300, 2, 2, 1], 1.0, seed).numpy() for seed in seeds])[:1000]
    values = (image + noise).reshape(1000, 4) * [3.0, 1.0, 0.5, 2.0]
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    np.testing.assert_allclose(first.mean.ravel(), values.mean(0), atol=1e-6)
    np.testing.assert_allclose(first.variance.ravel(), values.var(0, ddof=1), atol=1e-6)


def test_one_trace_serves_images_labels_radii_and_seeds():
    traces = []

    def field(images, labels):
        traces.append(1)
        return images

    smoother = smoothing.Smoother(unit_field(field), batch_size=8)
    for radius in (0.5, 1.0):
        for label in (0, 1):
            smoother.estimate(np.ones((2, 2, 1)), label, radius, 20, seed=0)
    assert len(traces) == 1


def test_certificate_holds_against_the_exact_smoothed_map():
    """In the plane g = x/‖x‖ is smoothed by quadrature; no point at distance ε may go below the certificate."""
    smoother = smoothing.Smoother(unit_field(saliency(np.eye(2))), batch_size=1000)
    image = np.array([0.6, 0.0], np.float32).reshape(1, 2, 1)
    found = smoothing.certificate(
        smoother.estimate(image, 0, 1.0, 20_000, seed=0), 1.0, epsilon=0.1, thresholds=[0.9], confidence=0.99
    )
    radii, angles = np.sqrt((np.arange(400) + 0.5) / 400), np.linspace(0, 2 * np.pi, 400, endpoint=False)
    noise = (radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1)).reshape(-1, 2)

    def smoothed(point):
        values = point + noise
        return np.mean(values / np.linalg.norm(values, axis=1, keepdims=True), axis=0)

    def least_cosine(epsilon):
        h = smoothed(np.array([0.6, 0.0]))
        moved = np.stack([smoothed(np.array([0.6 + epsilon * np.cos(a), epsilon * np.sin(a)])) for a in angles[::5]])
        return np.min(moved @ h / np.linalg.norm(moved, axis=1) / np.linalg.norm(h))

    assert found["norm_low"] < np.linalg.norm(smoothed(np.array([0.6, 0.0]))) < found["norm"] + 0.02
    assert 0 < found["certified_cosine"] <= least_cosine(0.1)
    assert 0 < found["largest_epsilon_0.9"]
    assert least_cosine(found["largest_epsilon_0.9"]) >= 0.9


def test_smallest_radius_certifies_and_little_less_does_not():
    """g = x/‖x‖ far from 0 has c ≈ 1 whatever r, so the smallest radius solves A(r) = c_low·sqrt(1 − T²)."""
    smoother = smoothing.Smoother(unit_field(saliency(np.eye(2))), batch_size=1000)
    image, samples = np.array([300.0, 0.0], np.float32).reshape(1, 2, 1), 20_000
    radius = smoother.smallest_radius(image, 0, 0.2, 0.8, samples, confidence=0.99, seed=0, largest=10.0)
    # The stakes may lose at most .9 of the capital: a constant map of length 1 is found to be longer than this.
    low = mean_lower_limit(np.ones(samples - 1000), 1 - 0.01 / 3, horizon=samples - 1000)
    assert overlap.certified_cosine(low, 0.2, radius, 2) >= 0.8
    assert not overlap.certified_cosine(low, 0.2, 0.98 * radius, 2) >= 0.8
    assert np.isnan(smoother.smallest_radius(image, 0, 0.2, 0.8, samples, confidence=0.99, seed=0, largest=0.15))
    options = dict(confidence=0.99, seed=0, least=2.0)  # as where float32 holds no shorter noise
    assert smoother.smallest_radius(image, 0, 0.2, 0.8, samples, largest=10.0, **options) == 2
    assert np.isnan(smoother.smallest_radius(image, 0, 0.2, 0.8, samples, largest=1.5, **options))
    centre = np.zeros((1, 2, 1), np.float32)
    assert np.isnan(smoother.smallest_radius(centre, 0, 0.2, 0.8, samples, confidence=0.99, seed=0, largest=1.0))


def test_clipped_field_is_bounded_and_leaves_short_maps_alone():
    field = clipped_field(saliency(np.eye(4)), 2.0)
    images = tf.constant([[0.5, 0.5, 0, 0], [3.0, 0, 4.0, 0], [0, 0, 0, 0]], tf.float32)
    maps = tf.reshape(field(tf.reshape(images, [3, 2, 2, 1]), tf.zeros([3], tf.int64)), [3, 4]).numpy()
    np.testing.assert_allclose(maps, [[0.5, 0.5, 0, 0], [1.2, 0, 1.6, 0], [0, 0, 0, 0]], atol=1e-6)


def test_zero_attribution_is_never_certified():
    smoother = smoothing.Smoother(unit_field(saliency(np.zeros((4, 4)))), batch_size=100)
    found = smoothing.certificate(
        smoother.estimate(np.ones((2, 2, 1)), 0, 1.0, 1000, seed=0), 1.0, epsilon=0.01, thresholds=[0.8], confidence=0.9
    )
    assert found["norm"] == 0 and np.isnan(found["certified_cosine"]) and found["largest_epsilon_0.8"] == 0


def test_chi_square_interval_is_close_and_less_strict_than_the_rigorous_limit():
    smoother = smoothing.Smoother(unit_field(saliency(np.diag([3.0, 1.0, 0.5, 2.0]))), batch_size=1000)
    found = smoother.estimate(np.ones((2, 2, 1)), 0, 1.0, 4000, seed=0)
    assert found.norm_low(0.99, "concentration") < found.norm_low(0.99, "chi_square") < found.norm
    assert found.norm_low(0.99, "concentration") < found.norm_low(0.99, "betting") < found.norm
    assert 0 < smoothing.interval_width(found, 1.0, 0.1, 0.99) < 0.02


@pytest.mark.parametrize(
    "change, message",
    [
        ({"radius": 0.0}, "radius must be positive"),
        ({"num_samples": 0}, "num_samples must be at least 1"),
    ],
)
def test_bad_settings_are_refused(change, message):
    smoother = smoothing.Smoother(unit_field(saliency(np.eye(4))), batch_size=4)
    settings = {"radius": 1.0, "num_samples": 4, **change}
    with pytest.raises(UsageError, match=message):
        smoother.estimate(np.ones((2, 2, 1)), 0, seed=0, **settings)
    with pytest.raises(UsageError, match="bound must be positive and finite"):
        smoothing.Smoother(saliency(np.eye(4)), bound=float("inf"))


def test_betting_limit_of_the_norm_covers_in_2000_repeats():
    """g = ±u with P(+) = .7 and a part across, so that ‖h‖ = .4·√½: directions from earlier batches, exact coverage."""
    rng, missed, truth = np.random.default_rng(0), 0, 0.4 * np.sqrt(0.5)
    for _ in range(2000):
        along, across = np.where(rng.random(200) < 0.7, 1.0, -1.0), rng.choice([-1.0, 1.0], 200)
        maps = np.sqrt(0.5) * np.stack([along, across], 1)
        sums = np.cumsum(maps.reshape(10, 20, 2).sum(1), 0)
        directions = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)  # it can be zero
        projections = np.einsum("bnd,bd->bn", maps.reshape(10, 20, 2)[1:], directions[:-1]).ravel()
        found = smoothing.Estimate(maps.mean(0), maps.var(0), 200, 1.0, projections, 200)
        missed += found.norm_low(0.9) > truth
    assert missed / 2000 <= 0.1 + 3 * np.sqrt(0.09 / 2000)


def test_projections_are_on_the_mean_of_the_batches_before():
    field, image = unit_field(saliency(np.diag([3.0, 1.0, 0.5, 2.0]))), np.ones((2, 2, 1), np.float32)
    found = smoothing.Smoother(field, batch_size=300).estimate(image, 0, 1.0, 1000, seed=1)
    seeds = [smoothing.sample_seed(1, 0, 0, batch) for batch in range(4)]
    noise = np.concatenate([smoothing.uniform_noise([300, 2, 2, 1], 1.0, seed).numpy() for seed in seeds])[:1000]
    values = (image + noise).reshape(1000, 4) * [3.0, 1.0, 0.5, 2.0]
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    expected = [values[n] @ values[: n // 300 * 300].mean(0) for n in range(300, 1000)]
    norms = [np.linalg.norm(values[: n // 300 * 300].mean(0)) for n in range(300, 1000)]
    np.testing.assert_allclose(found.projections, np.array(expected) / norms, atol=1e-5)


def test_sampling_stops_where_it_is_decided_and_repeats_the_same_samples():
    field, image = unit_field(saliency(np.diag([3.0, 1.0, 0.5, 2.0]))), np.ones((2, 2, 1), np.float32)
    smoother, seen = smoothing.Smoother(field, batch_size=100), []
    looks = lambda estimate: seen.append(estimate.num_samples) or estimate.norm_low(0.99) > 0.5
    stopped = smoother.estimate(image, 0, 1.0, 5000, seed=1, decided=looks)
    assert stopped.num_samples == seen[-1] < 5000 and stopped.horizon == 5000 and stopped.norm_low(0.99) > 0.5
    fixed = smoother.estimate(image, 0, 1.0, stopped.num_samples, seed=1)
    np.testing.assert_allclose(stopped.mean, fixed.mean, rtol=1e-12)
    whole = smoother.estimate(image, 0, 1.0, 5000, seed=1)
    assert stopped.norm_low(0.99) <= whole.norm_low(0.99)  # the same bets, and more of them


def test_one_sample_is_no_chi_square_certificate():
    smoother = smoothing.Smoother(unit_field(saliency(np.eye(4))), batch_size=4)
    found = smoother.estimate(np.ones((2, 2, 1)), 0, 1.0, 1, seed=0)
    assert [found.norm_low(0.99, interval) for interval in ("chi_square", "betting", "concentration")] == [0, 0, 0]
    assert np.isnan(smoothing.interval_width(found, 1.0, 0.1, 0.99))


def test_what_is_no_number_is_not_certified():
    broken = lambda images, labels: images / 0.0 * 0.0
    found = smoothing.certificate(
        smoothing.Smoother(broken, batch_size=4).estimate(np.ones((2, 2, 1)), 0, 1.0, 40, seed=0),
        1.0,
        epsilon=0.01,
        thresholds=[0.8],
        confidence=0.9,
    )
    assert found["norm_low"] == 0 and np.isnan(found["certified_cosine"]) and found["largest_epsilon_0.8"] == 0


def test_kept_labels_are_counted():
    network = lambda images, training=False: tf.stack([images[:, 0, 0, 0], tf.zeros(tf.shape(images)[0])], 1)
    smoother = smoothing.Smoother(unit_field(saliency(np.eye(4))), batch_size=100, network=network)
    found = smoother.estimate(np.full((2, 2, 1), 0.3, np.float32), 0, 1.0, 4000, seed=0)
    # P(η₁ > −.3) of the ball of four dimensions; the share of its smaller cap is ½ I_{1−.09}(5/2, 1/2).
    expected = 1 - special.betainc(2.5, 0.5, 1 - 0.09) / 2
    assert found.kept / 4000 == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 4000))
