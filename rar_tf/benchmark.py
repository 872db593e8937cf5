"""How fast a training method runs, beside the machine's own matrix products in the same run."""

import resource
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from rar_tf import arithmetic
from rar_tf.attributions.gradients import gradient
from rar_tf.data import datasets
from rar_tf.evaluation.measurements import plain_attack
from rar_tf.experiment import optimizers
from rar_tf.experiment.run import build_model, build_network
from rar_tf.experiment.settings import Experiment
from rar_tf.models.invariance import is_scale_invariant
from rar_tf.models.pooling import with_exact_pooling
from rar_tf.models.surrogate import softplus_surrogate
from rar_tf.objectives.settings import RAR


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, in seconds, after one call that is not counted."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        tf.nest.map_structure(lambda value: value.numpy(), function())
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def matrix_product_peak(repeats: int = 5, size: int = 2048) -> float:
    """Return the rate of float32 matrix products, in operations a second."""
    matrix = tf.random.stateless_normal([size, size], [0, 0])
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    return 2 * size**3 / seconds(product, repeats)


def forward_operations(network: keras.Model) -> int:
    """Return the operations of the convolutions and dense layers in one image's forward pass."""
    total = 0
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D):
            total += 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * int(np.prod(layer.kernel.shape))
    return total


def measure_ifia(settings: Experiment, repeats: int = 3, batch: int = 10, steps: int = 4) -> dict:
    """Time an iteration of IFIA with the evaluation's settings: the direction and the screened score.

    It is what an attack of `steps` more steps takes longer: clean maps and the candidates' scores at the end cost the
    same however many steps there are. The share of the peak counts (4m' + 2m″)·F per image and iteration, m″ points of
    the maps that iterates are screened with, where integrated gradients have no closed form.

    Returns: seconds per image and iteration, the peak memory in GiB (`peak_memory`), the settings.
    """
    arithmetic.settle()
    record = datasets.record_of(settings.data)
    keras.utils.set_random_seed(settings.run.seed)
    network = build_network(settings.network, record)
    surrogate = softplus_surrogate(network)
    images = tf.random.stateless_uniform([batch, *record.image_shape], [1, 2], *record.bounds)
    labels = tf.argmax(network(images), axis=1)
    s = settings.evaluation.replace(bounds=record.bounds).resolved()

    def attack(count):
        plain = plain_attack(s.replace(steps=count), network)
        return seconds(tf.function(lambda: plain(network, surrogate, images, labels), autograph=False), repeats)

    took = max(attack(steps + 1) - attack(1), 1e-9)  # noise can take all of it
    found = {
        "peak_operations_per_second": matrix_product_peak(),
        "forward_operations": forward_operations(network),
        "ifia_iteration_seconds": took / (batch * steps),
    }
    if s.attribution == "integrated_gradients" and not is_scale_invariant(network):
        needed = steps * (4 * s.attack_ig_steps + 2 * s.screen_ig_steps) * batch * found["forward_operations"]
        found["ifia_share"] = needed / found["peak_operations_per_second"] / took
    return {
        **_named(settings, "dataset", "model", "ifia_ig_steps", "ifia_attack_ig_steps", "ig_chunk"),
        **found,
        "peak_memory_gib": peak_memory(),
    }


def measure(settings: Experiment, repeats: int = 3) -> dict:
    """Time one method: its attack gradient, its attack and its training step on given perturbed images.

    Shares of the peak are given for IG-NORM and IG-SUM-NORM without a closed form, by the operations that they need at
    the least: (4m'+2)·F·B for the gradient of the adversary, (6m+3)·F·B for the training step, F those of a forward
    pass.

    Returns: seconds of each, examples a second of a whole step, the peak memory in GiB (`peak_memory`), the settings.
    """
    run, s = settings.run, settings.method
    record = datasets.record_of(settings.data)
    keras.utils.set_random_seed(run.seed)
    network = build_network(settings.network, record)
    model = build_model(with_exact_pooling(network) if run.jit_compile else network, settings, record.bounds)
    model.compile(optimizers.build(run))
    low, high = record.bounds
    images = tf.random.stateless_uniform([run.batch_size, *record.image_shape], [1, 2], low, high)
    labels = tf.random.stateless_uniform([run.batch_size], [1, 3], 0, record.num_classes, tf.int64)
    perturbed = tf.clip_by_value(model.ball.start(images, s.epsilon, [1, 4]), low, high)

    def compiled(function):
        return tf.function(function, autograph=False, jit_compile=run.jit_compile)

    found = {"peak_operations_per_second": matrix_product_peak(), "forward_operations": forward_operations(network)}
    if model.adversary(images, labels) is not None:
        climb = compiled(lambda: gradient(model.adversary(images, labels), perturbed))
        found["attack_gradient_seconds"] = seconds(climb, repeats)
        found["attack_seconds"] = seconds(compiled(lambda: model.perturb(images, labels, perturbed)), 1)
    found["step_seconds"] = seconds(compiled(lambda: model.minimise(images, perturbed, labels)), repeats)
    found["examples_per_second"] = run.batch_size / (found["step_seconds"] + found.get("attack_seconds", 0.0))
    if run.method in ("ig_norm", "ig_sum_norm") and isinstance(s, RAR) and s.ig_chunk is None:
        batch = found["forward_operations"] * run.batch_size / found["peak_operations_per_second"]
        loss = run.method == "ig_sum_norm"
        found["attack_gradient_share"] = (4 * s.attack_ig_steps + 2 * loss) * batch / found["attack_gradient_seconds"]
        found["step_share"] = (6 * s.ig_steps + 3) * batch / found["step_seconds"]
    names = ("dataset", "model", "method", "batch_size", "ig_steps", "attack_ig_steps", "attack_steps", "ig_chunk")
    return {**_named(settings, *names, "jit_compile"), **found, "peak_memory_gib": peak_memory()}


def _named(settings, *names):
    flags = settings.flags()
    return {name: flags.get(name) for name in names}


def peak_memory() -> float:
    """Return the most that was taken so far, in GiB: of the fullest GPU, without one of the process."""
    names = [gpu.name.rpartition("device:")[2] for gpu in tf.config.list_logical_devices("GPU")]
    peaks = [tf.config.experimental.get_memory_info(name)["peak"] for name in names]
    return max(peaks) / 2**30 if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
