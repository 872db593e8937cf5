"""A process with several logical CPUs: compares MirroredStrategy with one device and prints the differences as JSON.

python tests/replicas.py 2 one_step natural madry …    weights after one step on given perturbed images
python tests/replicas.py 2 fit ig_sum_norm madry       weights after 20 whole steps of fit
python tests/replicas.py 2 uneven madry                what fit says of batches that replicas cannot share
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from rar_tf import objectives
from rar_tf.data import pipeline, records, splits
from rar_tf.errors import UsageError
from rar_tf.experiment import optimizers
from rar_tf.experiment.settings import RunSettings

SETTINGS = {
    "epsilon": 0.1,
    "step_size": 0.04,
    "steps": 3,
    "weight_decay": 1e-3,
    "seed": 5,
    "ig_steps": 4,
    "attack_ig_steps": 2,
    "top_k": 8,
    "aligned": "path_point",
    "curvature_weight": 0.5,
    "linearity_weight": 0.5,
}
RECORD = records.Record("toy", (8, 8, 1), 4, (0.0, 1.0))
RANDOM = np.random.RandomState(0)
DATA = splits.Split(RANDOM.uniform(0, 1, [64, 8, 8, 1]).astype(np.float32), RANDOM.randint(0, 4, 64))


def make(method, reduction, **more):
    keras.utils.set_random_seed(3)
    network = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="logits"),
        ]
    )
    kind = objectives.METHODS[method]
    known = {name: value for name, value in SETTINGS.items() if name in kind.options()}
    model = kind(network, reduction=reduction, **known, **more)
    model.compile(optimizers.build(RunSettings(optimizer="momentum", learning_rate=0.01)))
    model.optimizer.build(network.trainable_variables)
    return model


def one_step(strategy, method, reduction):
    with strategy.scope():
        model = make(method, reduction)
    batch = 16
    images = DATA.images[:batch]
    perturbed = np.clip(images + RANDOM_OFFSET, 0, 1).astype(np.float32)
    data = tf.data.Dataset.from_tensors((images, perturbed, DATA.labels[:batch])).unbatch().batch(batch)
    if strategy.num_replicas_in_sync > 1:
        data = strategy.experimental_distribute_dataset(data)
    step = tf.function(lambda *each: strategy.run(model.minimise, args=each))
    step(*next(iter(data)))
    return model.network.get_weights()


RANDOM_OFFSET = np.random.RandomState(1).uniform(-0.1, 0.1, [16, 8, 8, 1])


def fit(strategy, method, reduction, **more):
    with strategy.scope():
        model = make(method, reduction, **more)
    before = model.network.get_weights()
    batches = pipeline.batches(RECORD, DATA, 16, seed=5, steps=20)
    history = model.fit(batches, epochs=1, steps_per_epoch=20, verbose=0, shuffle=False).history
    return before, model.network.get_weights(), history["loss"][0]


def toys(count):
    return DATA.images[:count], DATA.labels[:count]


def batched(count):
    return tf.data.Dataset.from_tensor_slices(toys(count)).batch(8)


def uneven(strategy, method):
    """What fit says of data of which the replicas cannot have equal parts."""
    with strategy.scope():
        model = make(method, "mean")
    found = {}
    for name, given, options in (
        ("a last batch of one", (batched(17),), {}),
        ("a last batch of three", (batched(19),), {}),
        ("validation set", (batched(16),), {"validation_data": batched(17)}),
        ("validation arrays", toys(16), {"validation_data": toys(17)}),
        ("validation batches", toys(16), {"validation_data": toys(16), "validation_batch_size": 5}),
        ("validation split", toys(20), {"validation_split": 0.15}),
    ):
        try:
            model.fit(*given, verbose=0, **options)
            found[name] = "nothing"
        except UsageError as error:
            found[name] = str(error)
    return found


def even(strategy, method):
    """The weights after a data set whose last batch is smaller, but has equal parts."""
    with strategy.scope():
        model = make(method, "mean")
    model.fit(batched(20), validation_data=batched(20), shuffle=False, verbose=0)
    return model.network.get_weights()


def main(replicas, what, *methods):
    cpus = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * int(replicas))
    one = tf.distribute.get_strategy()
    many = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(int(replicas))])
    found = {}
    if what == "uneven":
        (method,), methods = methods, ()
        gaps = [np.abs(x - y).max() for x, y in zip(even(one, method), even(many, method))]
        found = {"said": uneven(many, method), "gap": float(max(gaps))}
    for method in methods:
        for reduction in ("sum", "mean"):
            if what == "one_step":
                a, b = one_step(one, method, reduction), one_step(many, method, reduction)
                found[f"{method} {reduction}"] = max(float(np.abs(x - y).max()) for x, y in zip(a, b))
            else:
                # The replicas compute their parts of the batch in parts.
                (before, a, loss), (_, b, other) = (
                    fit(one, method, reduction),
                    fit(many, method, reduction, micro_batch=3),
                )
                gap = np.sqrt(sum(np.sum((x - y) ** 2) for x, y in zip(a, b)))
                change = np.sqrt(sum(np.sum((x - y) ** 2) for x, y in zip(a, before)))
                found[f"{method} {reduction}"] = float(gap / change)
                found[f"{method} {reduction} loss"] = abs(loss - other) / abs(loss)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
