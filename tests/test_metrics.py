"""Metrics against scipy, against counting by hand, and at their edges."""

import itertools

import numpy as np
import pytest
from scipy import stats

from rar_tf import metrics
from rar_tf.errors import UsageError


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    first = np.round(rng.random((4, 40)) * 6)  # many ties
    return first, np.round(first + rng.normal(size=first.shape) * 2)


def signs(a, b):
    return [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in itertools.combinations(range(len(a)), 2)]


def test_topk_intersection():
    first, second = np.array([[5, 4, 3, 2, 1.0]]), np.array([[1, 4, 5, 2, 3.0]])
    np.testing.assert_allclose(metrics.topk_intersection(first, second, 2), [0.5])  # {0, 1} and {2, 1}
    np.testing.assert_allclose(metrics.topk_intersection(first, second, 5), [1.0])
    for k in (0, 6):
        with pytest.raises(UsageError, match="1 … 5"):
            metrics.topk_intersection(first, second, k)


def test_kendall_counts_pairs(maps):
    first, second = maps
    for a, b, tau_a, tau_b in zip(*maps, metrics.kendall(first, second, "a"), metrics.kendall(first, second)):
        pairs = signs(a, b)
        difference = sum(s * t for s, t in pairs)
        assert tau_a == pytest.approx(difference / len(pairs))
        untied = [sum(s != 0 for s, _ in pairs), sum(t != 0 for _, t in pairs)]
        assert tau_b == pytest.approx(difference / np.sqrt(untied[0] * untied[1]))
    np.testing.assert_allclose(metrics.kendall(first, first), 1)
    with pytest.raises(UsageError, match="variant"):
        metrics.kendall(first, second, "c")


def test_gamma_counts_untied_pairs(maps):
    for a, b in zip(*maps):
        products = [s * t for s, t in signs(a, b)]
        concordant, discordant = sum(p > 0 for p in products), sum(p < 0 for p in products)
        assert metrics.goodman_kruskal_gamma(a, b) == pytest.approx(
            (concordant - discordant) / (concordant + discordant)
        )
    assert metrics.goodman_kruskal_gamma(np.ones(5), np.arange(5.0)) == 0


def test_spearman_pearson_cosine_are_scipys(maps):
    for row, (a, b) in enumerate(zip(*maps)):
        assert metrics.spearman(*maps)[row] == pytest.approx(stats.spearmanr(a, b).statistic)
        assert metrics.pearson(*maps)[row] == pytest.approx(stats.pearsonr(a, b).statistic)
        assert metrics.cosine(*maps)[row] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_constant_maps_agree_on_nothing():
    constant, other = np.ones((1, 9)), np.arange(9.0)[None]
    for metric in (metrics.kendall, metrics.spearman, metrics.pearson, metrics.kendall_support):
        np.testing.assert_array_equal(metric(constant, other), [0])
        np.testing.assert_array_equal(metric(0.1 * constant[:, :3], 0.2 * constant[:, :3]), [0])
    np.testing.assert_array_equal(metrics.cosine(np.zeros((1, 9)), other), [0])


def test_breaking_the_ties_of_a_black_background_moves_tau_b_but_not_the_support():
    rng = np.random.default_rng(0)
    clean = np.concatenate([rng.random(100) + 1, np.zeros(400)])[None]
    perturbed = clean + (clean == 0) * rng.random((1, 500)) * 0.01
    assert metrics.kendall(clean, perturbed)[0] < 0.7
    assert metrics.kendall_support(clean, perturbed)[0] == pytest.approx(1)


def test_the_foreground_is_the_same_pixels_for_every_map():
    rng = np.random.default_rng(0)
    images = np.zeros((1, 10, 10, 2), np.float32)
    images[0, :5, :, 0] = 0.5  # half of the pixels are bright, in one channel
    images[0, 5:, :, 1] = 0.2  # as dark as the budget
    clean = rng.random((1, 100))
    perturbed = np.where(np.arange(100) < 50, clean, rng.random((1, 100)))
    assert metrics.kendall_support(clean, perturbed)[0] < 0.9
    assert metrics.kendall_foreground(clean, perturbed, images, 0.2)[0] == pytest.approx(1)
    assert metrics.kendall_foreground(clean, perturbed, 255 * images, 51, 0)[0] == pytest.approx(1)
    assert metrics.kendall_foreground(clean, perturbed, images + 0.3, 0.2, 0.3)[0] == pytest.approx(1)
    assert metrics.kendall_foreground(clean, perturbed, images, 0.1)[0] == pytest.approx(
        metrics.kendall(clean, perturbed)[0]
    )
    signed = rng.standard_normal((1, 200))  # by channel: of the bright pixels the bright channel alone
    other = np.where(images.reshape(1, 200) > 0.2, signed, -signed)
    assert metrics.kendall_foreground(signed, other, images, 0.2)[0] == pytest.approx(1)
    assert metrics.kendall_foreground(clean, perturbed, 0 * images, 0.2)[0] == 0  # an image that is black all over


