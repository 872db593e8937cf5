"""Images read when they are asked for: the same batches as from memory, from folders and record files."""

import errno
import os
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rar_tf import data
from rar_tf.data import pipeline, record_files
from rar_tf.errors import UsageError

from make_images import make


def source(count=40, size=12, classes=4):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 3), np.uint8), np.arange(count) % classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "own"
    make(*source(), path, 40, size=16)
    return path


def encode(folder):
    """Serialised examples of a folder's images, in the order it is read in, as tensorflow-datasets writes them."""
    paths = sorted(folder.glob("*/*.jpg"))
    for path in (paths[i] for i in np.random.default_rng(len(paths)).permutation(len(paths))):
        image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[path.read_bytes()]))
        label = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(path.parent.name)]))
        features = tf.train.Features(feature={"image": image, "label": label})
        yield tf.train.Example(features=features).SerializeToString()


TWO = ("own-train.tfrecord-00000-of-00002", "own-train.tfrecord-00001-of-00002")


def write_tfrecords(folder, target, names=TWO, alternate=False):
    target.mkdir(exist_ok=True)
    writers = [tf.io.TFRecordWriter(str(target / name)) for name in names]
    for number, example in enumerate(encode(folder)):
        file = number % len(writers) if alternate else number * len(writers) // 40
        writers[file].write(example)
    for writer in writers:
        writer.close()
    return target


def write_array_records(folder, target):
    module = pytest.importorskip("array_record.python.array_record_module")
    target.mkdir(exist_ok=True)
    writer = module.ArrayRecordWriter(str(target / "own-train.array_record-00000-of-00001"), "group_size:1")
    for example in encode(folder):
        writer.write(example)
    writer.close()
    return target


def both(path, **settings):
    """The record and its splits, held in memory and read when asked for."""
    record = data.get(str(path), bounds=(0, 1), **settings)
    return record, data.load(record, in_memory=1), data.load(record, in_memory=0)


def batches(record, split, **settings):
    found = data.batches(record, split, 8, seed=3, steps=9, **settings)
    return [(images.numpy(), labels.numpy()) for images, labels in found]


def same(one, other):
    return all(np.array_equal(a, b) for x, y in zip(one, other) for a, b in zip(x, y))


@pytest.mark.parametrize("settings", [{}, {"image_size": (8, 10)}])
def test_a_folder_gives_the_same_batches_from_memory_and_from_its_files(folder, settings):
    record, held, streamed = both(folder, **settings)
    for one, other in zip(held, streamed):
        assert isinstance(one.images, np.ndarray) and isinstance(other.images, data.Stored)
        assert one.images.shape == other.images.shape and one.images.nbytes == other.images.nbytes
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
    for augment in (None, "crop_flip", "online"):
        whole = batches(record, held.train, augment=augment)
        assert same(whole, batches(record, streamed.train, augment=augment))
        assert same(whole[5:], batches(record, streamed.train, augment=augment, start_step=5)[:4])


def test_record_files_give_what_the_folder_gives(folder, tmp_path):
    _, expected, _ = both(folder)
    for write in (write_tfrecords, write_array_records):
        record, held, streamed = both(write(folder, tmp_path / write.__name__))
        assert record.image_shape == (16, 16, 3) and record.num_classes == 4
        for one, two, three in zip(expected, held, streamed):
            np.testing.assert_array_equal(one.images, two.images)
            np.testing.assert_array_equal(one.images, three.images)
            np.testing.assert_array_equal(one.labels, three.labels)


def test_files_are_listed_once(folder, tmp_path, monkeypatch):
    files = record_files.record_files(write_tfrecords(folder, tmp_path / "records"))["train"]
    first = record_files.read_examples(files, None)
    monkeypatch.setattr(record_files.TFRecords, "scan", None)
    again = record_files.read_examples(files, None)
    np.testing.assert_array_equal(first.images, again.images)
    monkeypatch.undo()
    os.utime(files[0], ns=(0, 0))  # a file that has changed is listed anew
    monkeypatch.setattr(record_files.TFRecords, "scan", lambda records: iter(()))
    with pytest.raises(UsageError, match="no records"):
        record_files.read_examples(files, None)


def test_files_in_a_folder_that_may_not_be_written_are_read_all_the_same(folder, tmp_path, monkeypatch):
    files = record_files.record_files(write_tfrecords(folder, tmp_path / "records"))["train"]

    def refused(*_, **arrays):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(np, "savez", refused)
    assert len(record_files.read_examples(files, None).labels) == 40
    assert not list((tmp_path / "records").glob(".rar_tf_index_*"))


