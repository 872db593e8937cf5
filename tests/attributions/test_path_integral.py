"""Integrated gradients against closed forms, their own theorems and each other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf import losses, models
from rar_tf.attacks.ascent import ascend
from rar_tf.attributions.explainer import Explainer, attribute
from rar_tf.attributions.gradients import gradient, input_x_gradient, saliency_map
from rar_tf.attributions.path_integral import (
    _path_integrated_gradients,
    hidden_integrated_gradients,
    integrated_gradients,
    mean_gradient,
    quadrature,
)
from rar_tf.attributions.targets import HiddenTarget, Target
from rar_tf.errors import UsageError
from rar_tf.models.surrogate import softplus_surrogate

RULES = ["right", "left", "midpoint", "trapezoid", "gauss_legendre"]


def analytic(images):
    """f(x) = 5 x₀ + x₁² + sin x₂, a sample's three features lying along its height."""
    x = tf.reshape(images, [-1, 3])
    return 5 * x[:, 0] + x[:, 1] ** 2 + tf.sin(x[:, 2])


def images_of(*rows):
    return tf.constant(rows, tf.float64)[:, :, None, None]


def test_closed_form_of_a_separable_function():
    # Along a straight path each feature of a separable function gets just its own change.
    start, end = images_of([1.0, 2.0, 0.5], [0.0, 0.0, 0.0]), images_of([3.0, -1.0, 2.0], [1.0, 1.0, 1.0])
    found = integrated_gradients(analytic, end, start, steps=20, rule="gauss_legendre")
    expected = [[10.0, -3.0, np.sin(2.0) - np.sin(0.5)], [5.0, 1.0, np.sin(1.0)]]
    np.testing.assert_allclose(tf.reshape(found, [2, 3]), expected, rtol=1e-12)


def test_right_rule_by_hand():
    # f = x², from 0 to 2 in two steps: 2 · ½ · (2·1 + 2·2) = 6.
    found = integrated_gradients(lambda x: tf.reshape(x, [-1]) ** 2, tf.constant([[[[2.0]]]]), steps=2)
    assert float(found[0, 0, 0, 0]) == pytest.approx(6.0)


@pytest.mark.parametrize("rule", RULES)
def test_weights_of_a_rule_sum_to_one(rule):
    points, weights = quadrature(rule, 7)
    assert weights.sum() == pytest.approx(1.0)
    assert points.min() >= 0 and points.max() <= 1
    assert (points @ weights) == pytest.approx({"right": 4 / 7, "left": 3 / 7}.get(rule, 0.5))


