"""The ensemble behind attack="auto": the worst case over several attribution attacks, plain IFIA among them.

One attack that fails does not show that attributions are robust. Each member differs from plain IFIA in its objective,
in the inverse temperature of its surrogate, in how it steps and where it starts, and every metric takes its minimum over
all of them, so that the ensemble never scores above plain IFIA.

Members step as APGD does and never lose the label.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from rar_tf.attacks import steps
from rar_tf.attacks.ifia import Ifia, Pool
from rar_tf.attacks.pgd import random_starts


class Member(NamedTuple):
    """How a member differs from plain IFIA.

    objective: a name of `attacks.OBJECTIVES`; beta: the surrogate's inverse temperature; sharpness: κ of the objective;
    start: `random`, `corner` (every pixel at the end of its range that is nearer to black, where there is one), or `best`,
    the best candidate so far for the score of the same name as the objective; size: the first step in units of ε.
    """

    objective: str
    beta: float = 1.0
    sharpness: float = 3.0
    start: str = "random"
    size: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.objective}_beta{self.beta:g}_{self.start}"


MEMBERS = (
    Member("spearman"),
    Member("kendall_support", beta=10.0),
    Member("topk_soft", sharpness=2.0),
    Member("cosine", beta=10.0),
    Member("kendall", beta=50.0, start="corner"),
    Member("topk", start="corner"),
)

# Every score whose minimum over all candidates an ensemble reports.
TRACKED = ("kendall", "topk_intersection", "spearman", "cosine", "kendall_support")


OBJECTIVES = tuple(dict.fromkeys(member.objective for member in MEMBERS))


def member_attack(plain: Ifia, choice: tf.Tensor, sharpness: tf.Tensor, size: tf.Tensor) -> Ifia:
    """Return the attack of the members, with plain IFIA's budget, maps and measure, as one graph for all of them.

    Args:
      choice: number of the member's objective in `OBJECTIVES`. size: of the first step, in units of ε.
    """
    return dataclasses.replace(
        plain,
        among=OBJECTIVES,
        choice=choice,
        step_size=steps.adaptive(plain.steps, size * plain.epsilon),
        feasible=True,
        sharpness=sharpness,
        reference=False,
    )


def begin(
    attack: Ifia, member: Member, images: tf.Tensor, indices: tf.Tensor, seed: tf.Tensor, pool: Pool
) -> tf.Tensor:
    """Return where a member starts.

    Shape: images [B, H, W, C], indices int64 [B], seed int64 [] -> [B, H, W, C].

    Args:
      pool: what has been found so far.
    """
    if member.start == "image":
        return images
    if member.start == "random":
        return random_starts(images, indices, epsilon=attack.epsilon, ball=attack.ball, seed=seed)
    if member.start == "corner":
        low = attack.bounds[0]
        return tf.where(images - low > attack.epsilon, images - attack.epsilon, images + attack.epsilon)
    score = {"topk": "topk_intersection", "topk_soft": "topk_intersection"}.get(member.objective, member.objective)
    column = attack.tracked.index(score)
    best = tf.argmin(pool.scores[:, column], axis=1)
    return tf.gather(pool.images[:, column], best, axis=1, batch_dims=1)
