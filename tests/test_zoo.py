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
from rar_tf.results import fingerprint

from conftest import DATA
from runner import python, succeeded

RECORD = {
    "dataset": "digits",
    "method": "madry",
    "flags": {"model": "tiny_cnn", "initializer": "glorot", "method": "madry"},
    "evaluations": {},
}


@pytest.fixture
def kept(tmp_path, seeded):
    network = models.build("tiny_cnn", (28, 28, 1), 10, initializer="glorot")
    return network, zoo.pack(network, RECORD, tmp_path), tmp_path


def test_a_network_comes_back_with_its_card(kept):
    network, name, folder = kept
    assert name == "digits_madry" and zoo.list_models(folder) == [name]
    loaded = zoo.load(name, folder)
    assert all(map(np.array_equal, loaded.get_weights(), network.get_weights()))
    assert loaded.card["bounds"] == [0, 1] and "CC BY" in loaded.card["licence"]


def test_a_card_has_no_scores_of_other_weights(kept):
    network, name, folder = kept
    measured = {"auto": {"weights_digest": fingerprint(network)}}
    assert zoo.pack(network, {**RECORD, "evaluations": measured}, folder) == name
    weights = network.get_weights()
    weights[0][0, 0, 0, 0] = np.nextafter(weights[0][0, 0, 0, 0], np.float32(1))
    network.set_weights(weights)
    with pytest.raises(UsageError, match="auto of digits_madry was measured of other weights"):
        zoo.pack(network, {**RECORD, "evaluations": measured}, folder)


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
        zoo.pack(network, {**RECORD, "method": "natural"}, folder)


def test_all_of_them_are_small_and_whole():
    assert sum(path.stat().st_size for path in zoo.FOLDER.glob("*.npz")) <= zoo.SIZE
    assert {path.stem for path in zoo.FOLDER.glob("*.npz")} == set(rar_tf.list_models())


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_shipped_network_is_the_one_that_its_card_measured(name):
    network = rar_tf.load(name)
    assert isinstance(network, keras.Model) and json.dumps(network.card)
    assert {each["weights_digest"] for each in network.card["evaluations"].values()} == {fingerprint(network)}
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
