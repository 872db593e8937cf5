"""What prediction attacks have in common: a tuple of members, tried in order, each on the images that still stand."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rar_tf.attacks.balls import LINF, Ball

MEMBER_SEEDS = 100  # seeds between two members, more than any member of several has runs


class Terms(NamedTuple):
    """The terms that an evaluation gives to its prediction attacks.

    epsilon: the budget, in pixel units. bounds: pixel range. classes: number of logits. steps, step_size, restarts: for
    attacks that have none of their own; step_size in pixel units. ball: of PGD, where it is not one by its name.
    """

    epsilon: float
    bounds: tuple[float, float]
    classes: int
    steps: int
    step_size: float
    restarts: int
    ball: Ball = LINF


class Member(NamedTuple):
    """An attack on predictions: alone, or as one of several.

    perturb: (network, images [B, H, W, C], labels int [B], *, indices int64 [B], seed int64 [], run int64 [], terms)
      -> perturbed images [B, H, W, C] inside the ball and the pixel range; graph code whose randomness comes from
      (seed, index) alone. `run` counts the runs from 0, `seed` is another for each.
    runs: terms -> how often it tries, with another start or towards another class each time.
    caution: terms -> what the reader has to know of it under these terms, or None.
    """

    name: str
    perturb: Callable
    runs: Callable[[Terms], int] = lambda terms: 1
    caution: Callable[[Terms], str | None] = lambda terms: None


def standing_after(
    members: tuple[Member, ...], terms: Terms, survives: Callable, *, count: int, seed: int
) -> dict[str, np.ndarray]:
    """Return for each member which of `count` images stand after it and all before it; bool [count] by member's name.

    Args:
      survives: (member, which int [S], seed, run) -> bool [S], whether those images keep their labels; called once a
        run, with the images that still stand, and never without one.
    """
    standing, after = np.ones(count, bool), {}
    for number, member in enumerate(members):
        for run in range(member.runs(terms)):
            which = np.flatnonzero(standing)
            if which.size:
                standing[which] = survives(member, which, np.int64(seed + MEMBER_SEEDS * number + run), np.int64(run))
        after[member.name] = standing.copy()
    return after
