"""Reads the golden values: what the 2019 TensorFlow 1 reference of Chen et al. computes on seeded weights.

The files lie in the environment's GOLDEN_DIR (default ../shared/golden beside the repository) and hold all their
settings; the weights are rebuilt here from the seed.
"""

import os
import pathlib
import re

import numpy as np
import pytest

from rar_tf import models

DIRECTORY = pathlib.Path(
    os.environ.get("GOLDEN_DIR") or pathlib.Path(__file__).resolve().parents[1] / ".." / "shared" / "golden"
)
NAMES = ("mnist", "gtsrb", "flower")
_MODELS = {"mnist": "small_cnn", "gtsrb": "resnet_2", "flower": "resnet_1"}


def load(name: str) -> dict[str, np.ndarray]:
    """Return all arrays of a golden file; skips the test where the file is absent."""
    path = DIRECTORY / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no golden values at {path} (set GOLDEN_DIR)")
    with np.load(path) as archive:
        return dict(archive)


def weights(name: str, golden: dict) -> list[np.ndarray]:
    """Return the network's weights, in the order of golden["weight_shapes"]; RandomState streams never change."""
    rng = np.random.RandomState(int(golden["seed"]))
    arrays = []
    for line in golden["weight_shapes"]:
        shape = [int(n) for n in re.findall(r"\d+", str(line).split(" ", 1)[1])]
        if len(shape) == 4:
            std = 0.1 if name == "mnist" else np.sqrt(2.0 / (shape[0] * shape[1] * shape[3]))
        elif len(shape) == 2:
            std = 0.03 if name == "mnist" else np.sqrt(3.0 / shape[0])
        else:
            std = 0.05
        arrays.append((rng.standard_normal(shape) * std).astype(np.float32))
    return arrays


def network(name: str, golden: dict | None = None):
    """Return a fresh ReLU network that holds the golden weights."""
    golden = load(name) if golden is None else golden
    net = models.build(_MODELS[name], golden["x"].shape[1:], golden["logits_relu"].shape[1])
    net.set_weights(weights(name, golden))
    return net


def settings(golden: dict) -> dict:
    """Return the file's settings by name, without their `setting_` prefix."""
    return {
        key.removeprefix("setting_"): value.item() if value.ndim == 0 else value
        for key, value in golden.items()
        if key.startswith("setting_")
    }


def sample_entries(size: int) -> np.ndarray:
    """Return the positions in a flattened weight whose gradients a golden file holds."""
    return np.unique(np.linspace(0, size - 1, min(size, 400)).astype(int))
