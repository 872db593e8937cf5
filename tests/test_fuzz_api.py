"""Bad and odd inputs of the Python API, the expected outcome of each written before the run: see test_fuzz.py.

`no(words)`: a UsageError of one line with these words. `odd(words)`: it works and a warning with these words is logged.
`ok()`: it works, without a warning. A third of the cases are drawn from a seed.
"""

import dataclasses
import logging
import os
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import rar_tf
from rar_tf.certification import CERTIFICATES
from rar_tf.errors import UsageError
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.objectives import METHODS
from rar_tf.settings import items

import toys

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("FUZZ_SEED", 20260726))
IMAGES, LABELS = toys.digits(24)
QUICK = {"epsilon": 0.1, "steps": 1, "ig_steps": 2, "k": 8, "metric_k": 8, "pgd_steps": 1}
METHOD = {"epsilon": 0.1, "steps": 1}


def no(words):
    return UsageError, words


def odd(words):
    return logging.WARNING, words


def ok():
    return None, ""


def network(*more, shape=(8, 8, 1), activation="relu", **options):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [layers.Input(shape), layers.Flatten(), layers.Dense(8, activation=activation, **options), *more]
    )


def good():
    return network(layers.Dense(10))


def fit(images=IMAGES, labels=LABELS, net=good, method="Madry", compiled=None, settings=None, **options):
    model = getattr(rar_tf, method)(net(), **{**METHOD, **(settings or {})})
    model.compile("adam", **(compiled or {}))
    options = {"batch_size": 8, "verbose": 0, **options}
    history = model.fit(images, labels, **options).history
    assert all(np.isfinite(values).all() for values in history.values()), history
    assert not any("accuracy" in name for name in history if not name.startswith("val_")), history
    return model


def evaluate(images=IMAGES[:6], labels=LABELS[:6], net=toys.network, bounds=(0, 1), **settings):
    return rar_tf.evaluate(net(), images, labels, bounds=bounds, **{**QUICK, **settings})


def certify(images=IMAGES[:2], labels=LABELS[:2], net=toys.network, method="center_smoothing", bounds=(0, 1), **more):
    options = {"num_samples": 20, "ig_steps": 2, "attribution": "saliency"}
    if method == "upper_bound":
        del options["num_samples"]
    return rar_tf.certify(net(), images, labels, method=method, bounds=bounds, **{**options, **more})


def grey(images):
    return (255 * images).astype(np.uint8)


def one_hot(labels):
    return np.eye(10)[labels]


def with_nan(images):
    return np.where(images > 0.9, np.nan, images)


def two_inputs():
    inputs = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(layers.Add()(inputs))))


def two_outputs():
    images = keras.Input((8, 8, 1))
    return keras.Model(images, [layers.Dense(count)(layers.Flatten()(images)) for count in (10, 3)])


def whole_numbers():
    images = keras.Input((8, 8, 1), dtype="uint8")
    return keras.Model(images, layers.Dense(10)(layers.Flatten()(layers.Rescaling(1 / 255)(images))))


