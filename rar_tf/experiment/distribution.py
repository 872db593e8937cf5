"""Devices: how many logical CPUs, which strategy, deterministic kernels; and training over several processes."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from rar_tf.errors import UsageError, brief
from rar_tf.experiment import slurm
from rar_tf.experiment.settings import RunSettings


class WorkerLost(UsageError):
    """Another worker is gone: nobody's mistake, and the same commands go on where all of them are started again."""

    exit_status = 75  # the system's own number for what is worth another try


def configure(settings: RunSettings) -> tf.distribute.Strategy:
    """Set the devices up and return the strategy; to be called before anything runs on a device.

    Raises: UsageError where the batch does not divide among the replicas.
    """
    if settings.logical_cpus > 1:
        cpus = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpus[0], [tf.config.LogicalDeviceConfiguration()] * settings.logical_cpus
        )
    if settings.jit_compile and settings.strategy != "one_device":
        raise UsageError("jit_compile works with --strategy=one_device only: Keras cannot compile distributed steps")
    if settings.steps_per_execution > 1 and settings.strategy == "multi_worker":
        raise UsageError(
            "steps_per_execution works on one machine only: workers agree after every step whether to stop"
        )
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = _strategy(settings)
    if settings.batch_size % strategy.num_replicas_in_sync:
        raise UsageError(
            f"batch_size {settings.batch_size} does not divide among {strategy.num_replicas_in_sync} replicas"
        )
    return strategy


def _strategy(settings):
    if settings.strategy == "mirrored":
        devices = None
        if settings.logical_cpus > 1:
            devices = [f"CPU:{i}" for i in range(settings.logical_cpus)]
        return tf.distribute.MirroredStrategy(devices)
    if settings.strategy == "multi_worker":
        resolver = _cluster()
        workers = [split_address(address) for address in resolver.cluster_spec().as_dict()["worker"]]
        wait_for_peers(workers, resolver.task_id, settings.worker_timeout)
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    return tf.distribute.get_strategy()


def _cluster():
    """The workers, by TF_CONFIG or by the job step of Slurm that this process belongs to."""
    if "TF_CONFIG" not in os.environ and slurm.is_step():
        return slurm.cluster()
    try:
        cluster = json.loads(os.environ["TF_CONFIG"])
        addresses = [split_address(address) for address in cluster["cluster"]["worker"]]
        addresses[cluster["task"]["index"]]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UsageError(
            '--strategy=multi_worker needs a task of srun, or TF_CONFIG in the environment, as JSON: {"cluster": '
            '{"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "host:port". Raises: ValueError for another form."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def wait_for_peers(workers: list[tuple[str, int]], index: int, seconds: float) -> None:
    """Return once every worker has been seen at its address; TensorFlow itself waits in silence, and hears no signal.

    Each one listens at its own address until it has seen all others; after that TensorFlow does.

    Args:
      workers: (host, port) of each. index: this one's place.

    Raises: UsageError where one is not seen for so many seconds, or the own port is taken.
    """
    try:
        listener = socket.create_server(("", workers[index][1]))
    except OSError as error:
        raise UsageError(f"worker {index} cannot listen at port {workers[index][1]} ({brief(error)})") from error
    absent, end = dict(enumerate(workers)), time.monotonic() + seconds
    del absent[index]
    with listener:
        while absent and time.monotonic() < end:
            for number, address in list(absent.items()):
                with contextlib.suppress(OSError), socket.create_connection(address, timeout=1) as seen:
                    if seen.getsockname() != seen.getpeername():  # of a free port a socket may meet itself
                        del absent[number]
            time.sleep(0.1 * bool(absent))
    if absent:
        names = ", ".join(f"worker {number} ({host}:{port})" for number, (host, port) in absent.items())
        raise UsageError(
            f"{names} did not answer for {seconds:g} s: start it with the same TF_CONFIG and its own index, mend the "
            "addresses, or wait longer with --worker_timeout"
        )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process writes the run's files: the only one, or worker 0."""
    return not _several_workers(strategy) or strategy.cluster_resolver.task_id == 0


def _several_workers(strategy):
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def fit(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    make_batches: Callable,
    start_step: int,
    steps: int,
    callbacks: list,
    verbose: int | str = 0,
) -> None:
    """Train for so many steps: by `keras.Model.fit`, which cannot run over several workers, or by its loop over them.

    Args:
      make_batches: (index, count) -> data set of the index-th of count equal, contiguous parts of each global batch.
      callbacks: Keras callbacks; one that has `signalled` and `stop_agreed` learns whether any worker was signalled.

    Raises: WorkerLost where another worker is lost; UsageError where the workers start from different steps.
    """
    if not _several_workers(strategy):
        batches, gpus = make_batches(0, 1), tf.config.list_logical_devices("GPU")
        if gpus and strategy.num_replicas_in_sync == 1:  # distributed data sets are prefetched to their devices anyway
            batches = batches.apply(tf.data.experimental.prefetch_to_device(gpus[0].name))
        # Keras's own: the images of a run have been checked when they were read.
        keras.Model.fit(
            model, batches, epochs=1, steps_per_epoch=steps, verbose=verbose, shuffle=False, callbacks=callbacks
        )
        return
    try:
        _fit_over_workers(model, strategy, make_batches, start_step, steps, callbacks, verbose)
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.InternalError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    ) as error:
        raise WorkerLost(
            "a worker was lost; start all workers again with the same commands, and they go on from the last "
            f"checkpoint ({type(error).__name__})"
        ) from error


def _fit_over_workers(model, strategy, make_batches, start_step, steps, callbacks, verbose):
    local = strategy.extended._num_devices_per_worker

    def part(context):
        batches = make_batches(context.input_pipeline_id, context.num_input_pipelines)
        return (
            batches
            if local == 1
            else batches.unbatch().batch(
                context.get_per_replica_batch_size(batches.element_spec[0].shape[0] * context.num_input_pipelines),
                drop_remainder=True,
            )
        )

    data = iter(strategy.distribute_datasets_from_function(part))
    watchers = [callback for callback in callbacks if hasattr(callback, "stop_agreed")]

    @tf.function(autograph=False)
    def mean(value):  # over all replicas of all workers
        return strategy.reduce("MEAN", strategy.run(lambda: tf.identity(value)), axis=None)

    @tf.function(autograph=False)
    def step(iterator):
        logs = strategy.run(model.train_step, args=(next(iterator),))
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    if float(mean(tf.constant(float(start_step)))) != start_step:
        raise UsageError(
            "the workers found different checkpoints; all need the same --model_dir on a shared file system"
        )
    hooks = keras.callbacks.CallbackList(
        callbacks, add_progbar=verbose == 1, model=model, verbose=verbose, epochs=1, steps=steps
    )
    model.stop_training = False
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    for index in range(steps):
        hooks.on_train_batch_begin(index)
        logs = {name: float(value) for name, value in step(data).items()}
        signalled = any(watcher.signalled for watcher in watchers)
        for watcher in watchers:
            watcher.stop_agreed = float(mean(tf.constant(float(signalled)))) > 0
        hooks.on_train_batch_end(index, logs)
        if model.stop_training:
            break
    hooks.on_epoch_end(0, logs)
    hooks.on_train_end()


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Return once every worker has come here: one that left early would look lost to the others."""
    if _several_workers(strategy):
        tf.function(lambda: strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None))()
