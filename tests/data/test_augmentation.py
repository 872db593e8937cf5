"""Augmentation against scipy, the drawn parameters' distributions, and what stays unchanged."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from rar_tf.data import augmentation

SIZE = 32


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(0).random((6, SIZE, SIZE, 3))
    return (255 * ndimage.gaussian_filter(noise, (0, 1, 1, 0)) ** 1.5).astype(np.float32)


def resample(image, matrix, mode):
    """Interpolate image [H, W, C] linearly at matrix @ (x, y, 1)."""
    y, x = np.mgrid[:SIZE, :SIZE]
    u, v, w = np.einsum("ij,jhw->ihw", matrix, np.stack([x, y, np.ones_like(x)]).astype(float))
    channels = [
        ndimage.map_coordinates(channel, [v / w, u / w], order=1, mode=mode) for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, axis=-1)


def check(ours, theirs, margin):
    """Within one grey level on 99 % of the pixels away from the edges."""
    inside = np.s_[:, margin:-margin, margin:-margin]
    assert np.mean(np.abs(ours[inside] - theirs[inside]) <= 1.0) >= 0.99


def test_rotation(images):
    degrees = np.array([-15, -7.3, 0, 1, 8.8, 15], np.float32)
    ours = augmentation.rotate(tf.constant(images), tf.constant(degrees)).numpy()
    # scipy turns clockwise for positive angles with the row axis first; its centre is the image's too.
    theirs = np.stack(
        [
            ndimage.rotate(image, angle, axes=(0, 1), reshape=False, order=1, mode="nearest")
            for image, angle in zip(images, degrees)
        ]
    )
    check(ours, theirs, 1)
    np.testing.assert_allclose(ours[2], images[2], atol=1e-3)
    assert np.abs(ours[0] - images[0]).max() > 5


def test_rotation_is_counter_clockwise():
    image = np.zeros((1, SIZE, SIZE, 1), np.float32)
    image[0, 15:17, 28:30] = 255  # to the right of the centre
    turned = augmentation.rotate(tf.constant(image), tf.constant([15.0])).numpy()[0, ..., 0]
    assert ndimage.center_of_mass(turned)[0] < 14  # it goes up


def test_translation(images):
    shift = np.array([[2.5, -2.5], [0, 0], [1, 2], [-0.3, 0.7], [2.2, 0], [0, -1.1]], np.float32)
    ours = augmentation.translate(tf.constant(images), tf.constant(shift)).numpy()
    theirs = np.stack(
        [ndimage.shift(image, (y, x, 0), order=1, mode="grid-constant") for image, (x, y) in zip(images, shift)]
    )
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert (ours[2, :2] == 0).all() and (ours[2, :, :1] == 0).all()
    np.testing.assert_array_equal(ours[2, 2:, 1:], images[2, :-2, :-1])


def test_projection(images):
    corners = np.random.default_rng(1).uniform(-7.6, 7.6, (6, 4, 2)).astype(np.float32)
    corners[0] = 0
    ours = augmentation.project(tf.constant(images), tf.constant(corners)).numpy()
    square = np.array([[0, 0], [0, SIZE], [SIZE, SIZE], [SIZE, 0]], float)
    theirs = np.stack(
        [
            resample(image, direct_linear_transform(square + move, square), "nearest")
            for image, move in zip(images, corners)
        ]
    )
    check(ours, theirs, 1)
    np.testing.assert_allclose(ours[0], images[0], atol=1e-2)


def direct_linear_transform(source, target):
    """Projective map of four points by the null vector of eight homogeneous equations."""
    rows = []
    for (x, y), (u, v) in zip(source, target):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, -u], [0, 0, 0, x, y, 1, -v * x, -v * y, -v]]
    return np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)


def test_augment_is_the_three_in_order_and_truncated(images):
    pictures = images.astype(np.uint8)
    warp = augmentation.draw(3, 0, tf.range(6), SIZE)
    ours = augmentation.augment(tf.constant(pictures), warp).numpy()
    step = augmentation.rotate(tf.constant(pictures.astype(np.float32)), warp.degrees)
    step = augmentation.project(augmentation.translate(step, warp.shift), warp.corners).numpy()
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, np.floor(step + 1e-3).clip(0, 255))
    flat = np.full((6, SIZE, SIZE, 1), 200, np.uint8)
    assert set(np.unique(augmentation.augment(tf.constant(flat), warp).numpy()[:, 14:18, 14:18])) == {200}


def test_parameters_have_the_stated_distributions():
    warp = tf.function(augmentation.draw)(0, 0, tf.range(4000), 100)
    uniform = {"degrees": (warp.degrees, 15.0), "x": (warp.shift[:, 0], 2.5), "y": (warp.shift[:, 1], 2.5)}
    for name, (values, limit) in uniform.items():
        assert stats.kstest(values.numpy(), "uniform", (-limit, 2 * limit)).pvalue > 0.001, name
    # A corner's movement is 0.3 * 100 * 0.8 times a product of U(0, 1) and U(-1, 1).
    share = np.abs(warp.corners.numpy()).reshape(4000, 8) / 24
    for coordinate in share.T:
        assert stats.kstest(coordinate, lambda s: s * (1 - np.log(np.maximum(s, 1e-12)))).pvalue > 0.001
    assert share.max() <= 1 and np.abs(np.mean(warp.corners)) < 0.3
    # One reach an image: the eight movements of an image are of like size.
    assert stats.spearmanr(share[:, 0], share[:, 5]).statistic > 0.3


def test_draws_depend_on_seed_epoch_and_index_alone():
    whole = augmentation.draw(7, 2, tf.range(10), SIZE)
    part = augmentation.draw(7, tf.constant(2, tf.int64), tf.constant([8, 3]), SIZE)
    for one, other in zip(whole, part):
        np.testing.assert_array_equal(one.numpy()[[8, 3]], other.numpy())
    for other in (augmentation.draw(8, 2, tf.range(10), SIZE), augmentation.draw(7, 3, tf.range(10), SIZE)):
        assert (whole.degrees.numpy() != other.degrees.numpy()).all()
    assert len(np.unique(whole.degrees)) == 10


def test_crop_flip_shows_shifted_or_mirrored_originals():
    images = np.arange(1, 1 + 40 * 8 * 8, dtype=np.int32).reshape(40, 8, 8, 1)
    seen = augmentation.crop_flip(tf.constant(images), 0, 0, tf.range(40)).numpy()
    offsets, flips = set(), 0
    for image, result in zip(images, seen):
        padded = np.pad(image, [(4, 4), (4, 4), (0, 0)])
        found = [
            (y, x, flip)
            for y in range(9)
            for x in range(9)
            for flip in (1, -1)
            if (padded[y : y + 8, x : x + 8][:, ::flip] == result).all()
        ]
        assert len(found) == 1
        offsets.add(found[0][:2])
        flips += found[0][2] == -1
    assert 8 <= flips <= 32 and len(offsets) > 20


def test_resized_crop_shows_parts_of_the_stated_sizes():
    # Pixels are their own coordinates, from 0 to 1, so that corners say which part is shown.
    coordinates = np.stack(np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 7)), axis=-1).astype(np.float32)
    images = np.repeat(coordinates[None], 500, axis=0)
    seen = augmentation.resized_crop(tf.constant(images), 0, 0, tf.range(500)).numpy()
    assert seen.shape == images.shape and seen.min() >= 0 and seen.max() <= 1 + 1e-6
    width, height = seen[:, 0, -1, 0] - seen[:, 0, 0, 0], seen[:, -1, 0, 1] - seen[:, 0, 0, 1]
    np.testing.assert_allclose(seen[:, 0, 4, 0], (seen[:, 0, 0, 0] + seen[:, 0, -1, 0]) / 2, atol=1e-5)
    assert (height > 0).all() and 200 < (width < 0).sum() < 300
    area, ratio = np.abs(width) * height, np.abs(width) / height
    whole = (np.abs(width) < 0.999) & (height < 0.999)  # no side was cut
    assert ((area[whole] > 0.08 - 1e-4) & (ratio[whole] > 3 / 4 - 1e-3) & (ratio[whole] < 4 / 3 + 1e-3)).all()
    assert (
        area.min() < 0.12 and area.max() > 0.9 and stats.kstest(area[area < 0.5], "uniform", (0.08, 0.42)).pvalue > 0.01
    )
    grey = augmentation.resized_crop(tf.constant((255 * images).astype(np.uint8)), 0, 0, tf.range(500)).numpy()
    assert grey.dtype == np.uint8 and np.abs(grey - 255 * seen).max() <= 1.5  # both round, or cut, once


def test_balance_keeps_originals_and_labels():
    labels = np.array([0, 2, 0, 2, 2, 2, 2])
    plan = augmentation.balance(labels, 4, 3, seed=0)
    assert plan.labels.tolist() == [0, 0, 0, 2, 2, 2]
    np.testing.assert_array_equal(labels[plan.rows], plan.labels)
    assert plan.rows[:3].tolist() == [0, 2, 0] and plan.augmented.tolist() == [False, False, True] + 3 * [False]
    assert len(set(plan.rows[3:])) == 3 and set(plan.rows[3:]) <= {1, 3, 4, 5, 6}