def channels_first():
    return keras.Sequential(
        [
            layers.Input((1, 8, 8)),
            layers.MaxPooling2D(2, data_format="channels_first"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def rescaling():
    return keras.Sequential([layers.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(10)])


def dataset(images=IMAGES, labels=LABELS, batch=8):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch)


DATA = {  # what fit, evaluate and certify must say alike
    "grey levels": (dict(images=grey(IMAGES[:6])), no("pixel range 0 … 1 (bounds, --pixel_range); they are in 0 … 255")),
    "NaN": (dict(images=with_nan(IMAGES[:6])), no("images must be finite")),
    "infinite": (dict(images=IMAGES[:6] / np.float32(0) * np.float32(1)), no("images must be finite")),
    "below": (dict(images=IMAGES[:6] - 0.5), no("pixel range")),
    "one-hot": (dict(labels=one_hot(LABELS[:6])), no("of one-hot rows take labels.argmax(1)")),
    "several labels": (dict(labels=np.ones((6, 3))), no("several labels an image are not supported")),
    "fractions": (dict(labels=LABELS[:6] + 0.5), no("labels must be whole numbers")),
    "negative": (dict(labels=LABELS[:6] - 5), no("has the label -")),
    "out of range": (dict(labels=LABELS[:6] + 7), no("the network has 10 outputs")),
    "names": (dict(labels=np.array(list("abcdef"))), no("labels must be numbers")),
    "NaN labels": (dict(labels=np.full(6, np.nan)), no("labels must be whole numbers")),
    "fewer labels": (dict(labels=LABELS[:5]), no("images must be [N, H, W, C] and labels [N]")),
    "flat": (dict(images=IMAGES[:6].reshape(6, -1)), no("images must be [N, H, W, C]")),
    "no channel": (dict(images=IMAGES[:6, ..., 0]), no("images must be [N, H, W, C]")),
    "nothing": (dict(images=IMAGES[:0], labels=LABELS[:0]), no("there are no images")),
    "channels first": (dict(images=np.moveaxis(IMAGES[:6], 3, 1)), no("channels first")),
    "another size": (dict(images=IMAGES[:6, :7]), no("takes images of shape (8, 8, 1)")),
    "another number of channels": (dict(images=np.repeat(IMAGES[:6], 3, 3)), no("takes images of shape (8, 8, 1)")),
    "words": (dict(images=np.full((6, 8, 8, 1), "a")), no("images must be numbers")),
    "one logit": (dict(net=lambda: network(layers.Dense(1))), no("the network gives one logit an image")),
    "maps for logits": (dict(net=lambda: keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(3, 3)])),
                        no("one row of logits per image")),
    "two outputs": (dict(net=two_outputs), no("one output, the logits; this one has 2")),
    "grey levels alone": (dict(net=whole_numbers), no("takes images of dtype uint8")),
    "two inputs": (dict(net=two_inputs), no("takes one input, the images")),
    "channels first network": (dict(net=channels_first), no("has channels first")),
    "half precision": (dict(net=lambda: network(layers.Dense(10), dtype="mixed_float16")), no("computes in float16")),
    "half logits": (dict(net=lambda: network(layers.Dense(10, dtype="mixed_bfloat16"))), no("dtype='float32'")),
    "too few outputs": (dict(net=lambda: network(layers.Dense(3))), no("the network has 3 outputs")),
    "black": (dict(images=np.concatenate([0 * IMAGES[:3], IMAGES[3:6]])), odd("3 of 6 images are of one colour")),
    "few classes": (dict(images=IMAGES, labels=np.arange(24) // 12), odd("24 images are of 2 of 10 classes")),
    "one class": (dict(labels=np.full(6, 3)), odd("all 6 labels are 3")),
}  # fmt: skip
ALIKE = [
    (f"{call.__name__}: {name}", call, {"images": IMAGES[:6], "labels": LABELS[:6], **given}, outcome)
    for name, (given, outcome) in DATA.items()
    for call in (fit, evaluate, certify)
]
CASES = [
    *ALIKE,
    ("evaluate: several shapes", evaluate, dict(images=[*IMAGES[:5], IMAGES[5, :7]]), no("different shapes")),
    ("certify: several shapes", certify, dict(images=[IMAGES[0], IMAGES[1, :7]]), no("different shapes")),
    ("evaluate: reference", evaluate, dict(reference_network="mine.keras"), no("rar_tf.load reads a file")),
    ("evaluate: part of an image", evaluate, dict(batch_size=1.5), no("batch_size must be a whole number")),
    # Training.
    ("fit", fit, {}, ok()),
    ("fit: a column of labels", fit, dict(labels=LABELS[:, None]), ok()),
    ("fit: a data set", fit, dict(images=dataset(), labels=None, batch_size=None), ok()),
    ("fit: a data set of grey levels", fit, dict(images=dataset(grey(IMAGES)), labels=None, batch_size=None), no("0 … 255")),
    ("fit: a data set of one-hot labels", fit, dict(images=dataset(IMAGES, one_hot(LABELS)), labels=None, batch_size=None),
     no("one-hot")),
    ("fit: an empty data set", fit, dict(images=dataset().take(0), labels=None, batch_size=None), no("empty")),
    ("fit: images alone", fit, dict(labels=None), no("pairs (images, labels)")),
    ("fit: sample weights", fit, dict(sample_weight=np.ones(24)), no("weights of samples")),
    ("fit: batch 0", fit, dict(batch_size=0), no("batch_size must be at least 1")),
    ("fit: batch -1", fit, dict(batch_size=-1), no("batch_size must be at least 1")),
    ("fit: batch 2.5", fit, dict(batch_size=2.5), no("batch_size must be a whole number")),
    ("fit: validation out of range", fit, dict(validation_data=(grey(IMAGES), LABELS)), no("0 … 255")),
    ("fit: a Rescaling layer and grey levels", fit, dict(images=grey(IMAGES), net=rescaling), no("0 … 255")),
    ("fit: a Rescaling layer and its range", fit,
     dict(images=grey(IMAGES), net=rescaling, settings={"bounds": (0, 255), "epsilon": 8.0}), ok()),
    ("fit: floats under 0-255", fit, dict(net=rescaling, settings={"bounds": (0, 255), "epsilon": 8.0}),
     no("bounds (--pixel_range) seem to be 0, 1")),
    ("fit: softmax", fit, dict(net=lambda: network(layers.Dense(10, activation="softmax"))), no("softmax or sigmoid")),
    ("fit: a softmax layer", fit, dict(net=lambda: network(layers.Dense(10), layers.Softmax())), no("softmax or sigmoid")),
    ("fit: sigmoid", fit, dict(net=lambda: network(layers.Dense(10, activation="sigmoid"))), no("softmax or sigmoid")),
    ("fit: a loss", fit, dict(compiled={"loss": "mse"}), no("compile takes no loss")),
    ("fit: epsilon as large as the range", fit, dict(settings={"epsilon": 8}), no("as large as the pixel range 0 … 1")),
    ("fit: a function", fit, dict(net=lambda: (lambda x, training=False: x)), no("trains a keras.Model")),
    ("fit: unknown settings", fit, dict(settings={"epsilons": 1}), no("unknown setting epsilons")),
    # Evaluation.
    ("evaluate", evaluate, {}, ok()),
    ("evaluate: a data set", evaluate, dict(images=dataset()), no("of a data set take its arrays")),
    ("evaluate: labels in a data set", evaluate, dict(labels=dataset()), no("of a data set take its arrays")),
    ("evaluate: tensors", evaluate, dict(images=tf.constant(IMAGES[:6]), labels=tf.constant(LABELS[:6])), ok()),
    ("evaluate: grey levels in their range", evaluate, dict(images=grey(IMAGES[:6]), bounds=(0, 255), net=rescaling,
     epsilon=8, pgd_epsilon=8), ok()),
    ("evaluate: k above the map", evaluate, dict(k=65), no("1 … 64")),
    ("evaluate: metric_k above the map", evaluate, dict(metric_k=65), no("1 … 64")),
    ("evaluate: epsilon as large as the range", evaluate, dict(epsilon=1), no("as large as the pixel range")),
    ("evaluate: pgd_epsilon as large as the range", evaluate, dict(pgd_epsilon=1), no("as large as the pixel range")),
    ("evaluate: a protocol", evaluate, dict(evaluation_protocol="chen2019"), ok()),
    ("evaluate: a contradicted protocol", evaluate, dict(evaluation_protocol="chen2019", start="random"), odd("evaluated as ours")),
    ("evaluate: an unknown protocol", evaluate, dict(evaluation_protocol="chen"), no("unknown evaluation_protocol 'chen'")),
    ("evaluate: bounds the wrong way", evaluate, dict(bounds=(1, 0)), no("bounds must be (low, high)")),
    ("evaluate: NaN bounds", evaluate, dict(bounds=(0, np.nan)), no("bounds must be finite")),
    ("evaluate: a softmax", evaluate, dict(net=lambda: keras.Sequential([toys.network(), layers.Softmax()])),
     odd("probabilities")),
    ("evaluate: a network that gives NaN", evaluate, dict(net=lambda: keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Rescaling(np.nan), layers.Flatten(), layers.Dense(10)])), no("NaN or infinite")),
    # Certification.
    ("certify", certify, {}, ok()),
    ("certify: unknown method", certify, dict(method="madry"), no("is no certificate")),
    ("certify: unknown setting", certify, dict(shard="0/1"), no("unknown setting")),
    ("certify: a data set", certify, dict(images=dataset()), no("of a data set take its arrays")),
    ("certify: bounds of a function", certify, dict(method="upper_bound", net=lambda: (lambda x, training=False:
     toys.network()(x))), no("--assume_smooth")),
    ("certify: bounds of a ReLU network", certify, dict(method="upper_bound"), ok()),
    # Attributions.
    ("integrated gradients of all logits", lambda: rar_tf.integrated_gradients(toys.network(), IMAGES[:2]), {},
     no("rar_tf.Target(network, labels)")),
    ("saliency of all logits", lambda: rar_tf.saliency_map(toys.network(), tf.constant(IMAGES[:2])), {},
     no("one scalar per image")),
    ("integrated gradients of a logit", lambda: rar_tf.integrated_gradients(
        rar_tf.Target(toys.network(), tf.constant(LABELS[:2])), IMAGES[:2]), {}, ok()),
    ("no path points", lambda: rar_tf.integrated_gradients(
        rar_tf.Target(toys.network(), tf.constant(LABELS[:2])), IMAGES[:2], steps=0), {}, no("ig_steps must be at least 1")),
    ("unknown rule", lambda: rar_tf.integrated_gradients(
        rar_tf.Target(toys.network(), tf.constant(LABELS[:2])), IMAGES[:2], rule="up"), {}, no("unknown rule")),
]  # fmt: skip


