"""Files that cannot be used say so in one line with their name."""

import io
import pathlib
import zipfile

import numpy as np
import pytest

from rar_tf import data
from rar_tf.data import npz
from rar_tf.errors import UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), np.uint8)
LABELS = np.arange(60) % 10


def write(folder, name="train", **arrays):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", **{"images": IMAGES, "labels": LABELS, **arrays})
    return folder / f"{name}.npz"


def read(path):
    return npz.read_split(path, (28, 28, 1), 10)


def fails(path, match):
    with pytest.raises(UsageError, match=match) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message


def test_good_file(tmp_path):
    split = read(write(tmp_path, labels=LABELS.astype(np.uint8)))
    np.testing.assert_array_equal(split.images, IMAGES)
    assert split.labels.dtype == np.int64 and split.images.dtype == np.uint8


def test_lzma_members(tmp_path):
    path = tmp_path / "train.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in (("images", IMAGES), ("labels", LABELS)):
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{name}.npy", buffer.getvalue())
    np.testing.assert_array_equal(read(path).images, IMAGES)
    path.write_bytes(path.read_bytes()[:-100])
    fails(path, "truncated, corrupt")


def test_missing(tmp_path):
    fails(tmp_path / "train.npz", "no such file")


@pytest.mark.parametrize("keep", [0, 10, 20_000, -30])
def test_truncated(tmp_path, keep):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    fails(path, "truncated, corrupt")


def test_flipped_bytes(tmp_path):
    path = write(tmp_path)
    content = bytearray(path.read_bytes())
    content[5_000:5_100] = bytes(100)
    path.write_bytes(content)
    fails(path, "truncated, corrupt")


def test_pickled_objects_are_refused(tmp_path):
    fails(write(tmp_path, labels=np.array([object()] * 60, dtype=object)), "without pickled objects")


def test_no_npz(tmp_path):
    with open(tmp_path / "train.npz", "wb") as file:
        np.save(file, IMAGES)
    fails(tmp_path / "train.npz", "single .npy")


def test_wrong_keys(tmp_path):
    np.savez(tmp_path / "train.npz", x=IMAGES, labels=LABELS)
    fails(tmp_path / "train.npz", r"no key images \(it has: x, labels\)")


@pytest.mark.parametrize(
    "arrays, match",
    [
        ({"images": IMAGES[:, :27]}, r"shape \(N, 28, 28, 1\), not \(60, 27, 28, 1\)"),
        ({"images": np.repeat(IMAGES, 3, axis=-1)}, "shape"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "shape"),
        ({"labels": LABELS[:59]}, r"labels must have shape \(60,\)"),
        ({"labels": np.eye(10)[LABELS]}, "labels must have shape"),
        ({"labels": LABELS.astype(np.float32)}, "integers, not float32"),
        ({"labels": LABELS + 1}, r"labels out of range 0 ... 9: they go from 1 to 10"),
        ({"labels": LABELS - 1}, "they go from -1 to 8"),
        ({"images": IMAGES.astype(np.int32)}, "uint8, not int32"),
        ({"images": IMAGES / np.float32(255)}, "uint8, not float32"),
        ({"images": np.where(IMAGES > 250, np.nan, IMAGES)}, "NaN"),
        ({"images": IMAGES * 2.0}, r"out of range \[0, 255\]"),
    ],
)
def test_wrong_content(tmp_path, arrays, match):
    fails(write(tmp_path, **arrays), match)


def test_channels_first_are_seen_where_the_shape_is_anything(tmp_path):
    write(tmp_path, images=np.moveaxis(np.repeat(IMAGES, 3, axis=-1), 3, 1))
    with pytest.raises(UsageError, match="channels first"):
        data.get(str(tmp_path / "train.npz"), bounds=(0, 1))


def test_grey_images_without_a_channel_axis(tmp_path):
    np.testing.assert_array_equal(read(write(tmp_path, images=IMAGES[..., 0])).images, IMAGES)


def test_load_reads_valid_where_it_exists_and_splits_otherwise(tmp_path):
    for name in ("train", "test"):
        write(tmp_path / "mnist", name)
    record = data.get("mnist")
    splits = data.load(record, tmp_path)
    np.testing.assert_array_equal(splits.valid.images, IMAGES[:5])  # the first twelfth: 5,000 of 60,000
    np.testing.assert_array_equal(splits.train.images, IMAGES[5:])
    write(tmp_path / "mnist", "valid", images=IMAGES[::-1])
    splits = data.load(record, tmp_path)
    assert splits.train.count == 60 and (splits.valid.images == IMAGES[::-1]).all()


def test_load_needs_both_files_and_all_classes(tmp_path):
    write(tmp_path / "mnist", "train", labels=LABELS % 9)
    with pytest.raises(UsageError, match="mnist/test.npz: no such file"):
        data.load(data.get("mnist"), tmp_path)
    write(tmp_path / "mnist", "test")
    with pytest.raises(UsageError, match="train.npz: 9 of 10 classes: no image of class 9"):
        data.load(data.get("mnist"), tmp_path)
    assert data.load(data.get("mnist"), tmp_path, allow_partial=True).train.count == 55


def test_stratified_validation_is_seeded(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (200, 32, 32, 3), np.uint8)
    for name in ("train", "test"):
        write(tmp_path / "cifar10", name, images=images, labels=np.arange(200) % 10)
    record = data.get("cifar10")
    splits = data.load(record, tmp_path, seed=1)
    assert splits.valid.count == 20 and (np.bincount(splits.valid.labels) == 2).all()
    every = np.concatenate([splits.train.images, splits.valid.images])
    assert len(np.unique(every.reshape(200, -1), axis=0)) == 200
    assert (data.load(record, tmp_path, seed=1).valid.images == splits.valid.images).all()
    assert (data.load(record, tmp_path, seed=2).valid.images != splits.valid.images).any()


def test_the_environment_names_the_data_directory(tmp_path, monkeypatch):
    for name in ("train", "test"):
        write(tmp_path / "fashion_mnist", name)
    monkeypatch.setenv("RAR_TF_DATA_DIR", str(tmp_path))
    assert data.load(data.get("fashion_mnist")).test.count == 60


@pytest.mark.parametrize("name", ["mnist", "gtsrb", "flower"])
def test_absent_data_without_network(tmp_path, monkeypatch, name):
    monkeypatch.setattr("rar_tf.data.tfds.reachable", lambda host: False)
    with pytest.raises(UsageError, match=f"{name} is not in .*cannot be reached.*train.npz and test.npz") as caught:
        data.load(data.get(name), tmp_path / "none")
    assert "\n" not in str(caught.value) and not (tmp_path / "none").exists()
    if name == "gtsrb":
        assert "GTSRB_Final_Training_Images.zip" in str(caught.value)
