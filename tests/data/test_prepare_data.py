"""Offline preparation: contents, interruption, bad input, the script and its preview."""

import json

import numpy as np
import pytest
from PIL import Image

from rar_tf import data
from rar_tf.data import datasets, prepare
from rar_tf.errors import UsageError

import forks
from runner import assert_one_line, command, stop_when, succeeded

FILES = ("train.npz", "valid.npz", "test.npz", "prepared.json")


def make_splits(size=8, classes=3):
    rng = np.random.default_rng(0)

    def split(counts):
        labels = rng.permutation(np.repeat(np.arange(classes), counts))
        return data.Split(rng.integers(0, 256, (len(labels), size, size, 3), np.uint8), labels)

    return data.Splits(split([5, 20, 40]), split([2, 2, 2]), split([3, 3, 3]))


RECORD = data.Record("toy", (8, 8, 3), 3, (0.0, 255.0), equalize=True)


def contents(folder):
    return {name: (folder / "toy" / name).read_bytes() for name in FILES}


def test_originals_first_and_unchanged_then_augmented_copies(tmp_path):
    splits = make_splits()
    summary = prepare.prepare(RECORD, splits, tmp_path, examples_per_class=30, seed=1)
    train = data.load(data.Record("toy", (8, 8, 3), 3, (0.0, 255.0)), tmp_path).train
    assert np.bincount(train.labels).tolist() == [30, 30, 30] and summary["images"]["train"] == 90
    for label, count in enumerate([5, 20, 30]):
        images, originals = (
            train.images[train.labels == label],
            splits.train.images[splits.train.labels == label],
        )
        if count < 30:
            np.testing.assert_array_equal(images[:count], originals)
            assert all(
                (image != originals[place % count]).any() for place, image in enumerate(images) if place >= count
            )
        else:  # more than asked for: a choice of them
            every = {image.tobytes() for image in originals}
            assert len({image.tobytes() for image in images} & every) == 30
    for name, split in (("valid", splits.valid), ("test", splits.test)):
        with np.load(tmp_path / "toy" / f"{name}.npz") as file:
            np.testing.assert_array_equal(file["images"], split.images)
            np.testing.assert_array_equal(file["labels"], split.labels)
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == sorted(FILES)


def test_no_augmentation_writes_the_originals(tmp_path):
    splits = make_splits()
    prepare.prepare(RECORD, splits, tmp_path)
    with np.load(tmp_path / "toy" / "train.npz") as file:
        np.testing.assert_array_equal(file["images"], splits.train.images)


class Stop(Exception):
    pass


class Interrupting:
    """A progress bar that stops the work after some updates."""

    def __init__(self, after):
        self.after = after

    def __call__(self, done, total):
        self.done = done
        return self

    def update(self, count):
        self.after -= 1
        if self.after < 0:
            raise Stop

    def close(self):
        pass


def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_CHUNK_BYTES", 7 * 8 * 8 * 3)
    settings = {"examples_per_class": 50, "seed": 4}
    prepare.prepare(RECORD, make_splits(), tmp_path / "whole", **settings)
    starts = []
    for after in (4, 6, 100):
        bar = Interrupting(after)
        try:
            prepare.prepare(RECORD, make_splits(), tmp_path / "parts", progress=bar, **settings)
        except Stop:
            assert not (tmp_path / "parts" / "toy" / "train.npz").exists()
            with open(tmp_path / "parts" / "toy" / ".unfinished" / "images.raw", "ab") as file:
                file.write(b"half a row")
        starts.append(bar.done)
    assert starts[0] == 0 < starts[1] < starts[2]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_other_settings_do_not_go_on_with_the_old_work(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_CHUNK_BYTES", 7 * 8 * 8 * 3)
    with pytest.raises(Stop):
        prepare.prepare(RECORD, make_splits(), tmp_path / "a", examples_per_class=50, progress=Interrupting(4))
    bar = Interrupting(100)
    prepare.prepare(RECORD, make_splits(), tmp_path / "a", examples_per_class=50, seed=1, progress=bar)
    assert bar.done == 0
    prepare.prepare(RECORD, make_splits(), tmp_path / "b", examples_per_class=50, seed=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_finished_work_is_not_done_again(tmp_path):
    prepare.prepare(RECORD, make_splits(), tmp_path, examples_per_class=20)
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "toy").iterdir()}
    prepare.prepare(RECORD, make_splits(), tmp_path, examples_per_class=20, progress=Interrupting(0))
    assert times == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "toy").iterdir()}


def test_original_files_are_not_overwritten(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "train.npz").write_bytes(b"precious")
    with pytest.raises(UsageError, match="train.npz is not a file of this script"):
        prepare.prepare(RECORD, make_splits(), tmp_path, examples_per_class=20)
    assert (tmp_path / "toy" / "train.npz").read_bytes() == b"precious"


def test_wrong_settings(tmp_path):
    with pytest.raises(UsageError, match="examples_per_class must not be negative, got -1"):
        prepare.prepare(RECORD, make_splits(), tmp_path, examples_per_class=-1)
    digits = data.load(data.get("digits"))
    with pytest.raises(UsageError, match="only uint8"):
        prepare.prepare(data.get("digits"), digits, tmp_path, examples_per_class=200)
    assert not any(tmp_path.iterdir())


# The script


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A Flower .npz of random images, large enough that writing it takes a while."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    for name, count in (("train", 34), ("test", 17)):
        np.savez(
            folder / f"{name}.npz",
            images=rng.integers(0, 256, (count, 128, 128, 3), np.uint8),
            labels=np.arange(count) % 17,
        )
    return folder


@pytest.mark.slow
def test_script_killed_and_started_again(flowers, tmp_path):
    record = data.get("flower")
    prepare.prepare(record, datasets.read_source(record, flowers), tmp_path / "whole", examples_per_class=30)
    arguments = ["--dataset=flower", f"--source_dir={flowers}", "--examples_per_class=30", "--preview"]
    arguments += [f"--output_dir={tmp_path / 'parts'}"]
    raw = tmp_path / "parts" / "flower" / ".unfinished" / "images.raw"
    stop_when(lambda: raw.exists() and raw.stat().st_size > 5_000_000, command("prepare_data", *arguments))
    assert raw.exists() and not (tmp_path / "parts" / "flower" / "train.npz").exists()
    printed = succeeded(command("prepare_data", *arguments))
    assert "train.npz: 510 images" in printed and "preview.png" in printed
    for name in ("train.npz", "test.npz", "prepared.json"):
        one, other = (tmp_path / part / "flower" / name for part in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes(), name
    summary = json.loads((tmp_path / "parts" / "flower" / "prepared.json").read_text())
    assert summary["images"] == {"train": 510, "test": 17}
    with Image.open(tmp_path / "parts" / "flower" / "preview.png") as image:
        assert image.width > 600 and np.asarray(image.convert("L")).std() > 10


@pytest.mark.parametrize(
    "arguments, match",
    [
        (["--dataset=gtsrb"], "no GTSRB training images"),
        (["--dataset=flower", "--official_split=4"], "official_split"),
        (["--source_dir=x"], "dataset"),
    ],
)
def test_script_errors_are_one_line(tmp_path, arguments, match):
    (tmp_path / "empty").mkdir()
    folders = f"--output_dir={tmp_path / 'out'}", f"--source_dir={tmp_path / 'empty'}"
    assert_one_line(forks.script("prepare_data", *folders, *arguments), match)
    assert not (tmp_path / "out").exists()
