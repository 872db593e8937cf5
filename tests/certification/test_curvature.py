"""Deterministic certificates of smooth networks: derivatives, norms and changes by brute force, and the penalty."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import rar_tf
from rar_tf.certification import curvature, ranks
from rar_tf.certification.lipschitz import gradient_bound
from rar_tf.errors import UsageError
from rar_tf.metrics import top_k_set
from rar_tf.models import chain
from rar_tf.models.activations import Gelu, Silu, Softplus
from rar_tf.models.pooling import smooth_max_pooling
from rar_tf.models.surrogate import rectifier_of
from rar_tf.objectives.curvature import log_gradient_lipschitz


def two_layers():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [layers.Input((3, 3, 1)), layers.Flatten(), layers.Dense(8, activation=Softplus(3.0)), layers.Dense(3)]
    )


def convolutional():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.Conv2D(4, 3, padding="same", activation=Softplus(3.0, slope=0.1)),
            layers.AveragePooling2D(2),
            layers.Conv2D(5, 3, strides=2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(8, activation=Gelu(1.0)),
            layers.Dense(3),
        ]
    )


def image_of(network):
    return np.random.default_rng(1).random(network.input_shape[1:]).astype(np.float32)


def gradients(network, images, label):
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        values = network(images)[:, label]
    return tape.gradient(values, images).numpy().reshape(len(images), -1).astype(np.float64)


def around(image, epsilon, count):
    moves = np.random.default_rng(2).normal(size=(count, image.size))
    moves *= epsilon / np.linalg.norm(moves, axis=1, keepdims=True)
    return (image.ravel() + moves).reshape(-1, *image.shape).astype(np.float32)


@pytest.mark.parametrize(
    "curve, activation",
    [
        (chain.softplus_curve(3.0, 0.1), Softplus(3.0, 0.1)),
        (chain.gelu_curve(1.7), Gelu(1.7)),
        (chain.silu_curve(2.0, 0.2), Silu(2.0, 0.2)),
        (chain.curve_of(keras.activations.tanh, ""), tf.tanh),
        (chain.curve_of(keras.activations.sigmoid, ""), tf.sigmoid),
    ],
)
def test_curves_are_the_derivatives_and_their_ranges_hold_on_every_interval(curve, activation):
    x = np.linspace(-6, 6, 2401)
    points = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(points)
        with tf.GradientTape() as inner:
            inner.watch(points)
            values = activation(points)
        first = inner.gradient(values, points)
    np.testing.assert_allclose(curve.first(x), first, atol=1e-12)
    np.testing.assert_allclose(curve.second(x), outer.gradient(first, points), atol=1e-12)
    ends = np.sort(np.random.default_rng(0).integers(0, len(x), (200, 2)), axis=1)
    for function, limits in ((curve.first, curve.first_range), (curve.second, curve.second_range)):
        low, high = limits(x[ends[:, 0]], x[ends[:, 1]])
        for (begin, end), least, most in zip(ends, low, high):
            inside = function(x[begin : end + 1])
            assert least <= inside.min() + 1e-12 and most >= inside.max() - 1e-12
            assert inside.min() - least < 1e-3 and most - inside.max() < 1e-3


@pytest.mark.parametrize("padding, strides", [("same", 1), ("valid", 1), ("same", 2)])
def test_norm_of_a_convolution_is_bounded_tightly(padding, strides):
    layer = layers.Conv2D(3, 3, padding=padding, strides=strides)
    layer.build((None, 7, 7, 2))
    matrix = chain.apply(layer, tf.reshape(tf.eye(98), [98, 7, 7, 2])).numpy().reshape(98, -1)
    bound = chain.Linear(layer, (7, 7, 2)).norm
    exact = np.linalg.norm(matrix, 2)
    assert exact <= bound * (1 + 1e-6)
    if strides == 1:
        assert bound < 1.15 * exact
    absolute = np.abs(matrix)
    assert bound <= np.sqrt(absolute.sum(0).max() * absolute.sum(1).max()) * (1 + 1e-6)  # Schur's test


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("pool, strides", [(2, 2), (2, 3), (3, (3, 4)), ((1, 2), (2, 2))])
def test_norm_of_an_average_pooling_is_bounded_where_windows_reach_beyond_the_image(pool, strides, padding):
    layer = layers.AveragePooling2D(pool, strides=strides, padding=padding)
    for sides in ((4, 4), (6, 6), (7, 8), (9, 9)):
        pixels = sides[0] * sides[1]
        pooled = layer(tf.reshape(tf.eye(pixels), [pixels, *sides, 1])).numpy().reshape(pixels, -1)
        exact, bound = np.linalg.norm(pooled, 2), chain.Linear(layer, (*sides, 1)).norm
        assert exact <= bound * (1 + 1e-6)
        if padding == "valid" or (sides, strides) == ((4, 4), pool):
            assert bound == pytest.approx(exact)


def test_norm_of_a_dilated_convolution_and_of_one_without_a_size():
    layer = layers.Conv2D(3, 3, padding="same", dilation_rate=2)
    layer.build((None, 7, 7, 2))
    matrix = layer(tf.reshape(tf.eye(98), [98, 7, 7, 2])).numpy().reshape(98, -1)
    exact, kernel = np.linalg.norm(matrix, 2), np.asarray(layer.kernel, np.float64)
    bound = chain.convolution_norm(kernel, (7, 7), (2, 2))
    assert exact <= bound * (1 + 1e-6)
    assert chain.convolution_norm(kernel, (None, None)) >= bound
    # A positive kernel of one channel is where Schur's test is the sharper one on a small image.
    ones = np.ones((3, 3, 1, 1))
    assert chain.convolution_norm(ones, (40, 40)) == pytest.approx(9)


@pytest.mark.parametrize("build, tightest", [(two_layers, 1.15), (convolutional, 2.5)])
def test_no_point_of_the_ball_moves_the_gradient_farther(build, tightest):
    network = build()
    image = image_of(network)
    point = curvature.Curvature(network).at(image, 1)
    here = gradients(network, image[None], 1)[0]
    np.testing.assert_allclose(point.gradient, here, atol=1e-6)
    for epsilon in (1e-2, 0.1, 1.0):
        change = point.change(epsilon)
        moved = np.abs(gradients(network, around(image, epsilon, 20_000), 1) - here)
        farthest = np.linalg.norm(moved, axis=1).max()
        assert farthest <= change.length and np.all(moved.max(0) <= change.features)
        if epsilon < 0.1:
            assert change.length < tightest * farthest


@pytest.mark.parametrize("build", [two_layers, convolutional])
def test_interval_bounds_hold_and_are_wider(build):
    network = build()
    image = image_of(network)
    point = curvature.Curvature(network).at(image, 1)
    here = gradients(network, image[None], 1)[0]
    for epsilon in (1e-2, 0.1, 1.0):
        change = point.change(epsilon, "intervals")
        moved = np.abs(gradients(network, around(image, epsilon, 5000), 1) - here)
        assert np.all(moved.max(0) <= change.features)
        cube = point.by_intervals(epsilon, "linf")
        corners = epsilon * np.random.default_rng(3).choice([-1.0, 1.0], size=(5000, *image.shape))
        moved = np.abs(gradients(network, (image + corners).astype(np.float32), 1) - here)
        assert np.all(moved.max(0) <= cube) and np.all(change.features <= cube * (1 + 1e-5))
        if epsilon < 1:
            assert point.change(epsilon).length < change.length
    with pytest.raises(UsageError, match="unknown gradient_bound 'zonotopes'"):
        point.change(0.1, "zonotopes")


def test_two_layers_are_bounded_as_singla_and_feizi_or_less():
    network = two_layers()
    kernel, last = (np.asarray(network.layers[n].kernel, np.float64) for n in (1, 2))
    weights = last[:, 1]
    limits = [np.linalg.norm((kernel * np.maximum(sign * weights, 0) * 3 / 4) @ kernel.T, 2) for sign in (1, -1)]
    change = curvature.Curvature(network).at(image_of(network), 1).change(50.0)
    assert change.length <= 50 * max(limits) * (1 + 2e-5)
    assert change.length == pytest.approx(50 * max(limits), rel=0.05)


@pytest.mark.parametrize("attribution", ["saliency", "input_x_gradient", "integrated_gradients"])
def test_certificate_holds_for_every_attribution_and_attack(attribution):
    network = convolutional()
    images = np.stack([image_of(network), 0.5 * image_of(network)])
    labels = network(images).numpy().argmax(1)
    found = rar_tf.certify(
        network,
        images,
        labels,
        method="curvature",
        bounds=(0, 1),
        attribution=attribution,
        certify_ig_steps=3,
        certify_epsilons=[0.002, 0.01],
        threshold=[0.9],
        k=6,
        certificate_attack=1,
        certificate_attack_restarts=3,
    )
    assert len(found.rows) == 4
    for row in found.rows:
        assert row["certified"] == 1 and row["largest_epsilon_0.9"] > 0.01
        assert 0 <= row["certified_topk"] <= 1 and row["certified_kendall"] <= 1
        if "attack_cosine" in row:
            assert row["attack_cosine"] >= row["certified_cosine"] - 1e-6 and row["violation"] == 0
            assert row["attack_topk"] >= row["certified_topk"]
    assert found.rows[0]["certified_cosine"] > found.rows[1]["certified_cosine"]
    assert "without samples" in found.guarantee


def test_a_network_that_is_straight_around_the_image_keeps_its_map_up_to_where_it_bends():
    network = two_layers()
    kernel, bias, *last = network.get_weights()
    network.set_weights([kernel, bias + 300, *last])  # σ'' of softplus is 0 there, to the last digit
    image = image_of(network)
    label = int(network(image[None]).numpy().argmax())
    (row,) = rar_tf.certify(
        network,
        image[None],
        np.array([label]),
        method="curvature",
        bounds=(0, 1),
        attribution="saliency",
        certify_epsilons=[0.1],
        k=3,
    ).rows
    assert row["change"] == 0 and row["certified_cosine"] == 1
    assert 1 < row["largest_epsilon_0.9"] < np.inf


def test_pixels_stay_where_they_are_said_to_stay():
    """20,000 points of the ball: none moves more of the top k, or more pairs, than is certified."""
    network, epsilon, k = two_layers(), 0.05, 3
    image = image_of(network)
    points = [(1.0, 1.0, curvature.Curvature(network).at(image, 1))]
    values, change = curvature.attribution_change(points, image, epsilon, proportional=True)
    mean = np.abs(values)
    moved = around(image, epsilon, 20_000)
    maps = np.abs(moved.reshape(len(moved), -1) * gradients(network, moved, 1))
    low, high = mean - change.features, mean + change.features
    assert np.all(maps >= low - 1e-6) and np.all(maps <= high + 1e-6)
    assert np.linalg.norm(maps - mean, axis=1).max() <= change.length
    chosen = top_k_set(mean[None], k)[0]
    missing = k - (top_k_set(maps, k) & chosen).sum(1).min()
    assert missing <= min(
        ranks.changed_members(low, high, chosen), ranks.changed_members_of_length(mean, chosen, change.length)
    )


def test_members_of_length_are_counted_as_a_search_finds_them():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values, k, change = rng.random(6), 3, 0.4 * rng.random()
        chosen = top_k_set(values[None], k)[0]
        moves = rng.normal(size=(20_000, 6))
        moves[::2] = (~chosen * 1.0 - chosen) * rng.random((10_000, 6)) ** 2
        moves *= change / np.linalg.norm(moves, axis=1, keepdims=True)
        found = k - (top_k_set(values + moves, k) & chosen).sum(1).min()
        bound = ranks.changed_members_of_length(values, chosen, change)
        assert found <= bound <= found + 1


def test_a_penalty_that_linear_layers_could_evade_is_refused():
    """Of two dense layers at the end one can grow as the other shrinks, and nothing changes but the bound."""
    dense = [layers.Dense(8, "softplus"), layers.Dense(4), layers.Dense(2)]
    twice = keras.Sequential([layers.Input((3, 3, 1)), layers.Flatten(), *dense])
    with pytest.raises(UsageError, match="one dense layer of logits"):
        rar_tf.Natural(twice, epsilon=0.1, bounds=(0, 1), curvature_penalty=0.5)


def test_penalty_bounds_every_hessian_and_is_trained_down():
    for build in (two_layers, convolutional):
        network = build()
        limit = float(np.exp(log_gradient_lipschitz(chain.stages_of(network))))
        image = image_of(network)
        point = curvature.Curvature(network).at(image, 1)
        assert point.change(1e-3).length / 1e-3 <= limit * 1.02
    images = np.random.default_rng(0).random((64, 3, 3, 1)).astype(np.float32)
    labels = (images.mean((1, 2, 3)) > 0.5).astype(np.int64)
    limits = {}
    for weight in (0.0, 0.5):
        network = two_layers()
        model = rar_tf.Natural(network, epsilon=0.1, bounds=(0, 1), curvature_penalty=weight)
        model.compile(keras.optimizers.Adam(1e-2))
        history = model.fit(images, labels, batch_size=32, epochs=10, verbose=0).history
        assert ("curvature_penalty" in history) == (weight > 0)
        limits[weight] = float(log_gradient_lipschitz(chain.stages_of(network)))
    assert limits[0.5] < limits[0.0] - 0.5


@pytest.mark.parametrize(
    "network, message",
    [
        (lambda images: images, "needs? a keras.Sequential"),
        ([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2, activation="relu"), layers.Dense(2)], "has relu"),
        ([layers.Input((4, 4, 1)), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(2)], "MaxPooling2D"),
        (
            [layers.Input((1, 8, 8)), layers.Conv2D(1, (3, 1), data_format="channels_first"), layers.Flatten()],
            "not known for layer .* \\(Conv2D\\)",
        ),
        (
            [layers.Input((4, 4, 3)), layers.AveragePooling2D(2, data_format="channels_first"), layers.Flatten()],
            "not known for layer .* \\(AveragePooling2D\\)",
        ),
        (
            [layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2, activation="tanh")],
            "last layer has an activation",
        ),
    ],
)
def test_networks_without_a_bound_are_refused_in_one_line(network, message):
    network = keras.Sequential(network) if isinstance(network, list) else network
    with pytest.raises(UsageError, match=message) as raised:
        chain.stages_of(network)
    assert "\n" not in str(raised.value)


def test_channels_first_have_no_lipschitz_bound():
    network = keras.Sequential(
        [
            layers.Input((1, 20, 1)),
            layers.Conv2D(1, (3, 1), data_format="channels_first", use_bias=False),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    with pytest.raises(UsageError, match="no finite bound M is known for layer"):
        gradient_bound(network)


def thrice(kind):
    """A subclass that computes three times what its kind does."""
    return type(f"Thrice{kind.__name__}", (kind,), {"call": lambda self, inputs, **_: 3 * kind.call(self, inputs)})


def named_relu():
    def relu(values):
        return 3 * tf.nn.relu(values)

    return relu


SIZE = layers.Input((4, 4, 1))


@pytest.mark.parametrize(
    "parts",
    [
        [thrice(layers.Flatten)(), layers.Dense(3)],
        [layers.Flatten(), thrice(layers.Dense)(3)],
        [layers.Flatten(), layers.Dense(3, activation="softplus"), thrice(layers.Dropout)(0.5), layers.Dense(3)],
        [layers.Flatten(), layers.Dense(3), thrice(layers.Activation)("softplus"), layers.Dense(3)],
        [layers.Flatten(), layers.Dense(3), thrice(layers.ReLU)(), layers.Dense(3)],
        [layers.Flatten(), layers.Dense(3, activation=named_relu()), layers.Dense(3)],
        [layers.Flatten(), layers.Dense(3, activation=type("Mine", (Softplus,), {})(2.0)), layers.Dense(3)],
        [thrice(layers.AveragePooling2D)(2), layers.Flatten(), layers.Dense(3)],
        [thrice(layers.MaxPooling2D)(2), layers.Flatten(), layers.Dense(3)],
    ],
    ids=lambda parts: "-".join(type(part).__name__ for part in parts),
)
def test_layers_and_activations_of_other_classes_have_no_bound(parts):
    network = keras.Sequential([SIZE, *parts])
    for bound in (chain.stages_of, gradient_bound):
        with pytest.raises(UsageError, match="known"):
            bound(network)


def test_a_sequential_network_with_a_call_of_its_own_has_no_bound():
    network = thrice(keras.Sequential)([SIZE, layers.Flatten(), layers.Dense(3)])
    for bound in (chain.stages_of, gradient_bound):
        with pytest.raises(UsageError, match="keras.Sequential network"):
            bound(network)


def test_a_rectifier_or_max_pool_of_another_class_has_no_smooth_stand_in():
    assert rectifier_of(thrice(layers.ReLU)()) is None
    assert smooth_max_pooling(thrice(layers.MaxPooling2D)(2), 1.0) is None


def test_quantised_layers_have_no_bounds():
    network = keras.Sequential([layers.Input((4,)), layers.Dense(5, activation="softplus"), layers.Dense(3)])
    network.layers[0].quantize("int8")
    with pytest.raises(UsageError, match="no finite bound M is known for layer"):
        gradient_bound(network)
    with pytest.raises(UsageError, match="not known for layer .* \\(Dense\\)"):
        chain.stages_of(network)
