"""Alignment: its terms in closed form on linear and quadratic networks, its adversary, its random numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf.attributions.targets import Target

import tiny_networks
from by_hand import terms
from tiny_networks import linear, pixels

pytestmark = pytest.mark.usefixtures("float64")

EPSILON = 0.2


def quadratic(size: int = 1) -> keras.Model:
    """Return f = (Σx², −Σx²) of images [1, d, 1]."""
    squares = keras.Sequential([keras.Input((1, size, 1)), keras.layers.Lambda(tf.square)])
    network = keras.Sequential([squares, keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)])
    network.build((None, 1, size, 1))
    network.layers[-1].set_weights([np.stack([np.ones(size), -np.ones(size)], 1)])
    return network


def aligned(base="at", network=None, clean=((0.5, 0.25),), changed=((0.25, 0.5),), labels=(0,), **settings):
    return terms(f"align_{base}", network or linear([[3.0, 0.0], [-1.0, 0.0]]), clean, changed, labels, **settings)


def test_on_a_linear_network_only_the_image_moves():
    # f_0 = 3a − b: |x ⊙ ∇f| is (1.5, .25) and (.75, .5), scaled to a sum of 2 pixels (12, 2)/7 and (6, 4)/5.
    found = aligned(attribution_weight=2.0)
    cosine = (1.5 * 0.75 + 0.25 * 0.5) / np.sqrt((1.5**2 + 0.25**2) * (0.75**2 + 0.5**2))
    np.testing.assert_allclose(found["attribution"], 2 * (1 - cosine), atol=1e-12)
    assert found["cross_entropy"][0] == pytest.approx(np.log1p(np.exp(-0.25)))
    assert found["curvature"][0] == found["linearity"][0] == 0
    scaled = np.array([12, 2]) / 7, np.array([6, 4]) / 5
    change = np.sum((scaled[0] - scaled[1]) ** 2) / np.sum(np.square(scaled))
    found = aligned(attribution_weight=2.0, distance_weight=0.5)
    np.testing.assert_allclose(found["attribution"], 2 * (1 - cosine + change / 2), atol=1e-12)
    for settings in ({"aligned": "integrated_gradients"}, {"aligned": "path_point"}):  # the same for a linear network
        np.testing.assert_allclose(aligned(**settings)["attribution"], 1 - cosine, atol=1e-12)
    found = aligned(aligned="saliency", distance_weight=1.0, curvature_weight=1.0, linearity_weight=1.0)
    for name in rar_tf.Align.added:
        np.testing.assert_allclose(found[name], 0, atol=1e-12)


def test_signed_maps_see_a_change_of_sign():
    # |x ⊙ ∇f| = (2·.5², 2·.25²) at both labels; one image twice, so nothing changes but the sign of x.
    signed = aligned(network=quadratic(2), clean=((0.5, 0.25),), changed=((-0.5, 0.25),), aligned="saliency")
    assert signed["attribution"][0] == pytest.approx(0)
    signed = aligned(
        network=quadratic(2), clean=((0.5, 0.25),), changed=((-0.5, 0.25),), aligned="saliency", aligned_protocol="wk"
    )
    assert signed["attribution"][0] == pytest.approx(1 - (0.25**2 - 0.5**2) / (0.25**2 + 0.5**2))


def test_curvature_and_linearity_of_a_quadratic_network():
    # f = x²: ∇f = 2x, so the relative change is (x − z)²/(x² + z²); the chord is u(1 − u)(a − b)² away.
    rows = ((0.5,),) * 200
    found = aligned(
        network=quadratic(),
        clean=rows,
        changed=rows,
        labels=(0, 1) * 100,
        epsilon=EPSILON,
        curvature_weight=3.0,
        linearity_weight=5.0,
    )
    curvature, linearity = found["curvature"] / 3, found["linearity"] / 5
    assert 0 < curvature.min() and curvature.max() <= EPSILON**2 / (0.5**2 + (0.5 - EPSILON) ** 2)
    assert 0 < linearity.min() and linearity.max() <= (EPSILON**2) ** 2
    # E[u²(1 − u)²] = 1/30, E[(a − b)⁴] = 16ε⁴/15; five deviations of the mean of 200.
    assert abs(linearity.mean() - 16 * EPSILON**4 / 450) < 5 * linearity.std() / np.sqrt(200)


def test_a_random_path_point_is_integrated_gradients_on_average():
    model = rar_tf.AlignAT(quadratic(), aligned="path_point", aligned_protocol="wk")
    images = pixels(*((0.5,),) * 1000)
    found = model.attributed(Target(model.network, tf.zeros(1000, tf.int64)), images, 1).numpy()
    assert abs(found.mean() - 0.5**2) < 5 * found.std() / np.sqrt(1000)


def test_random_numbers_are_functions_of_seed_and_step():
    def draw(step, seed=3):
        model = rar_tf.AlignAT(
            tiny_networks.convolutional(), aligned="path_point", curvature_weight=1.0, linearity_weight=1.0, seed=seed
        )
        model.compile("sgd")
        model.optimizer.iterations.assign(step)
        return model.loss_terms(*tiny_networks.batch())

    first, again, later, other = draw(4), draw(4), draw(5), draw(4, seed=5)
    for name in rar_tf.Align.added:
        np.testing.assert_array_equal(first[name], again[name])
        assert np.all(first[name] != later[name]) and np.all(first[name] != other[name])


def test_the_terms_grow_over_the_first_steps():
    model = rar_tf.AlignAT(tiny_networks.convolutional(), align_warmup=4)
    model.compile("sgd")
    full = rar_tf.AlignAT(model.network).loss_terms(*tiny_networks.batch())
    for step, share in ((0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)):
        model.optimizer.iterations.assign(step)
        found = model.loss_terms(*tiny_networks.batch())
        np.testing.assert_allclose(found["attribution"], share * full["attribution"], rtol=1e-12)
        np.testing.assert_allclose(found["cross_entropy"], full["cross_entropy"], rtol=1e-12)


@pytest.mark.parametrize("method", [rar_tf.AlignAT, rar_tf.AlignTRADES, rar_tf.AlignMART])
def test_its_own_steps_go_on_from_the_base_methods_adversary(method):
    images, _, labels = tiny_networks.batch()
    own = method(tiny_networks.convolutional(), epsilon=EPSILON, steps=3, align_steps=2, step_size=0.05)
    base = method(own.network, epsilon=EPSILON, steps=3, step_size=0.05)
    start = own.start(images, tf.constant(0, tf.int64))
    found, before = own.perturb(images, labels, start), base.perturb(images, labels, start)
    misalignment = own.attribution_change(images, labels, 1)
    assert np.all(misalignment(found).numpy() > misalignment(before).numpy())
    assert np.abs(found - images).max() <= EPSILON + 1e-12
    assert np.abs(found - before).max() <= 2 * 0.05 + 1e-12