def drawn(count):
    """(record, field, value): seeded settings that cannot be, of methods, evaluations and certificates."""
    generator, found = random.Random(SEED), []
    records = {name: METHODS[name].Settings for name in METHODS} | {"evaluation": EvaluationSettings}
    records |= {name: CERTIFICATES[name].Settings for name in CERTIFICATES}
    bad = {
        int: [2.5, "3", float("nan"), True],
        float: [float("nan"), float("inf"), "0.1", [0.1, 0.2], True],
        bool: ["yes", 2, 0.5],
        str: [3, 1.5, ["x"]],
    }
    while len(found) < count:
        name = generator.choice(sorted(records))
        item = generator.choice([i for i in items(records[name]) if i.name not in ("bounds", "image_shape")])
        value = generator.choice(bad[item.kind])
        if item.is_tuple:
            value = (value,)
        found.append((name, records[name], item.name, value))
    return found


@pytest.mark.parametrize("name, call, given, outcome", CASES, ids=[case[0] for case in CASES])
def test_calls(caplog, name, call, given, outcome):
    kind, words = outcome
    with caplog.at_level(logging.WARNING):
        if kind is UsageError:
            with pytest.raises(UsageError) as raised:
                call(**given)
            assert words in str(raised.value) and "\n" not in str(raised.value), raised.value
            return
        call(**given)
    records = [record for record in caplog.records if record.name == "absl" and record.levelno >= logging.WARNING]
    said = [record.getMessage() for record in records]
    assert (any(words in each for each in said)) if kind else not said, said


@pytest.mark.parametrize("name, record, field, value", drawn(80))
def test_drawn_settings(name, record, field, value):
    with pytest.raises(UsageError) as raised:
        record.make(given_of(record, field, value))
    assert field in str(raised.value) and "\n" not in str(raised.value)


def given_of(record, field, value):
    names = {each.name for each in dataclasses.fields(record)}
    return {**({"image_shape": (8, 8, 1)} if "image_shape" in names else {}), field: value}


def test_a_robust_model_is_evaluated_as_its_network():
    model = fit()
    network = model.network
    found = [
        evaluate(net=lambda: each, labels=network(IMAGES[:6]).numpy().argmax(1)).summary() for each in (model, network)
    ]
    assert found[0] == {**found[1], "seconds": found[0]["seconds"]}


def test_what_a_robust_model_saves_is_its_network(tmp_path):
    model = fit(callbacks=[keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"))])
    model.save(tmp_path / "model.keras")
    for name in ("best.keras", "model.keras"):
        loaded = keras.saving.load_model(tmp_path / name)
        np.testing.assert_array_equal(loaded(IMAGES[:3]), model.network(IMAGES[:3]))
