"""The networks inside the package: each loads as it was trained, and a damaged one is refused."""

import json

import keras
import numpy as np
import pytest

import rar_tf
from rar_tf import models, zoo
from rar_tf.data import datasets
from rar_tf.data.pixels import to_pixels
from rar_tf.errors import UsageError

from conftest import DATA
from runner import python, succeeded

RECORD = {
    "dataset": "digits",
    "method": "madry",
    "flags": {"model": "tiny_cnn", "initializer": "glorot", "method": "madry"},
    "evaluations": {},
}
IMAGES = np.random.default_rng(0).uniform(0, 1, (20, 28, 28, 1)).astype(np.float32)


@pytest.fixture
def kept(tmp_path, seeded):
    network = models.build("tiny_cnn", (28, 28, 1), 10, initializer="glorot")
    return network, zoo.pack(network, RECORD, IMAGES, tmp_path), tmp_path


def test_a_network_comes_back_with_its_card(kept):
    network, name, folder = kept
    assert name == "digits_madry" and zoo.list_models(folder) == [name]
    loaded = zoo.load(name, folder)
    halves = [weight.astype(np.float16).astype(np.float32) for weight in network.get_weights()]
    assert all(map(np.array_equal, loaded.get_weights(), halves))
    assert loaded.card["stored"] == "float16" and loaded.card["unchanged_predictions"] == len(IMAGES)
    assert loaded.card["bounds"] == [0, 1] and "CC BY" in loaded.card["licence"]
    assert (folder / f"{name}.npz").stat().st_size < 2.2 * network.count_params()


def test_float32_where_a_prediction_would_change(tmp_path, seeded):
    network = models.build("tiny_cnn", (28, 28, 1), 10)
    *rest, kernel, bias = network.get_weights()
    kernel[:], bias[:] = 0, 0
    bias[3], bias[4] = 1.0, 1.0001  # the same number in float16, where the first of them would win
    network.set_weights([*rest, kernel, bias])
    assert zoo.load(zoo.pack(network, RECORD, IMAGES, tmp_path), tmp_path).card["stored"] == "float32"
    assert np.array_equal(network.get_weights()[-1], bias)  # packing leaves the network as it was


def test_a_damaged_file_is_refused(kept):
    _, name, folder = kept
    content = bytearray((folder / f"{name}.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / f"{name}.npz").write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        zoo.load(name, folder)


def test_an_unknown_name_is_told_the_known_ones(kept):
    with pytest.raises(UsageError, match="digits_madry"):
        zoo.load("mnist_nothing", kept[2])


def test_more_than_there_is_room_for_is_refused(kept, monkeypatch):
    network, _, folder = kept
    monkeypatch.setattr(zoo, "SIZE", 1000)
    with pytest.raises(UsageError, match="room"):
        zoo.pack(network, {**RECORD, "method": "natural"}, IMAGES, folder)


def test_all_of_them_are_small_and_whole():
    assert sum(path.stat().st_size for path in zoo.FOLDER.glob("*.npz")) <= zoo.SIZE
    assert {path.stem for path in zoo.FOLDER.glob("*.npz")} == set(rar_tf.list_models())


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_shipped_network_has_the_accuracy_of_its_card(name):
    network = rar_tf.load(name)
    assert isinstance(network, keras.Model) and json.dumps(network.card)
    record = datasets.get(network.card["dataset"])
    if not (DATA / record.name / "test.npz").is_file():
        pytest.skip(f"no {record.name} here")
    measured = network.card["evaluations"]["accuracy"]
    count = min(measured["accuracy_examples"], 2000)
    if count < measured["accuracy_examples"]:
        pytest.skip("measured on more images than a test takes")
    splits = datasets.load(record, DATA)
    logits = network.predict(to_pixels(record, splits.test.images[:count]), verbose=0)
    natural = np.mean(np.argmax(logits, axis=1) == splits.test.labels[:count])
    assert natural == pytest.approx(measured["accuracies"]["natural_accuracy"]["share"], abs=1e-9)


def test_a_file_of_ones_own_loads_where_its_layers_were_never_imported(tmp_path, seeded):
    network = models.build("tiny_cnn", (28, 28, 1), 10, activation="softplus", stem="dark", stem_epsilon=0.1)
    network.save(tmp_path / "model.keras")
    code = f"import rar_tf; print(rar_tf.load({str(tmp_path / 'model.keras')!r}).count_params())"
    assert int(succeeded(python("-c", code)).split()[-1]) == network.count_params()
    with pytest.raises(UsageError, match="no such .keras file"):
        rar_tf.load(str(tmp_path / "no.keras"))
