"""Every attribution of the registry on networks whose attributions are known, and the class that is explained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf.attributions import ATTRIBUTIONS
from rar_tf.attributions.perturbation import occlusion, windows
from rar_tf.attributions.targets import Target
from rar_tf.models.split import split_first_layer
from rar_tf.models.surrogate import softplus_surrogate

import tiny_networks
import toys

WEIGHTS = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
SETTINGS = {"bounds": (0, 1), "epsilon": 0.2, "steps": 3, "k": 10, "metric_k": 8, "ig_steps": 4, "pgd_steps": 2}


@pytest.fixture(scope="module")
def linear():
    return toys.Linear(WEIGHTS)


def maps_of_weights(labels):
    return WEIGHTS.T[labels].reshape(-1, 8, 8, 1)


@pytest.mark.parametrize("kind", ["saliency", "smooth_grad"])
def test_gradients_of_a_linear_network_are_its_weights(linear, kind):
    images, labels = toys.digits(3)
    found = rar_tf.explain(linear, images, labels, attribution=kind)
    np.testing.assert_allclose(found, maps_of_weights(labels), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_integrated_gradients_of_a_linear_network_begin_at_the_baseline(linear, baseline):
    images, labels = toys.digits(3)
    found = rar_tf.explain(linear, images, labels, baseline=baseline, ig_steps=3)
    np.testing.assert_allclose(found, (images - baseline) * maps_of_weights(labels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_what_occlusion_finds_of_a_linear_network(linear, baseline):
    images, labels = toys.digits(3)
    found = rar_tf.explain(linear, images, labels, attribution="occlusion", baseline=baseline)
    masks = windows(8, 8)
    assert masks.shape == (49, 8, 8, 1) and (masks.sum(axis=(1, 2, 3)) == 4).all() and masks.max(axis=0).min() == 1
    falls = np.einsum("mhwc,bhwc->mb", masks, (images - baseline) * maps_of_weights(labels))
    expected = np.einsum("mb,mhwc->bhwc", falls, masks) / masks.sum(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_windows_cover_images_of_any_shape():
    for height, width in ((5, 4), (1, 9), (28, 28), (32, 20)):
        assert windows(height, width).max(axis=0).min() == 1


def test_grad_cam_by_hand():
    network = tiny_networks.convolutional("relu")  # a convolution, its rectifier, a dense layer
    images = np.random.default_rng(1).random((2, 5, 4, 2)).astype(np.float32)
    labels = np.array([0, 2])
    features = network.layers[1](network.layers[0](images)).numpy()
    kernel = network.layers[-1].kernel.numpy().reshape(*features.shape[1:], 3)
    importance = kernel.mean(axis=(0, 1))[:, labels].T  # the gradient by the features is the dense layer's kernel
    seen = np.maximum(np.einsum("bc,bhwc->bhw", importance, features), 0)
    expected = tf.image.resize(seen[..., None], (5, 4)).numpy()
    found = rar_tf.explain(network, images, labels, attribution="grad_cam")
    np.testing.assert_allclose(found.sum(axis=-1, keepdims=True), expected, rtol=1e-4, atol=1e-6)


def test_grad_cam_looks_through_what_stands_in_for_a_network():
    network = tiny_networks.convolutional("relu")
    images, labels = np.random.default_rng(1).random((2, 5, 4, 2)).astype(np.float32), tf.constant([0, 2])
    grad_cam = ATTRIBUTIONS["grad_cam"].function
    own = grad_cam(Target(network, labels), images)
    np.testing.assert_allclose(grad_cam(Target(split_first_layer(network), labels), images), own, atol=1e-7)
    surrogate = softplus_surrogate(network, 1e4)  # nearly a rectifier
    np.testing.assert_allclose(grad_cam(Target(surrogate, labels), images), own, rtol=1e-2, atol=1e-4)


def test_grad_cam_of_layers_that_another_network_has_too():
    network = tiny_networks.convolutional("relu")
    images, labels = np.random.default_rng(1).random((2, 5, 4, 2)).astype(np.float32), np.array([0, 2])
    again = keras.Sequential([keras.layers.Input((5, 4, 2)), *network.layers])
    own, other = (rar_tf.explain(each, images, labels, attribution="grad_cam") for each in (network, again))
    np.testing.assert_array_equal(other, own)


def test_grad_cam_looks_at_the_last_application_of_a_layer():
    given, layer = keras.layers.Input((5, 4, 2)), keras.layers.Conv2D(2, 3, padding="same", activation="relu")
    once, head = layer(given), keras.layers.Dense(3)
    network = keras.Model(given, head(keras.layers.Flatten()(layer(once))))
    apart = keras.layers.Conv2D(2, 3, padding="same", activation="relu")
    expected = keras.Model(given, head(keras.layers.Flatten()(apart(once))))
    apart.set_weights(layer.get_weights())
    images, labels = np.random.default_rng(1).random((2, 5, 4, 2)).astype(np.float32), np.array([0, 2])
    found, other = (rar_tf.explain(each, images, labels, attribution="grad_cam") for each in (network, expected))
    np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-7)


def test_grad_cam_needs_feature_maps():
    images = np.random.default_rng(1).random((2, 1, 3, 1)).astype(np.float32)
    for network, words in (
        (tiny_networks.linear(np.ones((3, 2))), "feature maps"),
        (toys.Linear(np.ones((3, 2))), "Keras"),
    ):
        with pytest.raises(rar_tf.UsageError, match=words):
            rar_tf.explain(network, images, attribution="grad_cam")


@pytest.mark.parametrize("kind", ["smooth_grad", "occlusion", "grad_cam"])
def test_every_kind_can_be_attacked_and_certified(kind):
    images, labels = toys.digits(4)
    found = rar_tf.attack(toys.network(), images, labels, attribution=kind, **SETTINGS)
    assert found.found.any() and (found.scores["kendall"][found.found] < 1).all()
    assert np.isfinite(found.perturbed_maps).all()
    proof = rar_tf.certify(
        toys.network(),
        images[:1],
        labels[:1],
        method="uniform_smoothing",
        attribution=kind,
        bounds=(0, 1),
        num_samples=20,
        radius=1.0,
    )
    assert np.isfinite(proof.rows[0]["norm"])
    if kind != "occlusion":
        with pytest.raises(rar_tf.UsageError, match="kinks of its own"):
            rar_tf.certify(
                toys.network(), images[:1], labels[:1], method="upper_bound", attribution=kind, bounds=(0, 1)
            )


def test_equal_images_have_equal_maps_whatever_stands_beside_them():
    images, labels = toys.digits(3)
    alone = rar_tf.explain(toys.network(), images[2:], labels[2:], attribution="smooth_grad")
    np.testing.assert_allclose(
        rar_tf.explain(toys.network(), images, labels, attribution="smooth_grad")[2:], alone, rtol=1e-4, atol=1e-5
    )


def test_the_class_that_is_explained(linear):
    images, _ = toys.digits(3)
    predicted = linear(images).numpy().argmax(axis=1)
    by_default = rar_tf.explain(linear, images, attribution="saliency")
    np.testing.assert_allclose(by_default, maps_of_weights(predicted), rtol=1e-5)
    one = rar_tf.explain(linear, images, 3, attribution="saliency")
    np.testing.assert_allclose(one, maps_of_weights([3, 3, 3]), rtol=1e-5)
    own = rar_tf.explain(linear, images, 3, attribution=lambda target, x: occlusion(target, x, baseline=1.0))
    assert own.shape == images.shape
    for wrong in (10, -1, 1.5):
        with pytest.raises(rar_tf.UsageError, match="classes 0 … 9"):
            rar_tf.explain(linear, images, wrong)
    with pytest.raises(rar_tf.UsageError, match="unknown attribution"):
        rar_tf.explain(linear, images, attribution="lime")


def test_what_cannot_be_explained_is_said():
    images, _ = toys.digits(3)
    network = toys.network()
    for given, words in (
        ((network, images, [1, 2]), "one for each of 3 images"),
        ((network, images[:, :7]), "takes images of shape"),
        ((network, tf.data.Dataset.range(3)), "images must be an array"),
        (("network.keras", images), "rar_tf.load reads a file"),
    ):
        with pytest.raises(rar_tf.UsageError, match=words):
            rar_tf.explain(*given)
    for options, words in (({"ig_steps": 1.5}, "ig_steps"), ({"baseline": np.zeros((8, 8, 1))}, "baseline")):
        with pytest.raises(rar_tf.UsageError, match=words):
            rar_tf.explain(network, images, **options)


def test_functions_robust_models_and_columns_of_classes_are_explained(caplog):
    images, labels = toys.digits(3)
    network = toys.network()
    expected = rar_tf.explain(network, images, labels, attribution="saliency")
    for given in (
        (lambda x: network(x), images, labels),
        (rar_tf.Natural(network, bounds=(0, 1)), images, labels),
        (network, images.astype(np.float64), labels[:, None]),
    ):
        np.testing.assert_allclose(rar_tf.explain(*given, attribution="saliency"), expected, rtol=1e-5, atol=1e-7)
    assert "probabilities" not in caplog.text
    rar_tf.explain(lambda x: tf.nn.softmax(network(x)), images)
    assert "probabilities" in caplog.text


def test_grey_levels_of_an_integer_dtype_have_maps(linear):
    levels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1))
    target = rar_tf.Target(linear, np.array([1, 2, 3]))
    for kind in (rar_tf.saliency_map, rar_tf.input_x_gradient, rar_tf.integrated_gradients):
        wanted = kind(target, levels.astype(np.float32))
        for dtype in (np.uint8, np.int32):
            np.testing.assert_array_equal(kind(target, levels.astype(dtype)), wanted)
    with pytest.raises(rar_tf.UsageError, match="3 labels for 4 images"):
        rar_tf.saliency_map(target, np.zeros((4, 8, 8, 1), np.float32))


def test_the_baseline_of_an_evaluation():
    images, labels = toys.digits(4)
    grey, black = (
        rar_tf.evaluate(toys.network(), images, labels, baseline=baseline, **SETTINGS) for baseline in (0.5, 0.0)
    )
    first = np.flatnonzero([row["correct"] for row in grey.rows])[0]
    expected = np.abs(rar_tf.explain(toys.network(), images, labels, baseline=0.5, ig_steps=4)[first]).sum(axis=-1)
    np.testing.assert_allclose(grey.examples.maps[0], 64 * expected / expected.sum(), rtol=1e-3, atol=1e-4)
    assert not np.allclose(grey.examples.maps[0], black.examples.maps[0], atol=0.1)
    assert grey.settings["baseline"] == 0.5


def test_what_explain_cannot_take_is_said():
    network = tiny_networks.convolutional("relu")
    images = np.random.default_rng(1).random((2, 5, 4, 2)).astype(np.float32)
    one_output = keras.Model(network.inputs, {"logits": network.outputs[0]})
    for given, words in (
        ({"images": np.where(images > 0.9, np.nan, images)}, "images must be finite"),
        ({"images": [images[0], images[1, :3]]}, "its parts have different shapes"),
        ({"network": one_output}, "this one has a dict of 1"),
        ({"attribution": lambda target, images: None}, "this one gives NoneType"),
        ({"attribution": lambda target, images: images[:, 0]}, r"this one gives \(None, 4, 2\)"),
    ):
        with pytest.raises(rar_tf.UsageError, match=words):
            rar_tf.explain(**{"network": network, "images": images, "attribution": "saliency", **given})