def test_splits_of_record_files_by_their_names(folder, tmp_path):
    # Of a data set "train arrays": no ArrayRecord, and not all of train.
    names = ("train_arrays-train-00000-of-00001.tfrecord", "train_arrays-validation.tfrecord")
    record, _, streamed = both(write_tfrecords(folder, tmp_path / "a", names, alternate=True))
    assert [split.count for split in streamed] == [18, 2, 20]  # what is called validation is tested on
    (tmp_path / "a" / names[1]).rename(tmp_path / "a" / "test-00000-of-00001")
    assert [split.count for split in data.load(record, in_memory=0)] == [18, 2, 20]


def test_mistakes_in_record_files(folder, tmp_path):
    path = write_tfrecords(folder, tmp_path / "cut", ("train.tfrecord",)) / "train.tfrecord"
    content = path.read_bytes()
    for wrong, match in (
        (content[:-200], "train.tfrecord: truncated"),
        (b"no records at all, whatever", "train.tfrecord: truncated, or no TFRecord"),
        (b"\x1f\x8b" + content, "compressed"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(UsageError, match=match):
            both(tmp_path / "cut")
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.train.Example().SerializeToString() or b"\x0a\x00")
    with pytest.raises(UsageError, match="record 0: needs the features image and label or image/encoded"):
        both(tmp_path / "cut")
    path.rename(path.with_name("test.tfrecord"))
    with pytest.raises(UsageError, match="no record files of training images"):
        both(tmp_path / "cut")


def test_four_workers_read_each_image_once_an_epoch(folder):
    record, _, streamed = both(folder)
    rows, split = [], streamed.train
    numbered = data.Stored(
        lambda number: np.full((16, 16, 3), number, np.uint8), str, (16, 16, 3), split.images.numbers
    )
    for worker in range(4):
        parts = data.batches(record, data.Split(numbered, split.labels), 8, seed=3, steps=4, shard=(worker, 4))
        rows.append(np.concatenate([np.round(255 * images.numpy()[:, 0, 0, 0]) for images, _ in parts]))
    assert all(len(part) == 8 for part in rows)
    assert len(np.unique(np.concatenate(rows))) == split.count == 32


def test_only_what_is_asked_for_is_read():
    read = []
    images = data.Stored(lambda number: read.append(number) or np.zeros((2, 2, 1), np.uint8), str, (2, 2, 1), range(9))
    assert images.take(np.arange(9) % 2 == 1)[1:3].shape == (2, 2, 2, 1) and read == [3, 5]
    assert images[4].shape == (2, 2, 1) and read == [3, 5, 4] and len(list(images)) == len(images) == 9


def test_a_broken_image_ends_a_pipeline_with_its_name(folder, tmp_path):
    make(*source(), tmp_path / "own", 40, size=16)
    record = data.get(str(tmp_path / "own"), bounds=(0, 1))
    split = data.load(record, in_memory=0).train
    broken = sorted((tmp_path / "own").glob("*/*.jpg"))[split.images.numbers[0]]
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UsageError, match=f"{broken.name}: truncated"):
        data.load(record)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        batches(record, split)
    assert f"{broken.name}: truncated" in str(pipeline.reading_error(caught.value))
    assert pipeline.reading_error(tf.errors.InvalidArgumentError(None, None, "another error")) is None
    Image.new("RGB", (9, 9)).save(broken)
    with pytest.raises(UsageError, match=rf"{broken.name}: this image is \(9, 9\)"):
        _ = split.images[:]


def test_waiting_is_the_time_that_batches_are_late():
    def batches(seconds):
        slow = tf.data.Dataset.range(6).map(lambda i: tf.numpy_function(lambda i: pause(i, seconds), [i], tf.int64))
        waiting = pipeline.Waiting()
        for element in waiting.measured(slow.prefetch(2)):
            assert element.dtype == tf.int64
            tf.timestamp()
            event.wait(0.05)  # a step of training
        return waiting.seconds

    event = threading.Event()

    def pause(number, seconds):
        event.wait(seconds)
        return number

    assert batches(0.0) < 0.1
    # Each batch takes 0.15 s, of which a step covers 0.05 s; the first is waited for in full.
    assert 0.15 + 5 * 0.1 - 0.1 < batches(0.15) < 0.15 + 5 * 0.1 + 0.3
