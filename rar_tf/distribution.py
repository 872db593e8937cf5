"""Devices: how many logical CPUs, which strategy, deterministic kernels."""
import tensorflow as tf

from rar_tf.config import Settings
from rar_tf.errors import UsageError


def configure(settings: Settings) -> tf.distribute.Strategy:
    """Set the devices up and return the strategy; to be called before anything runs on a device.

    Raises: UsageError where the batch does not divide among the replicas.
    """
    if settings.logical_cpus > 1:
        cpus = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * settings.logical_cpus)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = _strategy(settings)
    if settings.batch_size % strategy.num_replicas_in_sync:
        raise UsageError(f"batch_size {settings.batch_size} does not divide among {strategy.num_replicas_in_sync} replicas")
    return strategy


def _strategy(settings):
    if settings.strategy == "mirrored":
        devices = None
        if settings.logical_cpus > 1:
            devices = [f"CPU:{i}" for i in range(settings.logical_cpus)]
        return tf.distribute.MirroredStrategy(devices)
    if settings.strategy == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()
