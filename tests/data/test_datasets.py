"""The chooser, the records and settings without TensorFlow, and a data set added as docs/data.md says."""

import importlib
import pathlib
import re
import sys
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from rar_tf import data
from rar_tf.data import builders, custom, datasets, prepare, records
from rar_tf.data.records import Record, Request
from rar_tf.data.settings import DataSettings
from rar_tf.data.splits import Split
from rar_tf.errors import UsageError, brief
from rar_tf.experiment.jobs import JobSettings

from runner import python, succeeded

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "data.md"


def test_records_and_settings_are_known_without_tensorflow():
    code = "import sys; from rar_tf.data import RECORDS, DataSettings; assert 'digits' in RECORDS; "
    code += "assert not {'tensorflow', 'keras', 'tensorflow_datasets'} & set(sys.modules)"
    succeeded(python("-c", code))


def test_public_names_are_there():
    assert {name for name in data.__all__ if getattr(data, name) is not None} == set(data.__all__) <= set(dir(data))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = data.nothing


def test_load_data_follows_the_settings(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(40) % 4)
    settings = DataSettings(dataset=str(tmp_path / "mine.npz"), pixel_range=(-1, 1), equalize=True, seed=3)
    record, splits = data.load_data(settings)
    assert record == data.get(settings.dataset, bounds=(-1, 1), equalize=True) and record.equalize
    expected = data.load(record, seed=3)
    assert all(np.array_equal(a.images, b.images) for a, b in zip(splits, expected))


@pytest.mark.parametrize(
    "values, match",
    [
        ({"augment": "often"}, "unknown augment 'often'"),
        ({"pixel_range": (1, 0)}, "pixel_range must be"),
        ({"image_size": (28,)}, "image_size must be height,width"),
        ({"image_size": (0, 28)}, "image_size must be height,width"),
    ],
)
def test_settings_that_cannot_be(values, match):
    with pytest.raises(UsageError, match=match):
        DataSettings(**values)


def test_test_images_that_are_held_out_are_the_same_for_every_seed(tmp_path):
    np.savez(
        tmp_path / "mine.npz",
        images=np.arange(40, dtype=np.uint8).repeat(36).reshape(40, 6, 6),
        labels=np.arange(40) % 2,
    )
    settings = DataSettings(dataset=str(tmp_path / "mine.npz"), pixel_range=(0, 1))
    runs = [data.load_data(settings.replace(seed=seed))[1] for seed in range(3)]
    shown = [[split.images[:, 0, 0, 0].tolist() for split in (run.train, run.valid, run.test)] for run in runs]
    assert shown[0][2] == shown[1][2] == shown[2][2] and len(shown[0][2]) == 4
    assert shown[0][1] != shown[1][1]  # validation images are a run's own
    for split in shown:
        assert sorted(sum(split, [])) == list(range(40))


def test_a_network_is_evaluated_on_the_images_that_its_run_held_out():
    given = {"dataset": "digits", "seed": 7}
    assert JobSettings.data(given, {"method": "madry"}).seed == 0
    assert JobSettings.data(given, {"method": "madry", "seed": 3}).seed == 3
    assert JobSettings.data(given, {}).seed == 7  # a file of the user's own, of which nobody knows


def class_folders(path, classes, values):
    for place, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for number, value in enumerate(values):
            Image.new("L", (6, 6), value + place).save(path / name / f"{number}.png")


def test_folders_of_splits_have_the_same_classes_and_validation_images_stand_for_test_images(tmp_path):
    def load():
        return data.load(data.get(str(tmp_path), bounds=(0, 1)))

    class_folders(tmp_path / "train", "abc", range(0, 200, 10))
    class_folders(tmp_path / "val", "ac", (5, 15))
    with pytest.raises(UsageError, match="train and valid do not have the same class folders: b"):
        load()
    class_folders(tmp_path / "val", "b", (5, 15))
    splits = load()
    assert (splits.test.count, splits.train.count + splits.valid.count) == (6, 60) and splits.valid.count
    class_folders(tmp_path / "test", "abc", (7,))
    splits = load()
    assert [split.count for split in splits] == [60, 6, 3]
    assert sorted(splits.test.labels.tolist()) == [0, 1, 2]
    (tmp_path / "validation").mkdir()
    with pytest.raises(UsageError, match="both val and validation"):
        load()


def test_the_first_images_of_class_folders_are_of_all_classes(tmp_path):
    class_folders(tmp_path / "train", "abcd", range(0, 200, 10))
    class_folders(tmp_path / "test", "abcd", range(5, 205, 10))
    splits = data.load(data.get(str(tmp_path), bounds=(0, 1)))
    assert set(splits.test.labels[:20].tolist()) == {0, 1, 2, 3}
    for label, image in zip(splits.test.labels, np.asarray(splits.test.images[:80])):
        assert (image[0, 0, 0] - 5) % 10 == label


