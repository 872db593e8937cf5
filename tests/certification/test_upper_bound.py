"""Upper bounds of attribution changes: closed forms, brute force, Lanczos against the full decomposition."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy.sparse.linalg import aslinearoperator

from rar_tf.certification import jacobian, upper_bound
from rar_tf.certification.field import attribution_field
from rar_tf.errors import UsageError
from rar_tf.models.surrogate import softplus_surrogate

KINDS = ("saliency", "input_x_gradient", "integrated_gradients")


def build(pooling):
    keras.utils.set_random_seed(0)
    relu = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(6, 3, activation="relu"),
            pooling,
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(4),
        ]
    )
    return softplus_surrogate(relu, 10.0)


@pytest.fixture(scope="module")
def network():
    return build(layers.AveragePooling2D(2))


def image(zeros=0):
    pixels = np.random.default_rng(1).random((8, 8, 1)).astype(np.float32)
    pixels.ravel()[:zeros] = 0
    return pixels


def quadratic(matrix):
    def network(images, training=False):
        flat = tf.reshape(images, [tf.shape(images)[0], -1])
        value = 0.5 * tf.reduce_sum(flat * tf.linalg.matvec(tf.constant(matrix, tf.float32), flat), axis=1)
        return tf.stack([value, tf.zeros_like(value)], axis=1)

    return network


def jacobian_of(network, kind, pixels, *, ig_steps=4, block=16):
    field = attribution_field(network, kind, ig_steps=ig_steps)
    return jacobian.Jacobian(jacobian.Differentials(field, proportional=kind != "saliency"), pixels, 0, block=block)


def symmetric(seed=0, size=6):
    matrix = np.random.default_rng(seed).normal(size=(size, size))
    return matrix + matrix.T


@pytest.mark.parametrize("kind", KINDS)
def test_jacobian_of_a_quadratic_network_has_its_closed_form(kind):
    matrix, pixels = symmetric(), np.array([0.5, -1.0, 2.0, 0.0, 1.5, 0.3], np.float32)
    slope = matrix @ pixels
    expected = {"saliency": matrix, "input_x_gradient": np.diag(slope) + pixels[:, None] * matrix}
    # The gradient is linear along the path, so right Riemann sums average it to (m + 1)/(2m) = 5/8 of its end.
    expected["integrated_gradients"] = 0.625 * expected["input_x_gradient"]
    found = jacobian_of(quadratic(matrix), kind, pixels.reshape(2, 3, 1), block=4)
    np.testing.assert_allclose(found.dense(), expected[kind], atol=1e-5)
    np.testing.assert_allclose(found.forward(np.eye(6)).T, expected[kind], atol=1e-5)
    sigma, vector = jacobian.dense_norm(found.dense())
    assert sigma == pytest.approx(np.linalg.norm(expected[kind], 2), rel=1e-5)
    # T_e is attained at ±εv by the linear model, and by this network's saliency map, which is linear.
    assert np.linalg.norm(expected[kind] @ vector) == pytest.approx(sigma, rel=1e-5)
    if kind == "saliency":
        change = found.change(np.stack([0.3 * vector, -0.3 * vector]))
        np.testing.assert_allclose(np.linalg.norm(change, axis=1), 0.3 * sigma, rtol=1e-4)
        corrected, factor = upper_bound.corrected_bound(found, sigma, vector, 0.3)
        assert (corrected, factor) == (pytest.approx(0.3 * sigma, rel=1e-4), pytest.approx(1.0, rel=1e-4))
    assert found.abs_gram_sum() == pytest.approx(np.abs(expected[kind].T @ expected[kind]).sum(), rel=1e-4)


def test_linear_network_has_a_constant_saliency_map():
    weights = tf.constant(np.random.default_rng(0).normal(size=(6, 3)), tf.float32)
    network = lambda images, training=False: tf.reshape(images, [tf.shape(images)[0], -1]) @ weights  # noqa: E731
    pixels = np.ones((2, 3, 1), np.float32)
    assert np.abs(jacobian_of(network, "saliency", pixels).dense()).max() == 0
    found = jacobian_of(network, "integrated_gradients", pixels)
    np.testing.assert_allclose(found.dense(), np.diag(weights.numpy()[:, 0]), atol=1e-6)
    assert jacobian.dense_norm(found.dense())[0] == pytest.approx(np.abs(weights.numpy()[:, 0]).max(), rel=1e-5)
    assert np.abs(upper_bound.linearity_residual(found, found, np.eye(6))).max() < 1e-5
    assert upper_bound.diagonal_dominance(found.dense())["dominant_rows"] == 1
    single = upper_bound.diagonal_dominance(np.array([[-2.0]]))
    assert single["diagonal_share"] == 1 and np.isnan(single["diagonal_ratio"])


@pytest.mark.parametrize("kind", KINDS)
def test_jacobian_of_a_network_equals_finite_differences(network, kind):
    found = jacobian_of(network, kind, image(zeros=20))
    matrix = found.dense().astype(np.float64)
    direction = np.random.default_rng(2).normal(size=64)
    step = 2e-3 * direction
    difference = (found.change(step) - found.change(-step)) / 4e-3
    np.testing.assert_allclose(matrix @ direction, difference, atol=2e-3 * np.abs(difference).max())
    np.testing.assert_allclose(found.matvec(direction), matrix @ direction, atol=1e-5)
    np.testing.assert_allclose(found.rmatvec(direction), matrix.T @ direction, atol=1e-5)
    other = jacobian_of(network, kind, image(zeros=20), block=7)
    other._of.proportional = False  # all rows one by one
    np.testing.assert_allclose(other.dense(), matrix, atol=1e-6)


def test_products_through_max_pooling_are_adjoint_to_each_other():
    found = jacobian_of(build(layers.MaxPooling2D(2)), "integrated_gradients", image())
    np.testing.assert_allclose(found.forward(np.eye(64)).T, found.dense(), atol=1e-6)


def test_max_pooling_makes_attributions_jump():
    """A saliency map behind a max-pool is not continuous, softplus or not: the linear model knows nothing of a
    switch.
    """
    found = jacobian_of(build(layers.MaxPooling2D(2)), "saliency", image())
    deltas = 1e-2 * np.random.default_rng(0).normal(size=(8, 64))
    switching = upper_bound.linearity_residual(found, found, deltas)
    averaged = jacobian_of(build(layers.AveragePooling2D(2)), "saliency", image())
    smooth = upper_bound.linearity_residual(averaged, averaged, deltas)
    assert switching.max() > 10 * smooth.max()


@pytest.mark.parametrize("kind", KINDS)
def test_lanczos_agrees_with_the_full_decomposition(network, kind):
    found = jacobian_of(network, kind, image())
    full = np.linalg.svd(found.dense().astype(np.float64), compute_uv=False)[0]
    assert jacobian.dense_norm(found.dense())[0] == pytest.approx(full, rel=1e-9)
    sigma, high, vector = jacobian.lanczos_norm(found)
    assert sigma == pytest.approx(full, rel=1e-4)
    assert sigma * (1 - 1e-6) <= full * (1 + 1e-5) and high >= full * (1 - 1e-5)
    assert np.linalg.norm(found.matvec(vector)) == pytest.approx(sigma, rel=1e-5)


def test_a_jacobian_of_zeros_has_the_norm_zero():
    sigma, high, vector = jacobian.lanczos_norm(aslinearoperator(np.zeros((1200, 1200))))
    assert sigma == high == 0 and np.linalg.norm(vector) == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-23, 1e20])
def test_bounds_scale_with_the_network(scale):
    """Squares of such entries are nothing, or no number, in float32."""
    matrix, pixels = symmetric(), np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    scaled = jacobian_of(quadratic(scale * matrix), "saliency", pixels)
    dense = scaled.dense().astype(np.float64) / scale
    gram = np.abs(dense.T @ dense).sum()
    assert jacobian.gram_sum(scaled.dense()) == pytest.approx(scale**2 * gram, rel=1e-5)
    assert scaled.abs_gram_sum() == pytest.approx(scale**2 * gram, rel=1e-5)
    assert jacobian.lanczos_norm(scaled)[0] == pytest.approx(scale * np.linalg.norm(matrix, 2), rel=1e-5)
    weights, large_or_small = (upper_bound.sign_relaxation(each**2 * dense.T @ dense)[0] for each in (1.0, scale))
    np.testing.assert_allclose(large_or_small / scale**2, weights, rtol=1e-4)


def test_residual_makes_an_early_lanczos_value_a_bound_and_the_factor_holds():
    rng = np.random.default_rng(0)
    rows = np.linalg.qr(rng.normal(size=(300, 300)))[0]
    matrix = rows @ np.diag(np.linspace(0, 1, 300)) @ rows.T
    sigma, high, _ = jacobian.lanczos_norm(aslinearoperator(matrix), vectors=8, tolerance=0.3)
    assert sigma < 1 - 1e-6 < high
    factor = jacobian.lanczos_factor(300, 0.99, vectors=40)
    assert 1 < factor < 1.01
    assert jacobian.lanczos_factor(300, 0.99, vectors=2) == float("inf")


def test_infinity_bound_holds_against_all_sign_vectors_of_a_matrix_that_is_not_symmetric():
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=9)))
    transposed_fails = False
    for seed in range(20):
        matrix = np.random.default_rng(seed).normal(size=(9, 9)) * np.exp(
            np.random.default_rng(seed).normal(size=(9, 1))
        )
        worst = np.linalg.norm(0.1 * signs @ matrix.T, axis=1).max()
        xi = np.linalg.norm(matrix, 2)
        bound = upper_bound.euclidean_bound(xi, 0.1, 9, norm_p=np.inf, gram_sum=jacobian.gram_sum(matrix))
        assert worst <= bound * (1 + 1e-6)
        assert bound <= 0.1 * min(3 * xi, np.sqrt(np.abs(matrix.T @ matrix).sum())) * (1 + 1e-6)
    # The printed P = HHᵀ is no bound: a single column of ones moves every feature by one pixel's change.
    matrix = np.zeros((9, 9))
    matrix[0] = 1
    worst = np.linalg.norm(signs @ matrix.T, axis=1).max()
    transposed_fails = np.sqrt(np.abs(matrix @ matrix.T).sum()) < worst
    assert transposed_fails and np.sqrt(jacobian.gram_sum(matrix)) >= worst


def test_bounds_of_other_balls():
    assert upper_bound.euclidean_bound(2.0, 0.5, 16) == pytest.approx(1.0)
    assert upper_bound.euclidean_bound(2.0, 0.5, 16, norm_p=4) == pytest.approx(16**0.25)
    assert upper_bound.euclidean_bound(2.0, 0.5, 16, norm_p=np.inf) == pytest.approx(4.0)
    assert upper_bound.euclidean_bound(2.0, 0.5, 16, norm_p=np.inf, gram_sum=9.0) == pytest.approx(1.5)
    assert upper_bound.euclidean_bound(2.0, 0.5, 16, norm_p=1) == pytest.approx(1.0)
    assert upper_bound.euclidean_bound(2.0, 0.5, 16, norm_p=1, column=1.5) == pytest.approx(0.75)
    with pytest.raises(UsageError, match="p >= 1"):
        upper_bound.euclidean_bound(1.0, 1.0, 4, norm_p=0.5)
    with pytest.raises(UsageError, match="epsilon must be positive"):
        upper_bound.euclidean_bound(1.0, 0.0, 4)


def test_angles_and_the_inverse_problem():
    assert upper_bound.angle_bound(0.5, 1.0) == pytest.approx(30)
    assert upper_bound.cosine_distance_bound(0.6, 1.0) == pytest.approx(0.2)
    assert np.isnan(upper_bound.cosine_distance_bound(1.0, 1.0)) and np.isnan(upper_bound.angle_bound(0.1, 0.0))
    epsilon = upper_bound.largest_epsilon(3.0, cosine_distance=0.2, attribution_norm=2.0)
    assert upper_bound.cosine_distance_bound(3.0 * epsilon, 2.0) == pytest.approx(0.2)
    assert upper_bound.largest_epsilon(4.0, distance=0.2) == pytest.approx(0.05)
    with pytest.raises(UsageError, match="cosine_distance must be between"):
        upper_bound.largest_epsilon(1.0, cosine_distance=1.5, attribution_norm=1.0)
    # No change of length T gives a larger angle.
    angles = np.linspace(0, 2 * np.pi, 10_001)
    moved = np.stack([1 + 0.6 * np.cos(angles), 0.6 * np.sin(angles)])
    assert np.max(1 - moved[0] / np.linalg.norm(moved, axis=0)) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("norm_p", [2.0, np.inf])
def test_constrained_estimate_lies_between_its_start_and_the_bound(norm_p):
    rng = np.random.default_rng(3)
    matrix, cuts = rng.normal(size=(8, 8)), rng.normal(size=(3, 8))
    operator = jacobian.LinearOperator((8, 8), matvec=lambda v: matrix @ v, rmatvec=lambda v: matrix.T @ v)
    sigma, vector = jacobian.dense_norm(matrix)
    bound = upper_bound.euclidean_bound(sigma, 0.1, 8, norm_p=norm_p, gram_sum=jacobian.gram_sum(matrix))
    free = upper_bound.constrained_estimate(operator, 0.1 * vector, cuts, np.full(3, 100.0), 0.1, norm_p=norm_p)
    assert upper_bound.keeps_label(0.1 * vector, cuts, np.full(3, 100.0))
    assert free <= bound * (1 + 1e-9)
    if norm_p == 2.0:
        assert free == pytest.approx(bound)
    else:
        signs = np.array(list(itertools.product([-0.1, 0.1], repeat=8)))
        assert 0.8 * np.linalg.norm(signs @ matrix.T, axis=1).max() <= free
    # A cut on either side of the best direction: the estimate stays feasible and falls.
    blocking = np.stack([vector, -vector])
    held = upper_bound.constrained_estimate(operator, 0.1 * vector, blocking, np.full(2, 0.02), 0.1, norm_p=norm_p)
    assert not upper_bound.keeps_label(0.1 * vector, blocking, np.full(2, 0.02))
    assert 0 < held < free
    # One cut alone never lowers it: −v is as good as v.
    one = upper_bound.constrained_estimate(operator, 0.1 * vector, vector[None], np.array([0.02]), 0.1, norm_p=norm_p)
    assert one == pytest.approx(free, rel=0.02)


def test_block_size_follows_the_memory_limit(network):
    small = jacobian.block_size(network, (8, 8, 1), 10, 1e6)
    large = jacobian.block_size(network, (8, 8, 1), 10, 4e6)
    assert small >= 1 and large >= 2 * small
    assert jacobian.block_size(network, (8, 8, 1), 10, 1.0) == 1
    with pytest.raises(UsageError, match="memory_limit"):
        jacobian.block_size(network, (8, 8, 1), 10, 0)
    inside = keras.Sequential([layers.Input((8, 8, 1)), network.network])  # as with preprocessing before it
    assert jacobian.block_size(inside, (8, 8, 1), 10, 4e6) <= large


@pytest.mark.parametrize("seed", range(6))
def test_diagonal_bounds_lie_between_the_best_sign_vector_and_theorem_2(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(9, 9)) * rng.random(9) ** 2
    gram = matrix.T @ matrix
    best = max(np.linalg.norm(matrix @ signs) for signs in itertools.product([1.0, -1.0], repeat=9))

    def bound(weights):
        return upper_bound.diagonal_bound(np.linalg.norm(matrix / np.sqrt(weights), 2), weights)

    by_rows, by_columns = bound(np.abs(gram).sum(0)), bound(np.linalg.norm(matrix, axis=0))
    theorem_2 = np.sqrt(np.abs(gram).sum())
    weights, signs = upper_bound.sign_relaxation(gram, seed=seed)
    least = bound(weights)
    assert best * (1 - 1e-9) <= min(least, by_rows, by_columns, bound(rng.random(9) + 0.1))
    assert by_rows <= theorem_2 * (1 + 1e-9)
    assert least <= np.sqrt(np.pi / 2) * best * 1.001  # the best weights never lose more than that
    assert least <= min(by_rows, by_columns) * 1.001
    assert np.linalg.norm(matrix @ signs) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("norm_p", [1.0, 1.3, 2.0, 3.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_bounds_of_every_norm_hold_against_an_ascent_from_many_starts(norm_p, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(7, 7)) * rng.random(7) ** 2
    vectors = upper_bound.random_deltas(200, 7, 1.0, norm_p=norm_p, seed=seed)
    np.testing.assert_allclose(np.linalg.norm(vectors, norm_p, axis=1), 1)
    for _ in range(100):  # δ ← the point of the ball that climbs ‖Jδ‖² the most, which never lowers it
        vectors = np.stack([upper_bound.steepest(matrix.T @ (matrix @ each), norm_p) for each in vectors])
    best = np.linalg.norm(vectors @ matrix.T, axis=1).max()
    xi, column = np.linalg.norm(matrix, 2), np.linalg.norm(matrix, axis=0).max()
    bound = upper_bound.euclidean_bound(xi, 1.0, 7, norm_p=norm_p, column=column)
    assert best <= bound * (1 + 1e-9) and bound <= upper_bound.euclidean_bound(xi, 1.0, 7, norm_p=norm_p) + 1e-9
    if norm_p <= 2:
        assert bound == pytest.approx(best, rel=1e-6 if norm_p in (1.0, 2.0) else 0.3)
        return
    for weights in (np.ones(7), upper_bound.sign_relaxation(matrix.T @ matrix)[0] ** (1 - 2 / norm_p), rng.random(7)):
        weighted = upper_bound.diagonal_bound(np.linalg.norm(matrix / np.sqrt(weights), 2), weights, norm_p)
        assert best <= weighted * (1 + 1e-9)
        if np.all(weights == 1):
            assert weighted == pytest.approx(bound)  # Corollary 1


def test_matrix_free_weights_are_the_columns_lengths(network):
    found = jacobian_of(network, "saliency", image())
    matrix = found.dense().astype(np.float64)
    lengths = jacobian.column_norms(found, probes=4000)
    exact = np.linalg.norm(matrix, axis=0)
    np.testing.assert_allclose(lengths, np.maximum(exact, 0.01 * lengths.mean()), rtol=0.12)
    _, high, _ = jacobian.lanczos_norm(jacobian.weighted(found, lengths))
    assert high == pytest.approx(np.linalg.norm(matrix / np.sqrt(lengths), 2), rel=1e-3)


def test_euclidean_inverse_problem_and_zero_maps():
    assert upper_bound.largest_epsilon(2.0, distance=0.5) == 0.25
    assert upper_bound.largest_epsilon(0.0, cosine_distance=0.1, attribution_norm=0.0) == 0
    assert upper_bound.largest_epsilon(0.0, cosine_distance=0.1, attribution_norm=1.0) == np.inf
    assert upper_bound.largest_epsilon(1.0, cosine_distance=0.1, attribution_norm=np.nan) == 0
