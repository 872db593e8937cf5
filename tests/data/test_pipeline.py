"""Batches are a function of (seed, step); examples come in file order."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import data
from rar_tf.data import augmentation, pipeline, prepare
from rar_tf.data.equalize import equalize
from rar_tf.errors import UsageError


def make_split(count=50, shape=(8, 8, 3), classes=4):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *shape), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)  # tells images apart
    return data.Split(images, np.arange(count) % classes)


def make_record(**changes):
    return data.Record(**{"name": "toy", "image_shape": (8, 8, 3), "num_classes": 4, "bounds": (0.0, 255.0), **changes})


def collect(dataset):
    return [(images.numpy(), labels.numpy()) for images, labels in dataset]


@pytest.mark.parametrize("augment", [None, "online", "crop_flip", "resized_crop"])
def test_a_batch_depends_on_seed_and_step_alone(augment):
    record, split = make_record(examples_per_class=20, equalize=True), make_split()
    settings = {"seed": 5, "augment": augment}
    whole = collect(data.batches(record, split, 8, steps=23, **settings))
    assert len(whole) == 23
    resumed = collect(data.batches(record, split, 8, start_step=13, steps=10, **settings))
    for (images, labels), (again, labels_again) in zip(whole[13:], resumed):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)
    other = collect(data.batches(record, split, 8, steps=3, **{**settings, "seed": 6}))
    assert any((one[0] != two[0]).any() for one, two in zip(whole, other))


def test_an_epoch_shows_each_image_once_and_orders_differ():
    split = make_split(48)
    seen = collect(data.batches(make_record(), split, 8, seed=0, steps=12))
    numbers = [np.concatenate([images[:, 0, 0, 0] for images, _ in part]).astype(int) for part in (seen[:6], seen[6:])]
    assert all(sorted(part) == list(range(48)) for part in numbers)
    assert (numbers[0] != numbers[1]).any()
    labels = np.concatenate([labels for _, labels in seen[:6]])
    np.testing.assert_array_equal(labels, numbers[0] % 4)


def test_an_epoch_leaves_the_incomplete_batch_out():
    seen = collect(data.batches(make_record(), make_split(50), 8, seed=0, steps=6))
    assert len({int(number) for images, _ in seen for number in images[:, 0, 0, 0]}) == 48


def test_orders_of_epochs_are_unrelated():
    # Fails with the cipher's default of 4 rounds: 0.5 and more.
    total = 55_000
    orders = [
        pipeline._permuted(tf.range(total, dtype=tf.int64), 3, tf.constant(epoch, tf.int64), total).numpy()
        for epoch in range(8)
    ]
    assert all(len(np.unique(order)) == total for order in orders[:2])
    assert np.abs(np.corrcoef(orders) - np.eye(8)).max() < 0.03
    # Nor may neighbours stay near one another.
    assert abs(np.corrcoef(orders[0][:-1], orders[0][1:])[0, 1]) < 0.03


def test_shards_are_slices_of_the_global_batch():
    record, split = make_record(examples_per_class=20), make_split()
    whole = collect(data.batches(record, split, 8, seed=1, steps=4, augment="online"))
    parts = [collect(data.batches(record, split, 8, seed=1, steps=4, augment="online", shard=(i, 2))) for i in (0, 1)]
    for step, (images, labels) in enumerate(whole):
        np.testing.assert_array_equal(images, np.concatenate([part[step][0] for part in parts]))
        np.testing.assert_array_equal(labels, np.concatenate([part[step][1] for part in parts]))


def test_online_augmentation_is_the_offline_one_in_epoch_0_and_fresh_later():
    record, split = make_record(examples_per_class=20), make_split()
    plan = augmentation.balance(split.labels, 4, 20, seed=9)
    offline = prepare.balanced_rows(split, plan, np.arange(80), prepare.augmenter((8, 8, 3), 9))
    np.testing.assert_array_equal(offline[~plan.augmented], split.images[plan.rows[~plan.augmented]])
    batches = collect(data.batches(record, split, 16, seed=9, steps=10, augment="online"))
    epochs = [np.concatenate([images for images, _ in batches[start : start + 5]]) for start in (0, 5)]
    orders = [pipeline._permuted(tf.range(80, dtype=tf.int64), 9, tf.constant(e, tf.int64), 80).numpy() for e in (0, 1)]
    assert np.abs(epochs[0] - offline[orders[0]]).max() <= 1  # rounding of differently sized batches
    changed = np.abs(epochs[1] - offline[orders[1]]).max(axis=(1, 2, 3)) > 1
    np.testing.assert_array_equal(changed, plan.augmented[orders[1]])


def test_equalisation_comes_after_augmentation():
    record, split = make_record(examples_per_class=20, equalize=True), make_split()
    raw = make_record(examples_per_class=20)
    ours = collect(data.batches(record, split, 16, seed=2, steps=3, augment="online"))
    plain = collect(data.batches(raw, split, 16, seed=2, steps=3, augment="online"))
    for (images, _), (before, _) in zip(ours, plain):
        np.testing.assert_array_equal(images, equalize(before.astype(np.uint8)))


def test_examples_in_file_order_with_the_last_batch():
    split = make_split(50)
    batches = collect(data.examples(make_record(), split, 21, batch_size=8))
    assert [len(labels) for _, labels in batches] == [8, 8, 5]
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), split.images[:21])
    assert sum(len(labels) for _, labels in collect(data.examples(make_record(), split))) == 50


def test_images_are_no_constants_of_the_graph():
    dataset = data.batches(make_record(), make_split(2000), 8, seed=0, steps=1)
    graph = (
        dataset._variant_tensor.op
        if not tf.executing_eagerly()
        else tf.raw_ops.DatasetToGraphV2(input_dataset=dataset._variant_tensor, external_state_policy=1)
    )
    assert len(graph.numpy()) < 2000 * 8 * 8 * 3 // 4


def test_wrong_settings():
    record, split = make_record(), make_split(10)
    with pytest.raises(UsageError, match="batch_size=11 is more than the 10 training images of toy"):
        data.batches(record, split, 11, seed=0)
    with pytest.raises(UsageError, match="multiple of the 3 workers"):
        data.batches(record, split, 8, seed=0, shard=(0, 3))
    with pytest.raises(UsageError, match="augment='on'"):
        data.batches(record, split, 8, seed=0, augment="on")
    with pytest.raises(UsageError, match="uint8"):
        data.batches(record, data.Split(split.images / np.float32(255), split.labels), 8, seed=0, augment="online")


def test_throughput_counts_images():
    assert data.throughput(data.batches(make_record(), make_split(), 8, seed=0, steps=30), seconds=0.05) > 0