@pytest.mark.parametrize(
    "theirs, counts",
    [("train validation test", [40, 10, 20]), ("train validation", [36, 4, 10]), ("train", [32, 4, 4])],
)
def test_the_splits_of_a_catalogue_s_data_set_are_its_own(monkeypatch, theirs, counts):
    sizes = {"train": 40, "validation": 10, "test": 20}
    found = {
        name: Split(np.zeros((sizes[name], 6, 6, 1), np.uint8), np.arange(sizes[name]) % 2) for name in theirs.split()
    }
    empty = Split(np.zeros((0, 6, 6, 1), np.uint8), np.zeros(0, np.int64))
    monkeypatch.setattr(custom.tfds, "find", lambda name, folder: None)
    monkeypatch.setattr(custom.tfds, "prepare", lambda *given: None)
    monkeypatch.setattr(custom.tfds, "read_split", lambda builder, name, record: found.get(name, empty))
    record = Record("own", (6, 6, 1), 2, (0.0, 1.0), validation=0.1, source="tfds:own")
    splits = custom.read(record, Request(folder=pathlib.Path(), seed=0))
    assert [split.count for split in splits] == counts


def test_images_of_a_catalogue_s_data_set_are_grey_or_coloured_levels(monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    def record(shape, dtype=np.uint8):
        image, label = tfds.features.Image(shape=shape, dtype=dtype), tfds.features.ClassLabel(num_classes=2)
        info = types.SimpleNamespace(features={"image": image, "label": label})
        monkeypatch.setattr(custom.tfds, "find", lambda name, folder: types.SimpleNamespace(info=info))
        return custom.record("tfds:own", (0, 1))

    for channels, read in ((1, 1), (3, 3), (4, 3)):  # without transparency, as image files are
        assert record((6, 5, channels)).image_shape == (6, 5, read)
    with pytest.raises(UsageError, match="of several sizes"):
        record((None, None, 3))
    with pytest.raises(UsageError, match="numbers of no known range"):
        record((6, 6, 1), np.float32)


def test_a_class_may_be_called_train(tmp_path):
    class_folders(tmp_path, ("bus", "train"), range(20))
    assert data.get(str(tmp_path), bounds=(0, 1)).num_classes == 2


def test_a_split_by_its_name_and_one_that_is_empty():
    _, splits = data.load_data(DataSettings(dataset="digits"))
    assert splits.named("train") is splits.train and splits.named("test") is splits.test
    with pytest.raises(UsageError, match="the data set has no valid images"):
        splits.named("valid")


def test_every_reader_can_be_found():
    for record in data.RECORDS.values():
        module, _, name = record.reader.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_official_splits_are_of_those_that_have_them():
    with pytest.raises(UsageError, match="official_split=1 is for flower only, not gtsrb"):
        datasets.read_source(data.get("gtsrb"), None, official_split=1)


def test_other_libraries_errors_in_one_line():
    assert brief(ValueError("two\n  lines")) == "two lines" and brief(EOFError()) == "EOFError"
    assert brief(ValueError("x" * 200)) == "x" * 120


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """The record of docs/data.md's example, and a folder with its archive."""
    section = DOCS.read_text(encoding="utf-8").split("## Adding a data set")[1].split("\n## ")[0]
    builder, line = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    promise = f"two files touched, {len(builder.splitlines())} lines and {len(line.splitlines())} line"
    assert promise in " ".join(section.split())
    (tmp_path / "builders").mkdir()
    (tmp_path / "builders" / "shapes.py").write_text(builder)
    monkeypatch.setattr(builders, "__path__", [*builders.__path__, str(tmp_path / "builders")])
    record = eval(line, vars(records))
    monkeypatch.setitem(records.RECORDS, record.name, record)
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "shapes"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "shapes.zip", "w") as archive:
        for number in range(40):
            path = tmp_path / f"{number % 2}_{number}.png"
            Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8)).save(path)
            archive.write(path, f"shapes/{path.name}")
    yield data.get("shapes"), folder
    sys.modules.pop("rar_tf.data.builders.shapes", None)


def same(one, other):
    return all(np.array_equal(a, b) for x, y in zip(one, other) for a, b in zip(x, y))


def test_a_new_data_set_is_a_builder_file_and_a_record(shapes, tmp_path, monkeypatch):
    record, folder = shapes
    splits = datasets.read_source(record, folder)
    assert [split.count for split in splits] == [36, 0, 4] and splits.train.images.shape[1:] == record.image_shape
    assert same(splits, datasets.read_source(record, folder.parent))
    assert same(splits, data.load(record, folder.parent))
    prepare.prepare(record, splits, tmp_path / "prepared", examples_per_class=20)
    assert data.load(record, tmp_path / "prepared").train.count == 40
    (folder / "shapes.zip").unlink()
    assert same(splits, data.load(record, folder.parent))  # kept decoded
    monkeypatch.setattr("rar_tf.data.tfds.reachable", lambda host: host != "shapes.invalid")
    with pytest.raises(UsageError, match="shapes.invalid cannot be reached.*official files there: shapes.zip of"):
        data.load(record, tmp_path / "empty")


def test_a_new_data_set_that_is_incomplete(shapes):
    record, folder = shapes
    with zipfile.ZipFile(folder / "shapes.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "shapes.zip", "w") as archive:
        for name, content in list(members.items())[:20]:
            archive.writestr(name, content if name != "shapes/0_0.png" else content[:50])
    with pytest.raises(UsageError, match="20 of 40 images .--allow_partial"):
        datasets.read_source(record, folder)
    with pytest.raises(UsageError, match="0_0.png: truncated or no image"):
        datasets.read_source(record, folder, allow_partial=True)
    splits = datasets.read_source(record, folder, allow_partial=True, skip_corrupt=True)
    assert sum(split.count for split in splits) == 19
    (folder / "shapes.zip").unlink()
    with pytest.raises(UsageError, match="no shapes; put there: shapes.zip of"):
        datasets.read_source(record, folder)
