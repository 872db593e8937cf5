"""Records, the digits, pixel ranges, held-out rows, and own images."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

from rar_tf import data
from rar_tf.data.splits import holdout
from rar_tf.errors import UsageError

DATA = pathlib.Path(os.environ.get("RAR_TF_TEST_DATA", "../shared/data"))


def test_unknown_name():
    with pytest.raises(UsageError, match="unknown data set 'imagenot'; known: digits, mnist, fashion_mnist, gtsrb"):
        data.get("imagenot")


def test_settings_of_a_known_record():
    assert data.get("gtsrb").equalize and not data.get("gtsrb", equalize=False).equalize
    assert data.get("gtsrb").bounds == (0, 255) and data.get("cifar10").bounds == (0, 1)
    assert data.get("mnist", bounds=[0, 1], image_size=[28, 28]) == data.get("mnist")
    with pytest.raises(UsageError, match="pixel range of mnist"):
        data.get("mnist", bounds=(0, 255))
    with pytest.raises(UsageError, match="image size of mnist"):
        data.get("mnist", image_size=(32, 32))


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)])
def test_pixels_fill_the_bounds(bounds):
    record = data.Record("toy", (16, 16, 1), 2, bounds)
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    pixels = data.to_pixels(record, images)
    assert pixels.dtype == np.float32 and pixels.min() == bounds[0] and pixels.max() == bounds[1]
    np.testing.assert_array_equal(pixels, data.to_pixels(record, tf.constant(images)).numpy())
    np.testing.assert_allclose(data.to_pixels(record, images / np.float32(255)), pixels, atol=1e-5 * bounds[1])
    if bounds == (0.0, 255.0):
        np.testing.assert_array_equal(pixels.astype(np.uint8), images)


def test_equalisation_is_the_records():
    images = np.random.default_rng(0).integers(0, 99, (2, 32, 32, 3), np.uint8)
    assert data.to_pixels(data.get("gtsrb"), images).max() == 255
    np.testing.assert_array_equal(data.to_pixels(data.get("gtsrb", equalize=False), images), images)


def test_digits():
    splits = data.load(data.get("digits"))
    assert [split.count for split in splits] == [1437, 0, 360]
    assert splits.train.images.shape[1:] == (28, 28, 1) and splits.train.images.dtype == np.float32
    assert splits.train.images.min() == 0 and splits.train.images.max() == 1
    total = np.bincount(load_digits().target)
    np.testing.assert_allclose(np.bincount(splits.test.labels), total * 360 / 1797, atol=1)
    np.testing.assert_array_equal(np.bincount(splits.test.labels) + np.bincount(splits.train.labels), total)
    # Bilinear with half-pixel centres: pixel 14 lies at 14.5 * 8 / 28 - 0.5 = 3.643 of the 8x8 original.
    original = load_digits().images / 16
    place, part = 3, 14.5 * 8 / 28 - 0.5 - 3
    rows = (1 - part) * original[:, place] + part * original[:, place + 1]
    expected = (1 - part) * rows[:, place] + part * rows[:, place + 1]
    ours = np.concatenate([splits.train.images, splits.test.images])[:, 14, 14, 0]
    np.testing.assert_allclose(np.sort(ours), np.sort(expected), atol=1e-6)
    np.testing.assert_array_equal(data.load(data.get("digits"), seed=5).test.labels, splits.test.labels)


def test_holdout_takes_whole_groups_in_proportion():
    labels = np.repeat([0, 0, 1, 1, 1, 1, 1, 1, 2, 2], 30)
    groups = np.repeat(np.arange(10), 30)
    held = holdout(labels, 4, seed=0, groups=groups)
    assert {len(set(held[groups == group])) for group in range(10)} == {1}
    assert [len(set(groups[held & (labels == label)])) for label in range(3)] in ([1, 2, 1],)
    assert any((holdout(labels, 4, seed, groups) != held).any() for seed in range(1, 5))


def test_holdout_leaves_something_of_each_class():
    labels = np.array([0, 1, 1, 1])
    assert holdout(labels, 4, seed=0).tolist().count(True) == 2 and not holdout(labels, 4, seed=0)[0]


@pytest.mark.parametrize(
    "name, counts",
    [
        ("mnist", (55_000, 5_000, 10_000)),
        ("fashion_mnist", (55_000, 5_000, 10_000)),
        ("gtsrb", (9_403, 1_045, 5_000)),
        ("flower", (1_224, 0, 136)),
        ("cifar10", (5_400, 600, 2_000)),
    ],
)
def test_real_data(name, counts):
    if not (DATA / name / "train.npz").exists():
        pytest.skip(f"no {DATA / name}")
    record = data.get(name)
    splits = data.load(record, DATA)
    assert tuple(split.count for split in splits) == counts
    assert splits.train.images.shape[1:] == record.image_shape
    images, labels = next(iter(data.batches(record, splits.train, 16, seed=0, steps=1, augment=record.augment)))
    assert images.shape == (16, *record.image_shape) and labels.dtype == tf.int64
    assert record.bounds[0] <= images.numpy().min() and images.numpy().max() <= record.bounds[1]


# Own images


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("apple", 60), ("pear", 180)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(10):
            image = np.clip(rng.normal(level, 9, (12, 10, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / "own" / name / f"{number}.png")
    return tmp_path / "own"


def test_folder_with_a_subfolder_a_class(folder):
    record = data.get(str(folder), bounds=(-1, 1))
    assert record.image_shape == (12, 10, 3) and record.num_classes == 2 and record.bounds == (-1, 1)
    splits = data.load(record, seed=3)
    assert [split.count for split in splits] == [16, 2, 2]
    means = np.concatenate([split.images for split in splits]).mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(means > 120, np.concatenate([split.labels for split in splits]) == 1)
    resized = data.get(str(folder), bounds=(0, 1), image_size=[6, 5])
    assert data.load(resized).train.images.shape == (16, 6, 5, 3)


def test_folder_with_train_and_test(folder, tmp_path):
    for split in ("train", "test"):
        for name in ("apple", "pear"):
            (tmp_path / "both" / split / name).mkdir(parents=True)
            for file in sorted((folder / name).iterdir())[: 6 if split == "train" else 3]:
                (tmp_path / "both" / split / name / file.name).write_bytes(file.read_bytes())
    splits = data.load(data.get(str(tmp_path / "both"), bounds=(0, 1)))
    assert [split.count for split in splits] == [11, 1, 6]  # a tenth of 12 held out


def test_npz_of_floats(tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (40, 6, 6, 2)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(40) % 4)
    record = data.get(str(tmp_path / "mine.npz"), bounds=(-1, 1))
    assert (record.name, record.image_shape, record.num_classes) == ("mine", (6, 6, 2), 4)
    splits = data.load(record)
    pixels = np.concatenate([data.to_pixels(record, split.images) for split in splits])
    np.testing.assert_allclose(np.sort(pixels.ravel()), np.sort(images.ravel()), atol=1e-6)
    for bounds, match in (((0, 1), "out of range"), (None, "--pixel_range"), ((1, 0), "--pixel_range")):
        with pytest.raises(UsageError, match=match):
            data.get(str(tmp_path / "mine.npz"), bounds=bounds)
    images[3, 0, 0, 0] = np.nan
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(40) % 4)
    with pytest.raises(UsageError, match="mine.npz.*NaN"):
        data.get(str(tmp_path / "mine.npz"), bounds=(-1, 1))


def test_mistakes_in_own_folders(folder, tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        data.get(str(tmp_path / "nowhere/at/all"), bounds=(0, 1))
    with pytest.raises(UsageError, match="at least two, and has 0"):
        data.get(str(folder / "apple"), bounds=(0, 1))
    Image.new("RGB", (9, 9)).save(folder / "pear" / "z.png")
    with pytest.raises(UsageError, match=r"z.png: this image is \(9, 9\)"):
        data.load(data.get(str(folder), bounds=(0, 1)))
    (folder / "pear" / "z.png").write_bytes((folder / "pear" / "0.png").read_bytes()[:90])
    with pytest.raises(UsageError, match="z.png: truncated or no image"):
        data.load(data.get(str(folder), bounds=(0, 1)))
    with pytest.raises(UsageError, match="--image_size=HEIGHT,WIDTH"):
        data.get(str(folder), bounds=(0, 1), image_size=[6])
    (folder / "quince").mkdir()
    with pytest.raises(UsageError, match="quince: a class folder without an image"):
        data.get(str(folder), bounds=(0, 1))


def test_tfds_name_that_is_none():
    with pytest.raises(UsageError, match="cannot build 'no_such_thing'"):
        data.get("tfds:no_such_thing", bounds=(0, 1))


def test_tfds_record_comes_from_its_features():
    record = data.get("tfds:mnist", bounds=(0, 1))
    assert record.image_shape == (28, 28, 1) and record.num_classes == 10
