"""The ensemble behind attack="auto": the worst case over several attribution attacks, plain IFIA among them.

One attack that fails does not show that attributions are robust. Each member differs from plain IFIA in its
objective, in the inverse temperature of its surrogate, in how it steps and where it starts, and every metric takes its
minimum over all of them, so that the ensemble never scores above plain IFIA. Members step as APGD does and never lose
the label.

They were chosen on training images of six networks (MNIST: adversarial training, natural training, an input stem;
Fashion-MNIST: adversarial training with ReLU and with softplus; GTSRB: adversarial training), 12 images each. Adaptive
steps beat steps that shrink on a schedule (GTSRB: Kendall .535 against .579), the soft top-k objective the sum over the
top k (.309 against .357 in top-k intersection), the objective with Spearman's weights that of Kendall even in Kendall
(.524 against .535); sharp surrogates (β = 50) beat smooth ones, and the ReLU network's own gradients are of no use
(.698); starting again from the best candidate with half the step lowers the cosine from .65 to .57. Starts at corners
matter where the network has an input stem. Mass centre, κ = 10, a warm start from frozen gradients and logarithmic maps
brought nothing.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from rar_tf.attacks import steps
from rar_tf.attacks.ifia import Ifia, Pool
from rar_tf.attacks.pgd import random_starts


class Member(NamedTuple):
    """How a member differs from plain IFIA.

    objective: a name of `attacks.OBJECTIVES`; sharpness: its κ; size: the first step in units of ε; beta: the
    surrogate's inverse temperature; start: `random`, `corner` (every pixel moved by ε towards black where it stays in
    the range, away from it elsewhere), `image`, or `best:SCORE`, the best candidate so far for a tracked score.
    """

    objective: str
    sharpness: float
    size: float
    beta: float
    start: str

    @property
    def name(self) -> str:
        return f"{self.objective}_beta{self.beta:g}_{self.start.replace(':', '_')}"


MEMBERS = (
    Member("topk", 1.0, 1.0, 1.0, "corner"),
    Member("spearman", 3.0, 1.0, 50.0, "corner"),
    Member("topk_soft", 6.0, 2.0, 50.0, "random"),
    Member("cosine", 1.0, 2.0, 50.0, "corner"),
    Member("kendall_support", 3.0, 1.0, 50.0, "random"),
    Member("spearman", 3.0, 1.0, 50.0, "best:kendall"),
    Member("topk_soft", 6.0, 1.0, 50.0, "best:topk_intersection"),
    Member("cosine", 1.0, 0.5, 50.0, "best:cosine"),
    Member("kendall_support", 3.0, 0.5, 50.0, "best:kendall_support"),
    Member("kendall", 3.0, 0.5, 50.0, "best:kendall"),
)
# A random search from the best candidate for Kendall, against networks whose gradients lead nowhere.
PATCHES, QUERIES = Member("patches", 1.0, 1.0, 1.0, "best:kendall"), 2  # queries in parts of a member's steps
STEPS = 60  # of a member, and no more than plain IFIA has

# Every score whose minimum over all candidates an ensemble reports.
TRACKED = ("kendall", "topk_intersection", "spearman", "cosine", "kendall_support")
SETTLED_TOO = ("kendall_foreground",)  # the least among the candidates for the others


OBJECTIVES = tuple(dict.fromkeys(member.objective for member in MEMBERS))


def member_attack(plain: Ifia, choice: tf.Tensor, sharpness: tf.Tensor, size: tf.Tensor) -> Ifia:
    """Return the attack of the members, with plain IFIA's budget, maps and measure, as one graph for all of them.

    Args:
      choice: number of the member's objective in `OBJECTIVES`. size: of the first step, in units of ε.
    """
    count = member_steps(plain)
    return dataclasses.replace(
        plain,
        among=OBJECTIVES,
        choice=choice,
        steps=count,
        step_size=steps.adaptive(count, size * plain.epsilon),
        feasible=True,
        score_every=2,
        sharpness=sharpness,
        reference=False,
    )


def member_steps(plain: Ifia) -> int:
    """Return how many steps a member takes."""
    return min(STEPS, plain.steps)


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
    column = attack.tracked.index(member.start.partition(":")[2])
    best = tf.argmin(pool.scores[:, column], axis=1)
    return tf.gather(pool.images[:, column], best, axis=1, batch_dims=1)