@pytest.fixture
def smooth_network(float64, seeded):
    """The CNN made smooth all through: max-pool's gradient jumps where its winner changes, which no rule survives."""

    def average(layer):
        if isinstance(layer, keras.layers.MaxPooling2D):
            return keras.layers.AveragePooling2D(2, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    return softplus_surrogate(
        keras.models.clone_model(models.build("tiny_cnn", (28, 28, 1), 10), clone_function=average)
    )


@pytest.mark.parametrize(
    "rule,order", [("right", 1), ("left", 1), ("midpoint", 2), ("trapezoid", 2), ("gauss_legendre", None)]
)
def test_completeness_has_the_order_of_its_rule(smooth_network, rule, order):
    images = 3 * tf.random.stateless_uniform([2, 28, 28, 1], [1, 2], dtype=tf.float64)
    target = Target(smooth_network, tf.constant([3, 5]))

    def error(steps):
        total = tf.reduce_sum(integrated_gradients(target, images, steps=steps, rule=rule), [1, 2, 3])
        return np.abs(total - (target(images) - target(tf.zeros_like(images)))).max()

    if order is None:
        assert error(8) < 1e-5 * error(1)
    else:
        assert error(16) / error(32) == pytest.approx(2**order, rel=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_completeness_on_the_relu_network_from_black(seeded, rule):
    images = tf.random.stateless_uniform([2, 28, 28, 1], [1, 2])
    target = Target(models.build("tiny_cnn", (28, 28, 1), 10), tf.constant([3, 5]))
    total = tf.reduce_sum(integrated_gradients(target, images, steps=100, rule=rule), [1, 2, 3])
    np.testing.assert_allclose(total, target(images) - target(tf.zeros_like(images)), rtol=0.05)


@pytest.mark.parametrize("rule,chunk", [("right", 1), ("right", 4), ("trapezoid", 3), ("right", 99)])
def test_chunks_change_neither_values_nor_gradients(seeded, rule, chunk):
    network = models.build("tiny_cnn", (28, 28, 1), 10)
    start, end = (tf.random.stateless_uniform([2, 28, 28, 1], [3, seed]) for seed in (1, 2))
    target = Target(network, tf.constant([1, 2]), losses.log_loss)

    def everything(chunk):
        with tf.GradientTape() as tape:
            tape.watch([start, end])
            value = integrated_gradients(target, end, start, steps=10, rule=rule, chunk=chunk)
            loss = tf.reduce_sum(tf.abs(value))
        return [value, *tape.gradient(loss, [start, end, *network.trainable_variables])]

    for whole, chunked in zip(tf.function(everything)(None), tf.function(everything)(chunk)):
        np.testing.assert_allclose(chunked, whole, atol=2e-5 * max(np.abs(whole).max(), 1e-3))


def test_chunked_gradient_of_an_adversary_reaches_the_images_alone():
    weights = tf.Variable([2.0, 3.0])
    target = lambda x: tf.reduce_sum(tf.reshape(x, [-1, 2]) ** 3 * weights, 1)
    image = tf.constant([1.0, 2.0], shape=[1, 2, 1, 1])
    found, expected = (
        gradient(lambda x: tf.reduce_sum(integrated_gradients(target, x, steps=4, chunk=chunk), [1, 2, 3]), image)
        for chunk in (2, None)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


class TestScaleInvariance:
    """f(αx) = f(x) makes the right Riemann sum from black a harmonic number times x ⊙ ∇f(x)."""

    @pytest.fixture
    def network(self, seeded):
        return models.build("resnet_1", (16, 16, 3), 5)

    def test_identity_equals_the_sum_in_values_and_gradients(self, network):
        images = tf.random.stateless_uniform([2, 16, 16, 3], [1, 1], 0, 255)
        target = Target(softplus_surrogate(network), tf.constant([1, 3]))
        direction = tf.random.stateless_normal(images.shape, [5, 5])

        def both(function):
            return function(images), gradient(lambda x: tf.reduce_sum(direction * function(x), [1, 2, 3]), images)

        closed = both(lambda x: integrated_gradients(target, x, steps=12))
        summed = both(lambda x: _path_integrated_gradients(target, x, 0.0, 12, "right", None))
        for one, other in zip(closed, summed):
            np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())

    @pytest.mark.parametrize("chunk", [None, 4])
    def test_an_adversary_climbs_through_it(self, network, chunk):
        images = tf.random.stateless_uniform([2, 16, 16, 3], [1, 1], 0, 255)
        target = Target(softplus_surrogate(network), tf.constant([1, 3]))

        @tf.function
        def attack(images):
            clean = integrated_gradients(target, images, steps=12, chunk=chunk)
            return ascend(
                lambda x: tf.reduce_sum(
                    (integrated_gradients(target, x, steps=12, chunk=chunk) - clean) ** 2, [1, 2, 3]
                ),
                images,
                images + 0.5,
                epsilon=8.0,
                step_size=2.0,
                steps=2,
                bounds=(0.0, 255.0),
            )[0]

        assert np.abs(attack(images) - images).max() > 2.0

    @pytest.mark.parametrize(
        ("rule", "shift", "deviation", "dark", "compiled"),
        [  # compiled where few points are dark, and where many are
            ("right", None, 0.15, 4, True),
            ("midpoint", 0.3, 0.06, 12, True),
            ("trapezoid", None, 0.06, 13, False),
            ("gauss_legendre", None, 0.15, 6, False),
            ("left", None, 0.02, 20, False),
        ],
    )
    def test_points_below_the_floor_of_standardisation_are_summed(
        self, network, rule, shift, deviation, dark, compiled
    ):
        bright = tf.random.stateless_uniform([1, 16, 16, 3], [1, 1], 0, 255)
        noise = tf.random.stateless_normal([1, 16, 16, 3], [2, 2])
        dim = 0.5 + deviation * noise / tf.math.reduce_std(noise)
        points = quadrature(rule, 20)[0] + (shift or 0) / 20
        assert dark == np.sum(deviation * points < 1 / np.sqrt(16 * 16 * 3))
        images = tf.concat([bright, dim], 0)
        target = Target(softplus_surrogate(network), tf.constant([1, 3]))
        direction = tf.random.stateless_normal(images.shape, [5, 5])

        def both(function):
            return function(images), gradient(lambda x: tf.reduce_sum(direction * function(x), [1, 2, 3]), images)

        both = tf.function(both) if compiled else both
        found = both(lambda x: integrated_gradients(target, x, steps=20, rule=rule, shift=shift))
        summed = both(lambda x: _path_integrated_gradients(target, x, 0.0, 20, rule, None, shift))
        for one, other in zip(found, summed):
            for row in (0, 1):
                np.testing.assert_allclose(one[row], other[row], atol=1e-4 * np.abs(other[row]).max())
        if shift is None:
            slope = images * mean_gradient(target, images, steps=20, rule=rule)
            np.testing.assert_allclose(slope, found[0], atol=1e-5 * np.abs(found[0]).max())

    def test_bright_images_get_the_closed_form_and_dim_ones_beside_them_the_sum(self, network):
        bright = tf.random.stateless_uniform([1, 16, 16, 3], [1, 1], 0, 255)
        dim = 100 + 0.03 * tf.random.stateless_normal([1, 16, 16, 3], [2, 2])  # below the floor on the whole path
        images = tf.concat([bright, dim], 0)
        target = Target(network, tf.constant([1, 3]))
        found = integrated_gradients(target, images, steps=20)
        summed = _path_integrated_gradients(target, images, 0.0, 20, "right", None)
        harmonic = np.sum(1 / np.arange(1, 21)) * input_x_gradient(target, images)
        np.testing.assert_allclose(found[1], summed[1], atol=1e-6 * np.abs(summed[1]).max())
        np.testing.assert_array_equal(found[0], harmonic[0])
        assert np.abs(harmonic[1] - summed[1]).max() > 0.1 * np.abs(summed[1]).max()  # the identity would be wrong

    def test_fewer_points_are_less_work_only_where_some_are_below_the_floor(self, network):
        explainer = Explainer(ig_steps=50)
        assert explainer.coarse(network, 5, highest=255.0) is explainer
        assert explainer.coarse(network, 5, highest=1.0) == Explainer(ig_steps=5, rule="midpoint")
        assert explainer.coarse(network, 50, highest=1.0) is explainer
        assert explainer.coarse(models.build("tiny_cnn", (16, 16, 3), 5), 5, highest=255.0).ig_steps == 5


class TestHiddenLayer:
    @pytest.fixture
    def network(self, float64, seeded):
        return keras.Sequential(
            [
                keras.layers.Input((4, 4, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(6, activation="softplus", name="hidden"),
                keras.layers.Dense(3, activation="tanh"),
                keras.layers.Dense(3),
            ]
        )

    @pytest.fixture
    def ends(self):
        return tuple(tf.random.stateless_normal([2, 4, 4, 1], [3, seed], dtype=tf.float64) for seed in (1, 2))

    def test_is_complete(self, network, ends):
        labels = tf.constant([0, 2])
        found = hidden_integrated_gradients(
            HiddenTarget(network, "hidden", labels), ends[1], ends[0], steps=20, rule="gauss_legendre"
        )
        assert found.shape == (2, 6)
        target = Target(network, labels)
        np.testing.assert_allclose(tf.reduce_sum(found, 1), target(ends[1]) - target(ends[0]), atol=1e-9)

    def test_right_rule_is_equation_9(self, network, ends):
        # Unit by unit and step by step, with explicit Jacobians.
        labels = tf.constant([0, 2])
        target = HiddenTarget(network, "hidden", labels)
        expected = np.zeros([2, 6])
        for k in (1, 2, 3):
            z = tf.Variable(ends[0] + k / 3 * (ends[1] - ends[0]))
            with tf.GradientTape(persistent=True) as tape:
                hidden, value = target(z)
            jacobian = tf.reshape(tape.batch_jacobian(hidden, z), [2, 6, 16])
            step = tf.einsum("bij,bj->bi", jacobian, tf.reshape(ends[1] - ends[0], [2, 16]))
            expected += (tape.gradient(value, hidden) * step).numpy() / 3
        np.testing.assert_allclose(hidden_integrated_gradients(target, ends[1], ends[0], steps=3), expected, rtol=1e-9)

    def test_unknown_layer(self, network):
        with pytest.raises(UsageError, match="no layer 'conv9'; it has .*hidden"):
            HiddenTarget(network, "conv9", tf.constant([0]))


def test_saliency_map_and_input_x_gradient():
    image = images_of([3.0, 2.0, 0.0])
    np.testing.assert_allclose(tf.reshape(saliency_map(analytic, image), [-1]), [5, 4, 1])
    np.testing.assert_allclose(tf.reshape(input_x_gradient(analytic, image), [-1]), [15, 8, 0])
    np.testing.assert_array_equal(attribute("saliency", analytic, image), saliency_map(analytic, image))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: integrated_gradients(analytic, x, steps=0),
        lambda x: integrated_gradients(analytic, x, rule="simpson"),
        lambda x: integrated_gradients(analytic, x, steps=4, chunk=0),
        lambda x: attribute("lime", analytic, x),
    ],
)
def test_bad_settings(call):
    with pytest.raises(UsageError):
        call(images_of([1.0, 1.0, 1.0]))


def test_shifted_points_are_shifted_in_chunks_too(float64, seeded):
    network = models.build("tiny_cnn", (28, 28, 1), 10, activation="softplus", pooling="average")
    images = tf.constant(np.random.default_rng(0).uniform(0, 1, (2, 28, 28, 1)))
    target = Target(network, tf.constant([3, 5]))

    def maps(chunk, shift):
        return integrated_gradients(target, images, steps=5, rule="midpoint", chunk=chunk, shift=tf.constant(shift))

    np.testing.assert_allclose(maps(2, 0.3), maps(None, 0.3), rtol=1e-10, atol=1e-14)
    assert np.abs(maps(2, 0.3) - maps(2, 0.0)).max() > 1e-6
