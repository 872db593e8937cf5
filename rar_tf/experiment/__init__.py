"""One training run on disk: from settings to a model directory, resumed exactly, on one device or many."""

from rar_tf.registry import Registry

OPTIMIZERS = Registry(
    "optimizer", {name: f"rar_tf.experiment.optimizers:{name}" for name in ("adam", "momentum", "nesterov", "sgd")}
)
DECAYS = ("linear", "cosine")
STRATEGIES = ("one_device", "mirrored", "multi_worker")
COMPUTE_DTYPES = ("float32", "tensorfloat32", "bfloat16")
