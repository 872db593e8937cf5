"""How much memory a device has, and how much of a network fits into it."""

import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import checks

# Of one image on a path, for its values and its first and second derivatives: 7 (GTSRB's network, batch 64, all of 50
# points at once) to 15 (ResNet50V2 at 224×224, batch 8, 1 point at a time) were measured in training steps.
BYTES_PER_ACTIVATION = 16
SHARE = 0.5  # of a device's memory, that a path may take
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def of_device() -> int:
    """Return the bytes that TensorFlow may use on the smallest GPU, or where there is none the machine's memory.

    A limit that a container or a job has been given counts as the machine's. Logical CPUs share it.
    """
    if tf.config.list_physical_devices("GPU"):
        from tensorflow.python.client import device_lib  # the only place that tells how much there is

        return min(each.memory_limit for each in device_lib.list_local_devices() if each.device_type == "GPU")
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(pathlib.Path, _LIMITS):
        text = path.read_text().strip() if path.is_file() else ""
        found += [int(text)] if text.isdigit() else []
    return min(found) // len(tf.config.list_logical_devices("CPU"))


def activations(network, image_shape) -> int:
    """Return how many numbers the layers of a Keras network give for one image; 64 a feature of another network."""
    network, features = getattr(network, "network", network), int(np.prod(image_shape))
    if not isinstance(network, keras.Model):
        return 64 * features
    nodes = [layer._inbound_nodes[-1] for layer in network._flatten_layers(include_self=False) if layer._inbound_nodes]
    sizes = [np.prod(tensor.shape[1:], dtype=float) for node in nodes for tensor in node.output_tensors]
    return int(sum(sizes)) or 64 * features


def path_points(network, image_shape, batch: int, points: int) -> int | None:
    """Return how many path points of so many a training step can hold at once; None where it can hold all.

    Args:
      batch: images of a device that are computed at once.
    """
    checks.at_least_one(batch=batch, ig_steps=points)
    needed, limit = BYTES_PER_ACTIVATION * batch * activations(network, image_shape), SHARE * of_device()
    if points * needed <= limit:
        return None
    chunk = int(np.clip(limit // needed, 1, points))
    logging.info(
        "path points are held %d at a time: all %d would take %.1f GiB", chunk, points, points * needed / 2**30
    )
    if needed > limit:
        logging.warning(
            "one path point of %d images takes about %.1f GiB of the %.1f GiB that there are: consider --micro_batch",
            batch,
            needed / 2**30,
            limit / SHARE / 2**30,
        )
    return chunk
