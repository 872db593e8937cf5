"""Scores that a search follows, computed where the maps are: those of `rar_tf.metrics`, without a wait for the host.

Rank correlations compare every pair of features, which suits a GPU. On a CPU the host's, which sort, are faster.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from rar_tf import similarity
from rar_tf.attacks.objectives import Clean
from rar_tf.attributions import maps

MOST_FEATURES = 4096  # whose pairs a float32 counts exactly; with more of them sorting is faster anyway
_PAIRS_AT_ONCE = 2**26
_RANKED = ("kendall", "kendall_support", "kendall_foreground")
KNOWN = (*_RANKED, "spearman", "cosine", "topk_intersection", "intersection")


def scorer(
    names: Sequence[str], clean: Clean, *, k: int, metric_k: int, epsilon: float, black: float
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
    """Return (maps [B, D], whether they are to be scored [B]) -> scores [B, M] by name, 1 for the others.

    Lower is where the attack succeeds better. None where only the host can.

    Args:
      names: those of `KNOWN` can be had here. k: of `intersection`. metric_k: of `topk_intersection`.
      epsilon, black: those of `metrics.kendall_foreground`.
    """
    features = clean.maps.shape[1]
    if features is None or features > MOST_FEATURES or not set(names) <= set(KNOWN):
        return None
    ranked = [name for name in _RANKED if name in names]
    members = tf.stack([_members(name, clean, epsilon, black) for name in ranked or ["kendall"]], axis=2)

    def scores(values, wanted):
        found = {}
        if ranked or "spearman" in names:
            taus, found["spearman"] = rank_correlations(clean.maps, values, members)
            found.update(zip(ranked, tf.unstack(taus, axis=1)))
        for name, count in (("topk_intersection", metric_k), ("intersection", k)):
            if name in names:
                found[name] = _topk_intersection(clean.maps, values, count)
        if "cosine" in names:
            found["cosine"] = similarity.cosine_similarity(clean.maps, values)
        by_name = tf.cast(tf.stack([found[name] for name in names], axis=1), tf.float32)
        return tf.where(wanted[:, None], by_name, 1.0)

    return scores


def rank_correlations(first: tf.Tensor, second: tf.Tensor, members: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return Kendall's tau-b over the members of each of R sets of features, and Spearman's correlation over all.

    Shape: first, second [B, D], members [B, D, R] of 0 and 1 -> [B, R], [B]; 0 where all of one map's pairs are tied.
    """
    batch, features = first.shape
    if batch is not None and batch * features**2 <= _PAIRS_AT_ONCE:
        return _of_all_pairs(first, second, members)

    def of_one(row):
        taus, spearman = _of_all_pairs(*(each[None] for each in row))
        return taus[0], spearman[0]

    signature = (tf.TensorSpec(members.shape[2:], first.dtype), tf.TensorSpec([], first.dtype))
    return tf.map_fn(of_one, (first, second, members), fn_output_signature=signature)


def _of_all_pairs(first, second, members):
    one, two = _order(first), _order(second)

    def within(pairs):  # the sum over pairs of members
        return tf.reduce_sum(members * tf.matmul(pairs, members), axis=1)

    untied = tf.sqrt(within(one * one)) * tf.sqrt(within(two * two))
    # A rank less the mean rank is half the number of those below less those above.
    spearman = similarity.cosine_similarity(tf.reduce_sum(one, axis=2), tf.reduce_sum(two, axis=2))
    return tf.math.divide_no_nan(within(one * two), untied), spearman


def _order(values):
    """1 where the first of two features is larger, −1 where the second is, 0 where they are tied: [B, D, D]."""
    left, right = values[:, :, None], values[:, None, :]
    return tf.cast(left > right, values.dtype) - tf.cast(left < right, values.dtype)


def _members(name, clean, epsilon, black):
    if name == "kendall_support":
        return tf.cast(clean.maps != 0, clean.maps.dtype)
    if name == "kendall":
        return tf.ones_like(clean.maps)
    bright = tf.cast(clean.images - black > epsilon, clean.maps.dtype)
    by_pixel = clean.maps.shape[1] != np.prod(clean.images.shape[1:])
    return tf.reshape(tf.reduce_max(bright, axis=3) if by_pixel else bright, [-1, clean.maps.shape[1]])


def _topk_intersection(first, second, k):
    # Of equals the last counts in `metrics`, the first in `top_k_mask`.
    both = maps.top_k_mask(first[:, ::-1], k) * maps.top_k_mask(second[:, ::-1], k)
    return tf.reduce_sum(both, axis=1) / k