def test_what_is_rounding_is_counted_where_pixels_are_not_the_baseline():
    images = np.full((1, 2, 2, 2), 0.5)
    images[0, 1, 1] = 0.2
    by_pixel = np.array([[-1.0, 0.0, 8.5e-7, 1e-9]])
    assert metrics.unresolved(by_pixel, images) == pytest.approx(0.75)
    assert metrics.unresolved(1e-9 * by_pixel, images) == pytest.approx(0.75)  # of the map's largest, whatever its unit
    assert metrics.unresolved(by_pixel, images, baseline=0.2) == pytest.approx(0.5)
    assert metrics.unresolved(by_pixel + np.array([0, 1e-6, 1e-6, 1e-6]), images) == 0
    by_channel = np.array([[1.0, 0, 0, 0, 0, 0, 0, 0]])
    images[0, 1, 0, 1] = 0
    assert metrics.unresolved(by_channel, images) == pytest.approx(6 / 8)  # all but the first and the black one
    assert metrics.unresolved(np.zeros((1, 4)), images) == 1


def test_mass_center_distance():
    first, second = np.zeros((1, 5, 5)), np.zeros((1, 5, 5))
    first[0, 1, 1], second[0, 4, 4], second[0, 4, 3] = 1, 1, 1
    first, second = first.reshape(1, 25), second.reshape(1, 25)
    assert metrics.mass_center_distance(first, second, (5, 5))[0] == pytest.approx(np.hypot(3, 2.5))
    assert metrics.mass_center_distance(first, second, (5, 5), truncate=True)[0] == pytest.approx(np.hypot(3, 2))


def test_lens_forgives_one_pixel():
    clean, near, far = (np.zeros((1, 6, 6)) for _ in range(3))
    clean[0, 1, 1], near[0, 2, 2], far[0, 4, 4] = 1, 1, 1
    clean, near, far = (m.reshape(1, -1) for m in (clean, near, far))
    assert metrics.topk_intersection(clean, near, 1) == 0
    for metric in (metrics.lens_recall, metrics.lens_precision):
        assert metric(clean, near, 1, (6, 6)) == 1 and metric(clean, far, 1, (6, 6)) == 0


def test_lens_of_equal_maps_is_1_where_fewer_than_k_places_are_apart():
    maps = np.random.default_rng(0).random((3, 16))
    np.testing.assert_array_equal(metrics.lens_recall(maps, maps, 16, (4, 4), diverse=True), 1.0)


def test_lens_precision_is_recall_with_the_maps_exchanged():
    rng = np.random.default_rng(1)
    first, second = rng.random((3, 64)), rng.random((3, 64))
    np.testing.assert_allclose(
        metrics.lens_precision(first, second, 9, (8, 8)), metrics.lens_recall(second, first, 9, (8, 8))
    )
    assert (metrics.lens_recall(first, second, 9, (8, 8)) >= metrics.topk_intersection(first, second, 9)).all()


def test_diverse_pixels_keep_a_distance():
    grid = np.arange(36.0).reshape(6, 6)
    chosen = np.argwhere(metrics.top_k_diverse(grid, 4))
    assert len(chosen) == 4 and [5, 5] in chosen.tolist()
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(chosen, 2)) >= 2


def test_activation_consistency():
    assert metrics.activation_consistency(50, 50, 50) == pytest.approx(1)
    assert metrics.activation_consistency(40, 10, 8) == pytest.approx(0.4)
    assert metrics.activation_consistency(0, 10, 0) == 0


def test_bootstrap_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(3, 1, 400)
    low, high = metrics.bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert metrics.bootstrap_interval(values) == (low, high)
    assert metrics.bootstrap_interval(np.array([0.5])) == (0.5, 0.5)


@pytest.mark.parametrize("count", [6, 15, 100])
def test_median_interval_holds_the_median_as_often_as_it_says(count):
    draws = np.random.default_rng(0).exponential(size=(4000, count))
    low, high = np.transpose([metrics.median_interval(each) for each in draws])
    assert 0.945 < np.mean((low <= np.log(2)) & (np.log(2) <= high)) < 0.985
    assert np.all((low <= np.median(draws, axis=1)) & (np.median(draws, axis=1) <= high))
    assert metrics.median_interval(np.array([0.5])) == (0.5, 0.5)
    assert metrics.median_interval(np.array([3.0, 1.0, 2.0])) == (1, 3)


def test_kendall_of_two_features():
    first, second = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 1.0]]), np.array([[0.0, 3.0], [3.0, 0.0], [1.0, 2.0]])
    np.testing.assert_array_equal(metrics.kendall(first, second), [1, -1, 0])


def test_a_single_feature_has_no_order():
    for variant in "ab":
        np.testing.assert_array_equal(metrics.kendall(np.ones((2, 1)), np.zeros((2, 1)), variant), [0, 0])


def test_spearman_over_the_support():
    clean = np.array([[0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0]])
    other = np.array([[9.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_allclose(metrics.spearman_support(clean, other), [-1, 0])
