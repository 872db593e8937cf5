"""What attribution attacks climb: objectives of maps, one for each score that is reported, and the papers' own.

An objective is a function (attack, clean) -> function (perturbed images, their maps [B, D]) -> [B], to be made large;
`attack` is a `rar_tf.attacks.ifia.Ifia`, of which it reads k, sharpness, pairs, seed, region and reference.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rar_tf import similarity
from rar_tf.attacks import OBJECTIVES
from rar_tf.attributions import maps
from rar_tf.errors import UsageError


class Clean(NamedTuple):
    """What an objective may know of the unperturbed images: they, their labels, maps, and the surrogate's maps."""

    images: tf.Tensor
    labels: tf.Tensor
    maps: tf.Tensor
    surrogate_maps: tf.Tensor


def top_k(attack, clean):
    """Minus the sum over the k features with the largest clean values (Ghorbani et al. 2019)."""
    mask = maps.top_k_mask(clean.maps, attack.k)
    return lambda perturbed, values: -tf.reduce_sum(mask * values, axis=1)


def top_k_soft(attack, clean):
    """How many of the clean top k are below, and of the others above, the present k-th value, counted smoothly.

    Where `top_k` takes from the largest of the k as gladly as from the last, this one moves what decides the top-k
    intersection: σ(κ(s − t)/t) of each feature, t between the present k-th and (k+1)-th value, which is held fixed.
    """
    mask = maps.top_k_mask(clean.maps, attack.k)

    def objective(perturbed, values):
        if values.shape[1] is not None and attack.k >= values.shape[1]:
            return tf.zeros_like(values[:, 0])
        edge = tf.stop_gradient(tf.reduce_mean(tf.math.top_k(values, attack.k + 1).values[:, -2:], 1, keepdims=True))
        scale = tf.maximum(tf.abs(edge), 1e-6) / attack.sharpness
        return tf.reduce_sum((1 - 2 * mask) * tf.sigmoid((values - edge) / scale), axis=1)

    return objective


def mass_center(attack, clean):
    """The squared distance of the map's centre of mass from the clean one."""
    height, width, channels = clean.images.shape[1:]

    def center(values):
        grid = tf.reduce_sum(tf.reshape(tf.abs(values), [-1, height * width, values.shape[1] // (height * width)]), 2)
        total = tf.reduce_sum(grid, axis=1, keepdims=True)
        return maps.mass_center(height * width * tf.math.divide_no_nan(grid, total), height, width)

    origin = center(clean.surrogate_maps if attack.reference else clean.maps)
    if attack.reference:
        origin = tf.cast(tf.cast(origin, tf.int32), origin.dtype)
    return lambda perturbed, values: tf.reduce_sum(tf.square(center(values) - origin), axis=1)


def target_region(attack, clean):
    """The map's sum weighted by `attack.region`, a region of ones say; by default the lower right quarter."""
    height, width, channels = clean.images.shape[1:]
    quarter = np.zeros((height, width), np.float32)
    quarter[height // 2 :, width // 2 :] = 1
    weights = _wanted(attack, clean, quarter)
    return lambda perturbed, values: tf.reduce_sum(weights * values, axis=1)


def target_map(attack, clean):
    """The cosine with a map that is wanted, `attack.region` (after Dombrowski et al. 2019).

    Raises: UsageError where there is none.
    """
    if attack.region is None:
        raise UsageError("the objective target_map needs a map to go for: --ifia_target=FILE.npy")
    wanted = _wanted(attack, clean)[None]
    return lambda perturbed, values: similarity.cosine_similarity(values, tf.broadcast_to(wanted, tf.shape(values)))


def _wanted(attack, clean, default=None):
    """The target [H, W] as weights [D] of the maps' features, the same for every channel."""
    height, width = clean.images.shape[1:3]
    target = np.asarray(default if attack.region is None else attack.region)
    if target.shape != (height, width):
        raise UsageError(f"the target of the attack must be of shape {(height, width)}, got {target.shape}")
    return tf.constant(maps.by_feature(target, clean.maps.shape[1]))


def random_direction(attack, clean):
    """A random linear function of the image: without a gradient of maps the attack goes to a corner of the ball."""
    signs = tf.random.stateless_uniform(clean.images.shape[1:], [attack.seed, 1], -1.0, 1.0)
    return lambda perturbed, values: tf.reduce_sum(signs * perturbed, axis=[1, 2, 3])


def kendall(attack, clean):
    """Σ over seeded pairs of −sign(s₀ᵢ − s₀ⱼ)·tanh(κ(sᵢ − sⱼ)), a smooth stand-in for Kendall's rank correlation."""
    left, right = _pairs(attack, clean.maps.shape[1])
    return _discordance(
        attack, clean, lambda values: (tf.gather(values, left, axis=1), tf.gather(values, right, axis=1))
    )


def spearman(attack, clean):
    """As `kendall`, each pair weighted by the distance of its clean ranks, as Spearman's correlation weighs it."""
    left, right = _pairs(attack, clean.maps.shape[1])
    ranks = tf.cast(tf.argsort(tf.argsort(clean.maps, axis=1), axis=1), clean.maps.dtype)

    def take(values):
        return tf.gather(values, left, axis=1), tf.gather(values, right, axis=1)

    first, second = take(ranks / clean.maps.shape[1])
    return _discordance(attack, clean, take, tf.abs(first - second))


def kendall_support(attack, clean):
    """As `kendall`, over pairs of features whose clean value is not zero, drawn for each image."""
    features = clean.maps.shape[1]
    drawn = tf.constant(np.random.default_rng((attack.seed, features)).random((2, attack.pairs)), clean.maps.dtype)
    order = tf.argsort(tf.abs(clean.maps), axis=1, direction="DESCENDING")
    size = tf.reduce_sum(tf.cast(clean.maps != 0, clean.maps.dtype), axis=1, keepdims=True)
    left, right = (tf.gather(order, tf.cast(u[None] * size, tf.int32), axis=1, batch_dims=1) for u in tf.unstack(drawn))
    return _discordance(
        attack,
        clean,
        lambda values: (
            tf.gather(values, left, axis=1, batch_dims=1),
            tf.gather(values, right, axis=1, batch_dims=1),
        ),
    )


def cosine(attack, clean):
    """1 − cosine with the clean map."""
    return lambda perturbed, values: 1.0 - similarity.cosine_similarity(values, clean.maps)


def chosen(attack, clean):
    """The one of `attack.among` whose number is `attack.choice`: one graph for all of them."""
    known = [OBJECTIVES[name](attack, clean) for name in attack.among]

    def objective(perturbed, values):
        return tf.switch_case(attack.choice, [functools.partial(each, perturbed, values) for each in known])

    return objective


def _pairs(attack, features):
    rng = np.random.default_rng((attack.seed, features))
    left = rng.integers(0, features, attack.pairs)
    return left, (left + rng.integers(1, max(features, 2), attack.pairs)) % features


def _discordance(attack, clean, take, weights=1.0):
    """Σ −weight·sign(s₀ᵢ − s₀ⱼ)·tanh(κ(sᵢ − sⱼ)); κ counts in units of the mean absolute map value."""
    first, second = take(clean.maps)
    order = weights * tf.sign(first - second)
    scale = tf.reduce_mean(tf.abs(clean.maps), axis=1, keepdims=True)

    def objective(perturbed, values):
        first, second = take(values)
        return -tf.reduce_sum(order * tf.tanh(attack.sharpness * tf.math.divide_no_nan(first - second, scale)), axis=1)

    return objective
