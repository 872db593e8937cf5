"""Small trained networks inside the package, each with its card: training, scores, licence of the data.

NAME.npz holds a network's weights, the very ones that were evaluated, NAME.json its card: a record as in docs/results,
and the digest of the weights' file.

In float16 half of the bytes would do, and hardly a prediction would change, but maps do: adversarial training on MNIST
puts the thresholds of its first layer at ε, and where rounding moves them by a thousandth of that, an attack lights up
the background and halves Kendall's correlation.
"""

import hashlib
import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from rar_tf import checks, export, models, results
from rar_tf.data.records import RECORDS
from rar_tf.errors import UsageError
from rar_tf.files import atomic_write
from rar_tf.models.settings import NetworkSettings

FOLDER = pathlib.Path(__file__).parent
SIZE = 15 * 2**20  # of all weights together
LICENCES = {
    "digits": "scikit-learn's digits, from the UCI repository: E. Alpaydin, C. Kaynak; CC BY 4.0",
    "mnist": "MNIST: Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0",
    "fashion_mnist": "Fashion-MNIST: Zalando SE, MIT licence",
    "gtsrb": "GTSRB: J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel; for research, citation asked for",
    "cifar10": "CIFAR-10: A. Krizhevsky; no formal licence, citation asked for",
    "flower": "Flower-17: M.-E. Nilsback, A. Zisserman; for research",
}


def list_models(folder: pathlib.Path = FOLDER) -> list[str]:
    """Return the names that `load` knows."""
    return sorted(path.stem for path in folder.glob("*.json"))


def load(name: str | os.PathLike, folder: pathlib.Path = FOLDER) -> keras.Model:
    """Return a trained network of the package by its name, or that of a .keras file with this package's layers known.

    `network.card`, of the package's, holds `dataset`, `bounds` and `licence` of its data, the `flags` that trained it,
    and under `evaluations` what was measured of it, see docs/results.md.

    Shape: images [N, H, W, C] in the data's pixel range -> logits [N, K].

    Raises: UsageError for an unknown name, weights whose digest is not the card's, or a file that cannot be read.
    """
    name = os.fspath(name)
    if name.endswith(".keras"):
        return export.load_keras(name)
    checks.one_of(list_models(folder), model=name)
    card = results.read_json(folder / f"{name}.json")
    content = (folder / f"{name}.npz").read_bytes()
    if hashlib.sha256(content).hexdigest() != card["sha256"]:
        raise UsageError(f"{folder / name}.npz is damaged: its sha256 is not the card's")
    network = _fresh(card["flags"], card["dataset"])
    with np.load(io.BytesIO(content)) as arrays:
        network.set_weights([arrays[f"w{place}"] for place in range(len(arrays.files))])
    object.__setattr__(network, "card", card)  # beside Keras's own attributes, which it would track and save
    return network


def pack(network: keras.Model, record: Mapping[str, Any], folder: pathlib.Path = FOLDER) -> str:
    """Keep a trained network and its record; return its name.

    Raises: UsageError where an evaluation of the record is of other weights, and where all weights together would be
    more than SIZE.
    """
    digest = results.fingerprint(network)
    for kind, evaluation in record["evaluations"].items():
        if evaluation["weights_digest"] != digest:
            raise UsageError(f"{kind} of {record['dataset']}_{record['method']} was measured of other weights")
    file = io.BytesIO()
    np.savez_compressed(file, **{f"w{place}": value for place, value in enumerate(network.get_weights())})
    name, content = f"{record['dataset']}_{record['method']}", file.getvalue()
    others = sum(path.stat().st_size for path in folder.glob("*.npz") if path.stem != name)
    if others + len(content) > SIZE:
        raise UsageError(
            f"{name} has {len(content):,} bytes, beside {others:,} of others: {SIZE:,} is all there is room for"
        )
    if (folder / f"{name}.npz").exists() and not _is_card(folder / f"{name}.json"):
        raise UsageError(f"{folder / name}.npz is there and is no network of this package's: give another folder")
    with atomic_write(folder / f"{name}.npz") as temporary:
        temporary.write_bytes(content)
    card = {
        **record,
        "bounds": RECORDS[record["dataset"]].bounds,
        "licence": LICENCES[record["dataset"]],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    results.write_json(folder / f"{name}.json", card)
    return name


def _is_card(path):
    return path.is_file() and "sha256" in results.read_json(path)


def _fresh(flags, dataset):
    data = RECORDS[dataset]
    settings = NetworkSettings.of(flags)
    return models.build(settings.model, data.image_shape, data.num_classes, bounds=data.bounds, **settings.options())
