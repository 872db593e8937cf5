"""keras.applications: what Keras's own preprocessing gives, from pixels in any range."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import export, models
from rar_tf.errors import UsageError
from rar_tf.models.applications import Preprocessing, with_preprocessing
from rar_tf.models.surrogate import is_smooth, softplus_surrogate

SHAPE = (32, 32, 3)
GREY = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype(np.float32)
RANGES = {(0.0, 255.0): GREY, (0.0, 1.0): GREY / 255, (-1.0, 1.0): GREY / 127.5 - 1}


@pytest.mark.parametrize("name", models.APPLICATIONS)
def test_preprocessing_is_keras_own(name):
    module = inspect.getmodule(inspect.unwrap(getattr(keras.applications, name)))
    expected = module.preprocess_input(GREY.copy())
    for bounds, images in RANGES.items():
        # In units of 255 grey levels: float32 rounds pixels, their product with the scale and the sum.
        scale = 255.0 if np.ptp(expected) > 20 else 1.0
        given = Preprocessing(models.APPLICATIONS[name], bounds)(images)
        np.testing.assert_allclose(given / scale, expected / scale, atol=2e-6)


@pytest.fixture(scope="module")
def networks():
    """The same small network of pixels in three ranges."""
    built = {bounds: models.build("MobileNetV2", SHAPE, 5, bounds=bounds) for bounds in RANGES}
    weights = built[0.0, 255.0].get_weights()
    for network in built.values():
        network.set_weights(weights)
    return built


def test_a_network_gives_the_same_logits_of_the_same_picture_in_any_range(networks):
    first, *others = (network(RANGES[bounds], training=False).numpy() for bounds, network in networks.items())
    assert first.shape == (2, 5) and np.abs(first).max() > 0
    for logits in others:
        np.testing.assert_allclose(logits, first, atol=1e-4 * np.abs(first).max())


def test_it_is_one_graph_that_files_and_surrogates_keep(networks, tmp_path):
    network = networks[0.0, 1.0]
    assert any(isinstance(layer, Preprocessing) for layer in network.layers)
    network.save(tmp_path / "model.keras")
    images = RANGES[0.0, 1.0]
    np.testing.assert_allclose(export.load_keras(tmp_path / "model.keras")(images), network(images), atol=1e-6)
    assert np.isfinite(softplus_surrogate(network, 10.0)(tf.constant(images))).all()


def test_it_can_be_made_smooth(networks):
    plain, images = networks[0.0, 1.0], RANGES[0.0, 1.0]
    options = {"activation": "softplus", "pooling": "average"}
    smooth = models.build("MobileNetV2", SHAPE, 5, activation_beta=3.0, **options)
    smooth.set_weights(plain.get_weights())
    np.testing.assert_array_equal(smooth(images), rar_tf.smoothed(plain, 3.0)(images))
    assert is_smooth(smooth) and not is_smooth(plain)
    dark = models.build("MobileNetV2", SHAPE, 5, stem="dark", stem_epsilon=0.1, **options)
    np.testing.assert_array_equal(dark(images * 0), dark(images * 0.05))


def test_preprocessing_before_a_network_of_the_users_own():
    network = keras.Sequential([keras.layers.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    wrapped = with_preprocessing(network, "caffe", (0.0, 1.0))
    expected = keras.applications.vgg16.preprocess_input(GREY[:, :4, :4].copy())
    np.testing.assert_allclose(wrapped(GREY[:, :4, :4] / 255), network(expected), rtol=1e-4, atol=1e-3)
    assert wrapped.trainable_variables[0] is network.trainable_variables[0]
    with pytest.raises(UsageError, match="functional and sequential"):
        with_preprocessing(lambda images: images, "tf", (0.0, 1.0))


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="caffe.* is of three channels, not 1"):
        models.build("VGG16", (64, 64, 1), 5)
    with pytest.raises(UsageError, match="InceptionV3: no network of images .32, 32, 3"):
        models.build("InceptionV3", SHAPE, 5)
    with pytest.raises(UsageError, match="MobileNetV2 has no option initializer; it has activation"):
        models.build("MobileNetV2", SHAPE, 5, initializer="glorot")
    with pytest.raises(UsageError, match="left as it is, or made smooth by activation softplus"):
        models.build("MobileNetV2", SHAPE, 5, pooling="average")
    with pytest.raises(UsageError, match="unknown preprocessing 'pt'"):
        Preprocessing("pt")


@pytest.mark.slow
def test_a_training_step_of_resnet50v2_moves_batch_statistics_once():
    network = models.build("ResNet50V2", SHAPE, 5)
    model = rar_tf.IGSumNorm(network, epsilon=8 / 255, steps=2, ig_steps=2, attack_ig_steps=1)
    model.compile(keras.optimizers.Adam(1e-4))
    norm = next(layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization))
    before = norm.moving_mean.numpy()
    model.fit(RANGES[0.0, 1.0], np.array([0, 1]), batch_size=2, verbose=0)
    after = norm.moving_mean.numpy()
    assert np.isfinite(model.network.get_weights()[0]).all() and (after != before).any()
