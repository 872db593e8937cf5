"""The registry of networks, and what all of them have in common: sizes, choices, files, surrogates, statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import export, models
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.errors import UsageError
from rar_tf.models.surrogate import softplus_surrogate
from rar_tf.models.wide_resnet import resnet_18, wide_resnet

from runner import python, succeeded

# Every network, the wide ones in small: a builder, and a shape of images.
SMALL = {
    "resnet_18": (lambda **options: resnet_18((16, 16, 3), 4, width=2, **options), (16, 16, 3)),
    "wrn": (lambda **options: wide_resnet((16, 16, 3), 4, depth=10, width=1, **options), (16, 16, 3)),
    "p2_cnn": (lambda **options: models.build("p2_cnn", (28, 28, 1), 4, **options), (28, 28, 1)),
    "tiny_cnn": (lambda **options: models.build("tiny_cnn", (28, 28, 1), 4, **options), (28, 28, 1)),
    "resnet_1": (lambda **options: models.build("resnet_1", (16, 16, 3), 4, **options), (16, 16, 3)),
}
WITH_STATE = ("resnet_18", "wrn", "p2_cnn")  # batch statistics, or dropout


def data(shape, count=4):
    generator = np.random.default_rng(0)
    return tf.constant(generator.uniform(size=(count, *shape)), tf.float32), tf.constant([0, 1, 2, 3][:count], tf.int64)


def trainable(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


@pytest.mark.parametrize(
    "name, shape, parameters",
    [("resnet_18", (32, 32, 3), 11_173_962), ("wrn_28_10", (32, 32, 3), 36_479_194), ("p2_cnn", (28, 28, 1), 312_202)],
)
def test_the_number_of_parameters_is_the_published_one(name, shape, parameters):
    network = models.build(name, shape, 10)
    assert trainable(network) == parameters
    assert network.output_shape == (None, 10)


@pytest.mark.parametrize("name", WITH_STATE)
def test_attributions_and_attacks_leave_batch_statistics_alone_and_training_moves_them(name):
    build, shape = SMALL[name]
    network = build()
    images, labels = data(shape)
    model = rar_tf.IGRTRADES(network, epsilon=0.1, steps=2, ig_steps=2, attack_ig_steps=1)
    model.compile("sgd")
    before = [variable.numpy() for variable in network.non_trainable_variables]
    target = Target(network, labels)
    first = integrated_gradients(target, images, steps=2)
    perturbed = model.perturb(images, labels, model.start(images, tf.constant(0, tf.int64)))
    np.testing.assert_array_equal(integrated_gradients(target, images, steps=2), first)
    for variable, value in zip(network.non_trainable_variables, before):
        np.testing.assert_array_equal(variable, value)
    model.minimise(images, perturbed, labels)
    moved = [not np.array_equal(variable, value) for variable, value in zip(network.non_trainable_variables, before)]
    assert all(moved)


@pytest.mark.parametrize("name", WITH_STATE)
def test_softplus_surrogates_share_weights_and_approach_the_network(name):
    build, shape = SMALL[name]
    network = build()
    images, _ = data(shape)
    network(images, training=True)  # batch statistics that are not the initial ones
    logits = network(images)
    for variable in network.trainable_variables:
        variable.assign(1.1 * variable)
    changed = network(images)
    assert np.max(np.abs(changed - logits)) > 1e-4
    distances = [np.max(np.abs(softplus_surrogate(network, beta)(images) - changed)) for beta in (10.0, 1e5)]
    assert distances[1] < 1e-3 < distances[0]


@pytest.mark.parametrize("name", SMALL)
def test_choices_change_neither_the_weights_nor_how_they_start(name):
    build, _ = SMALL[name]
    choices = [(activation, "max") for activation in models.ACTIVATIONS]
    if name.endswith("cnn"):
        choices.append(("silu", "average"))
    found = []
    for activation, pooling in choices:
        keras.utils.set_random_seed(3)
        found.append(build(activation=activation, activation_beta=4.0, pooling=pooling).get_weights())
    keras.utils.set_random_seed(3)
    expected = build().get_weights()
    for weights in found:
        for one, other in zip(weights, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", SMALL)
def test_smooth_networks_near_the_network_as_beta_grows(name):
    build, shape = SMALL[name]
    images, _ = data(shape)
    network = build()
    logits = network(images)
    for activation in ("softplus", "gelu", "silu"):
        gaps = []
        for beta in (3.0, 1e5):
            smooth = build(activation=activation, activation_beta=beta)
            smooth.set_weights(network.get_weights())
            gaps.append(np.max(np.abs(smooth(images) - logits)))
        assert gaps[1] < 1e-3 < gaps[0]


@pytest.mark.parametrize("name", SMALL)
def test_softplus_networks_are_their_own_surrogates(name):
    build, shape = SMALL[name]
    network, smooth = build(), build(activation="softplus", activation_beta=5.0)
    smooth.set_weights(network.get_weights())
    images, _ = data(shape)
    np.testing.assert_array_equal(smooth(images), softplus_surrogate(network, 5.0)(images))


@pytest.mark.parametrize(
    "name, options",
    [
        ("tiny_cnn", {"activation": "softplus", "pooling": "average", "stem": "dark", "stem_epsilon": 0.1}),
        ("tiny_cnn", {"activation": "softplus", "pooling": "smooth_max"}),
        ("p2_cnn", {"activation": "gelu", "stem": "clipped", "stem_epsilon": 0.1, "feature_smoothing": True}),
        ("resnet_1", {"activation": "silu"}),
        ("wrn", {"activation": "softplus"}),
    ],
)
def test_files_exports_and_clones_are_the_same_network(tmp_path, name, options):
    build, shape = SMALL[name]
    images, _ = data(shape)
    network = build(activation_beta=4.0, **options)
    network.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(network)
    clone.set_weights(network.get_weights())
    for other in (export.load_keras(tmp_path / "model.keras"), clone):
        np.testing.assert_array_equal(other(images), network(images))
    network.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(images), network(images), atol=1e-5)


def test_a_fresh_process_reads_them(tmp_path):
    options = {"activation": "silu", "stem": "dark", "stem_epsilon": 0.1, "feature_smoothing": True}
    models.build("tiny_cnn", (28, 28, 1), 4, **options).save(tmp_path / "model.keras")
    code = "import sys; from rar_tf import export; print(export.load_keras(sys.argv[1]).output_shape)"
    assert succeeded(python("-c", code, tmp_path / "model.keras")).strip() == "(None, 4)"


def test_names_are_known_without_tensorflow():
    code = "import sys, rar_tf.models as m; print(*m.MODELS, *m.ACTIVATIONS, *m.POOLINGS, *m.STEMS, sep=',')"
    code += "; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    out = succeeded(python("-c", code))
    assert out.startswith("small_cnn,") and out.strip().endswith("max,average,smooth_max,dark,clipped")


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("other", {}, "unknown model 'other'; known: small_cnn"),
        ("tiny_cnn", {"activation": "tanh"}, "unknown activation 'tanh'; known: relu"),
        ("resnet_1", {"activation": "tanh"}, "unknown activation 'tanh'; known: relu"),
        ("tiny_cnn", {"activation": "softplus", "activation_beta": 0.0}, "activation_beta must be positive"),
        ("tiny_cnn", {"pooling": "least"}, "unknown pooling 'least'; known: max, average, smooth_max"),
        ("resnet_2", {"pooling": "least"}, "unknown pooling 'least'; known: max, average, smooth_max"),
        ("resnet_2", {"pooling": "average"}, "resnet_2 has no max-pools"),
        ("resnet_18", {"pooling": "average"}, "resnet_18 has no max-pools"),
        ("wrn_28_10", {"pooling": "average"}, "wrn_28_10 has no max-pools"),
        ("resnet_1", {"stem": "dark"}, "resnet_1 has no option stem; it has"),
        ("tiny_cnn", {"stem": "dark"}, "stem 'dark' needs a stem_epsilon"),
        ("tiny_cnn", {"stem_epsilon": 0.1}, "stem_epsilon=0.1 needs a stem: dark or clipped"),
    ],
)
def test_what_cannot_be_is_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        models.build(name, (28, 28, 1), 10, **options)
