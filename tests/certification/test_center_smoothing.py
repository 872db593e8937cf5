"""Center smoothing: a field whose angles are known, abstention, bad settings."""

import math

import numpy as np
import pytest
import tensorflow as tf

from rar_tf.certification.center_smoothing import CenterSmoother
from rar_tf.errors import UsageError


def rotating(images, labels):
    """In the plane, the direction at angle x₁ (radians): moving by ε turns it by at most ε."""
    angle = images[:, 0, 0, 0]
    return tf.reshape(tf.stack([tf.cos(angle), tf.sin(angle)], 1), [-1, 1, 2, 1])


IMAGE = np.array([0.4, 0.0], np.float32).reshape(1, 2, 1)


def test_angle_bound_of_a_rotation_is_three_quantiles_of_the_noise():
    from scipy import stats

    smoother = CenterSmoother(rotating, batch_size=1000, center_samples=10_000, radius_samples=10_000)
    found = smoother.certify(IMAGE, 0, epsilon=0.05, sigma=0.05)
    assert found["abstained"] == 0
    # The farthest of a share Φ(Φ⁻¹(0.55) + 1) (and the slack of its estimate) of |N(0, σ²)| angles, from the true
    # centre.
    share = stats.norm.cdf(stats.norm.ppf(0.55) + 1) + math.sqrt(math.log(200) / 20_000)
    quantile = 0.05 * stats.norm.ppf((1 + share) / 2)
    assert found["angle_bound"] == pytest.approx(math.degrees(3 * quantile), rel=0.2)
    assert found["angle_bound"] > math.degrees(0.05)  # the true change
    assert found["relaxed_bound"] == pytest.approx(10 * (1 - math.cos(quantile)), rel=0.4)
    assert found["cosine_distance_bound"] <= min(
        found["relaxed_bound"], 1 - math.cos(math.radians(found["angle_bound"]))
    ) * (1 + 1e-6)


def test_output_at_any_point_within_epsilon_stays_within_the_bound():
    smoother = CenterSmoother(rotating, batch_size=500, center_samples=2000, radius_samples=2000)
    bound = smoother.certify(IMAGE, 0, epsilon=0.2)["angle_bound"]
    draw = smoother._sampler(IMAGE + np.array([0.2, 0], np.float32).reshape(1, 2, 1), 0, 0.2, 5, 0, None)
    centers = draw(30, 0, np.eye(1))[0][:30]
    center = centers[np.argmin(np.median(1 - draw(2000, 1, centers)[1], axis=0))]
    assert math.degrees(abs(math.atan2(center[1], center[0]) - 0.4)) < bound


def test_abstains_where_half_of_the_outputs_have_no_share_to_spare():
    few = CenterSmoother(rotating, batch_size=100, center_samples=200, radius_samples=200)
    assert few.certify(IMAGE, 0, epsilon=0.05)["abstained"] == 1  # too few samples for Δ = 0.05
    smoother = CenterSmoother(rotating, batch_size=1000, center_samples=4000, radius_samples=4000)
    assert smoother.certify(IMAGE, 0, epsilon=0.5, sigma=0.05)["abstained"] == 1  # ε = 10σ: the share would be 1


def test_equal_maps_are_certified_however_products_round():
    """A linear network has one map: all distances are the median, up to rounding."""
    direction = np.random.default_rng(0).normal(size=(1, 28, 28, 1)).astype(np.float32)
    direction /= np.linalg.norm(direction)
    smoother = CenterSmoother(
        lambda images, labels: tf.repeat(tf.constant(direction), tf.shape(images)[0], 0),
        batch_size=1000,
        center_samples=4000,
        radius_samples=4000,
    )
    found = smoother.certify(np.full((28, 28, 1), 0.5, np.float32), 0, epsilon=0.02)
    assert found["abstained"] == 0 and 0 < found["angle_bound"] < 1


def test_zero_attribution_is_not_certified():
    zero = CenterSmoother(
        lambda images, labels: tf.zeros_like(images), batch_size=1000, center_samples=4000, radius_samples=4000
    )
    found = zero.certify(IMAGE, 0, epsilon=0.05)
    assert found["abstained"] == 1 and math.isnan(found["angle_bound"])


def test_bad_settings_are_refused():
    with pytest.raises(UsageError, match="alpha_1"):
        CenterSmoother(rotating, alpha_1=0.0)
    with pytest.raises(UsageError, match="epsilon must be positive"):
        CenterSmoother(rotating).certify(IMAGE, 0, epsilon=-1.0)
    with pytest.raises(UsageError, match="candidates"):
        CenterSmoother(rotating, batch_size=10).certify(IMAGE, 0, epsilon=0.1)
