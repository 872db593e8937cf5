"""The input stem: values, dead zones with their edges, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf.errors import UsageError
from rar_tf.models import STEMS
from rar_tf.models.stem import InputStem


def images(*values):
    return tf.constant(values, tf.float32, shape=[1, 1, len(values), 1])


def with_gradient(layer, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = layer(x)
    return value.numpy().ravel(), tape.gradient(value, x).numpy().ravel()


def test_dark_by_hand():
    value, slope = with_gradient(InputStem(0.2), images(0.0, 0.1, 0.2, 0.3, 0.6, 1.0, 1.1))
    np.testing.assert_allclose(value, [0, 0, 0, 0.125, 0.5, 1, 1.125], atol=1e-7)
    np.testing.assert_allclose(slope, [0, 0, 0, 1.25, 1.25, 1.25, 1.25], rtol=1e-6)


def test_clipped_by_hand():
    value, slope = with_gradient(InputStem(0.2, "clipped"), images(0.0, 0.2, 0.35, 0.5, 0.8, 0.9, 1.0))
    np.testing.assert_allclose(value, [0, 0, 0.25, 0.5, 1, 1, 1], atol=1e-7)
    np.testing.assert_allclose(slope, [0, 0, 1 / 0.6, 1 / 0.6, 0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("kind", STEMS)
def test_ends_of_the_pixel_range_stay_where_they_are(kind):
    value, _ = with_gradient(InputStem(8, kind, (0, 255)), images(0, 8, 255))
    np.testing.assert_array_equal(value, [0, 0, 255])
    value, _ = with_gradient(InputStem(0.5, kind, (-1, 1)), images(-1, 0, 1))
    np.testing.assert_allclose(value, [-1, -1 / 3 if kind == "dark" else 0, 1], rtol=1e-6)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.1, 0.9), (0.0, 255.0)])
@pytest.mark.parametrize("share", [0.01, 0.1, 8 / 255, 0.3, 1 / 3])
def test_the_edge_of_the_ball_is_dead_in_floating_point_too(bounds, share):
    epsilon = share * (bounds[1] - bounds[0])
    low, high = images(bounds[0]), images(bounds[1])
    layer = InputStem(epsilon, "clipped", bounds)
    for start, direction in ((low, 1.0), (high, -1.0)):
        perturbed = tf.clip_by_value(start + direction * 2 * epsilon, start - epsilon, start + epsilon)
        value, slope = with_gradient(layer, perturbed)
        assert value == start.numpy().ravel() and slope == 0


@pytest.mark.parametrize("kind", STEMS)
def test_files(tmp_path, kind):
    network = keras.Sequential([keras.layers.Input((4, 4, 3)), InputStem(0.1, kind, (0.0, 2.0))])
    network.save(tmp_path / "model.keras")
    x = tf.random.stateless_uniform([2, 4, 4, 3], [1, 2], 0, 2)
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), network(x))


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize("kind", STEMS)
def test_a_smooth_stem_is_near_it_and_has_a_gradient_in_the_dead_zone(kind, bounds):
    width = bounds[1] - bounds[0]
    stem = InputStem(0.2 * width, kind, bounds)
    x = images(*(bounds[0] + width * np.linspace(0, 1, 41)))
    for sharpness in (6.0, 24.0):
        smooth = stem.smooth(sharpness)
        value, slope = with_gradient(smooth, x)
        # softplus(z) − max(z, 0) ≤ log 2
        apart = 0.2 * width / sharpness * np.log(2) / (0.8 if kind == "dark" else 0.6)
        assert np.abs(value - stem(x).numpy().ravel()).max() <= apart * 1.001
        assert slope.min() > 0
        again = type(smooth).from_config(smooth.get_config())
        np.testing.assert_array_equal(again(x), smooth(x))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"epsilon": 0.1, "kind": "bright"}, "unknown stem 'bright'; known: dark, clipped"),
        ({"epsilon": 0.0}, "stem_epsilon must be positive"),
        ({"epsilon": 1.0}, "stem_epsilon must be smaller than 1 for stem 'dark', got 1"),
        ({"epsilon": 0.5, "kind": "clipped"}, "stem_epsilon must be smaller than 0.5 for stem 'clipped', got 0.5"),
        ({"epsilon": 8, "bounds": (0, 1)}, "stem_epsilon must be smaller than 1"),
    ],
)
def test_what_leaves_nothing_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        InputStem(**settings)
