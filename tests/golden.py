"""Reads golden values, and says how near to them float32 arithmetic has to come.

`digits` lies beside this file: what `reference.py`, in float64, computes on seeded weights; GOLDEN_SEEDS=1,2 in the
environment has others computed, digits-1 and digits-2, which the same tests then read. The others are what the 2019
TensorFlow 1 reference of Chen et al. computes, in the environment's GOLDEN_DIR (default ../shared/golden beside the
repository). Files hold all their settings; the weights are rebuilt here from the seed.

Tolerances come from the arithmetic. A sum of n terms in another order differs by about sqrt(n) units in the last place,
and the largest sums here have some 4,000 terms: 64 units. Where a value differs by more from the golden one, it is
computed again with inputs and weights that are moved by 64 units at random. Where a path point lies that near to a
switch of a rectifier or max-pool, or a gradient that near to a change of sign, these values move too, and so far, twice
at the most, the value may be from the golden one.
"""

import functools
import os
import pathlib
import re

import numpy as np
import pytest

from rar_tf import models

import reference

DIRECTORY = pathlib.Path(
    os.environ.get("GOLDEN_DIR") or pathlib.Path(__file__).resolve().parents[1] / ".." / "shared" / "golden"
)
SEEDS = [f"digits-{seed}" for seed in os.environ.get("GOLDEN_SEEDS", "").split(",") if seed]
NAMES = ("digits", *SEEDS, "mnist", "gtsrb", "flower")


def cases() -> list:
    """Return the names as parameters; the 2019 code's take minutes, and are slow where nobody gave GOLDEN_DIR."""
    slow = [] if os.environ.get("GOLDEN_DIR") else ["mnist", "gtsrb", "flower"]
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in NAMES]


_MODELS = {"digits": "tiny_cnn", "mnist": "small_cnn", "gtsrb": "resnet_2", "flower": "resnet_1"}
_PLAIN = ("digits", "mnist")  # convolutions and dense layers
ULPS = 64
ROUNDING = ULPS * 2.0**-23
DRAWS = 12  # flips of a switch are rare and large: few draws miss them


def load(name: str) -> dict[str, np.ndarray]:
    """Return all arrays of a golden file; skips the test where the file is absent."""
    if name in SEEDS:
        return dict(_computed(int(name.partition("-")[2])))
    path = pathlib.Path(__file__).with_name("golden_digits.npz") if name == "digits" else DIRECTORY / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no golden values at {path} (set GOLDEN_DIR)")
    with np.load(path) as archive:
        return dict(archive)


@functools.cache
def _computed(seed: int) -> dict[str, np.ndarray]:
    return reference.compute(seed)


def weights(name: str, golden: dict) -> list[np.ndarray]:
    """Return the network's weights, in the order of golden["weight_shapes"]; RandomState streams never change."""
    rng = np.random.RandomState(int(golden["seed"]))
    arrays = []
    for line in golden["weight_shapes"]:
        shape = [int(n) for n in re.findall(r"\d+", str(line).split(" ", 1)[1])]
        if len(shape) == 4:
            std = 0.1 if _kind(name) in _PLAIN else np.sqrt(2.0 / (shape[0] * shape[1] * shape[3]))
        elif len(shape) == 2:
            std = 0.03 if _kind(name) in _PLAIN else np.sqrt(3.0 / shape[0])
        else:
            std = 0.05
        arrays.append((rng.standard_normal(shape) * std).astype(np.float32))
    return arrays


def network(name: str, golden: dict | None = None):
    """Return a fresh ReLU network that holds the golden weights."""
    golden = load(name) if golden is None else golden
    net = models.build(_MODELS[_kind(name)], golden["x"].shape[1:], golden["logits_relu"].shape[1])
    net.set_weights(weights(name, golden))
    return net


def _kind(name):
    return name.partition("-")[0]


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


def relative(found, expected) -> float:
    """The distance of two arrays over the norm of the second."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30)


def unequal(tolerance: float):
    """A distance: the share of entries that differ by more than a tolerance."""
    return lambda found, expected: float(np.mean(np.abs(np.asarray(found) - np.asarray(expected)) > tolerance))


def assert_agrees(function, network, arrays, expected, *, distance=relative, least: float = ROUNDING) -> None:
    """Fail where a function's values are further from the expected ones than rounding explains.

    Args:
      function: arrays -> a value, or a tuple of values, computed with the network's weights as they are.
      expected: the golden value or values. distance: of two values. least: what is near enough in any case.
    """

    def distances(found, known):
        pairs = zip(found, known) if isinstance(found, tuple) else [(found, known)]
        return np.array([distance(*pair) for pair in pairs])

    value = function(*arrays)
    gaps = distances(value, expected)
    if (gaps <= least).all():
        return
    moved = np.max([distances(each, value) for each in under_rounding(function, network, arrays)], axis=0)
    assert (gaps <= np.maximum(2 * moved, least)).all(), (
        f"{gaps} from the golden values; rounding moves them by {moved}"
    )


def under_rounding(function, network, arrays):
    """Give a function's values with inputs and weights moved by up to 64 units in the last place, `DRAWS` times."""
    before = network.get_weights()
    try:
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            network.set_weights([_moved(weight, rng) for weight in before])
            yield function(*(_moved(array, rng) for array in arrays))
    finally:
        network.set_weights(before)


def _moved(array, rng):
    array = np.asarray(array)
    if array.dtype.kind != "f":
        return array
    return (array * (1 + ROUNDING * rng.uniform(-1, 1, array.shape))).astype(array.dtype)
