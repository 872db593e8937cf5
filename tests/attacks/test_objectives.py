"""Every objective of maps against its formula in numpy, so that a wrong sign or weight is seen without an attack."""

import types

import numpy as np
import pytest
import tensorflow as tf

from rar_tf.attacks import OBJECTIVES
from rar_tf.attacks.objectives import Clean

B, H, W, K = 2, 4, 5, 6
CLEAN, SURROGATE, VALUES = np.random.default_rng(0).random((3, B, H * W)).astype(np.float32)
ATTACK = types.SimpleNamespace(k=K, sharpness=2.0, pairs=64, seed=3, region=None, reference=False)


def value(name, **changed):
    attack = types.SimpleNamespace(**{**vars(ATTACK), **changed})
    images = tf.zeros([B, H, W, 1])
    clean = Clean(images, tf.zeros([B], tf.int64), tf.constant(CLEAN), tf.constant(SURROGATE))
    return OBJECTIVES[name](attack, clean)(images, tf.constant(VALUES)).numpy()


def center(maps):
    grid = maps.reshape(B, H, W) / maps.sum(axis=1)[:, None, None]
    return np.stack([grid.sum(axis=2) @ np.arange(H), grid.sum(axis=1) @ np.arange(W)], axis=1)


def discordance(weights=lambda left, right: 1.0):
    rng = np.random.default_rng((ATTACK.seed, H * W))
    left = rng.integers(0, H * W, ATTACK.pairs)
    right = (left + rng.integers(1, H * W, ATTACK.pairs)) % (H * W)
    change = (VALUES[:, left] - VALUES[:, right]) / CLEAN.mean(axis=1, keepdims=True)
    order = np.sign(CLEAN[:, left] - CLEAN[:, right]) * weights(left, right)
    return -np.sum(order * np.tanh(ATTACK.sharpness * change), axis=1)


def test_top_k():
    largest = np.argsort(CLEAN, axis=1)[:, -K:]
    np.testing.assert_allclose(value("topk"), -np.take_along_axis(VALUES, largest, 1).sum(axis=1), rtol=1e-6)


def test_mass_center():
    moved = np.square(center(VALUES) - center(CLEAN)).sum(axis=1)
    np.testing.assert_allclose(value("mass_center"), moved, rtol=1e-4)
    moved = np.square(center(VALUES) - np.trunc(center(SURROGATE))).sum(axis=1)
    np.testing.assert_allclose(value("mass_center", reference=True), moved, rtol=1e-4)


def test_kendall_and_spearman():
    np.testing.assert_allclose(value("kendall"), discordance(), rtol=1e-4)
    ranks = CLEAN.argsort(axis=1).argsort(axis=1) / (H * W)
    weighted = discordance(lambda left, right: np.abs(ranks[:, left] - ranks[:, right]))
    np.testing.assert_allclose(value("spearman"), weighted, rtol=1e-4)


def test_cosine_and_targets():
    def cosine(a, b):
        return np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=-1)

    np.testing.assert_allclose(value("cosine"), 1 - cosine(VALUES, CLEAN), rtol=1e-4)
    wanted = np.random.default_rng(1).random((H, W))
    np.testing.assert_allclose(value("target_map", region=wanted), cosine(VALUES, wanted.reshape(1, -1)), rtol=1e-4)
    quarter = VALUES.reshape(B, H, W)[:, H // 2 :, W // 2 :].sum(axis=(1, 2))
    np.testing.assert_allclose(value("target"), quarter, rtol=1e-5)


@pytest.mark.parametrize("name", ["topk", "topk_soft", "kendall", "kendall_support", "spearman", "cosine"])
def test_a_map_upside_down_is_worth_more_than_the_clean_one(name, monkeypatch):
    monkeypatch.setitem(globals(), "VALUES", CLEAN)
    same = value(name)
    monkeypatch.setitem(globals(), "VALUES", CLEAN.max() + CLEAN.min() - CLEAN)
    assert (value(name) > same).all()
