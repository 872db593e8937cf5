"""Equalisation against OpenCV and against its rule worked by hand."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from rar_tf.data.equalize import equalize, equalize_batch

DATA = pathlib.Path(os.environ.get("RAR_TF_TEST_DATA", "../shared/data"))


def test_by_hand():
    # Levels 10 (twice), 20, 30: the lowest goes to 0, then 1 and 2 of the 2 others: 127.5 -> 128 (even), 255.
    image = np.array([[10, 20], [30, 10]], np.uint8).reshape(1, 2, 2, 1)
    assert equalize(image).ravel().tolist() == [0, 128, 255, 0]


def test_constant_channel_stays():
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    image[0, ..., 1] = 77
    assert (equalize(image)[0, ..., 1] == 77).all()


def test_chunks_and_tensorflow_give_the_same():
    images = np.random.default_rng(1).integers(0, 200, (7, 9, 5, 3), np.uint8)
    np.testing.assert_array_equal(equalize(images, chunk=3), equalize_batch(images).numpy())


def check_against_opencv(images):
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    theirs = np.stack(
        [
            np.stack(
                [cv2.equalizeHist(np.ascontiguousarray(image[..., c])) for c in range(image.shape[-1])],
                axis=-1,
            )
            for image in images
        ]
    )
    np.testing.assert_array_equal(equalize(images), theirs)


def test_equals_opencv_on_random_images():
    rng = np.random.default_rng(2)
    images = np.concatenate(
        [
            rng.integers(low, high, (20, 17, 23, 3)).astype(np.uint8)
            for low, high in [(0, 256), (0, 3), (200, 256), (17, 18)]
        ]
    )
    check_against_opencv(images)


def test_equals_opencv_on_real_traffic_signs():
    path = DATA / "gtsrb" / "test.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    check_against_opencv(np.load(path)["images"][:200])


def test_shape_is_known_in_a_pipeline_whatever_came_before():
    equalize_batch(tf.zeros([2, 5, 4, 3], tf.uint8))
    dataset = tf.data.Dataset.from_tensors(np.zeros([3, 8, 8, 1], np.uint8)).map(equalize_batch)
    assert dataset.element_spec.shape == (3, 8, 8, 1)
