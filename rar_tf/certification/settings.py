"""What each certificate can be set to: one record per certificate, from which keyword arguments and flags are made.

A certificate's ε is its own: --epsilon counts where it is given, a training budget does not.
"""

import dataclasses
import math
from typing import Any

from rar_tf import checks
from rar_tf.attacks.settings import Bounded
from rar_tf.attributions.settings import Attributed
from rar_tf.certification import FORMULAS, INTERVALS, NORMALIZATIONS
from rar_tf.errors import UsageError
from rar_tf.settings import Seeded, items, same, setting

SMALL = 0.02  # of the pixel range: the default budget of smoothed maps
RADII = (2.5, 5.0)  # default smoothing radii, in units of ε·√d: certificates depend on ε·√d/r, hardly on d itself


def parse_budget(text: str) -> tuple[str, float]:
    """Return the ball's name and ε of "l2:0.1". Raises: UsageError for other text."""
    name, _, value = text.partition(":")
    try:
        epsilon = float(value)
    except ValueError:
        epsilon = math.nan
    if name not in ("l2", "linf") or not epsilon > 0 or math.isinf(epsilon):
        raise UsageError(f"budgets are l2:EPSILON or linf:EPSILON with positive numbers, got {text!r}")
    return name, epsilon


def _check_budgets(budgets):
    for text in budgets:
        parse_budget(text)


def _rounded(value):
    return float(f"{value:.3g}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate(Seeded, Bounded, Attributed):
    """What every certificate has; the images' pixel range and shape come from the data."""

    image_shape: tuple[int, ...] = setting(dataclasses.MISSING, "height, width, channels", flag=None)
    ig_steps: int = setting(
        10,
        "path points of the integrated gradients that are certified",
        flag="certify_ig_steps",
        check=checks.at_least_one,
    )
    threshold: tuple[float, ...] = setting(
        (0.9,), "cosine similarities T to be certified", check=checks.between_0_and_1
    )
    confidence: float = setting(
        0.99,
        "probability with which a Monte Carlo certificate holds, for each image",
        check=checks.between_0_and_1,
    )

    @property
    def dimension(self) -> int:
        """d = H·W·C."""
        return math.prod(self.image_shape)

    @property
    def pixel_range(self) -> float:
        return self.bounds[1] - self.bounds[0]

    def record(self) -> dict[str, Any]:
        """Return all resolved values that decide numbers, by the name of the flag that they come from."""
        record = self.resolved()
        values = {item.flag or item.otherwise or item.name: getattr(record, item.name) for item in items(type(self))}
        for name in ("bounds", "memory_limit", "assume_smooth"):
            values.pop(name, None)
        return {name: value for name, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attacked(Certificate):
    """Certificates that can be attacked."""

    certificate_attack: int = setting(
        0,
        "attack the bounds of this many images, the first correctly classified ones",
        check=checks.not_negative,
    )
    k: int = setting(
        100,
        "features in the attack's top-k objective",
        flag=None,
        otherwise="ifia_metric_k",
        check=checks.at_least_one,
    )
    certify_softplus_beta: float = setting(
        10.0,
        "inverse temperature of the softplus network whose upper bounds are computed",
        check=checks.positive,
    )
    certify_smooth_pooling: bool = setting(
        True,
        "make the max-pooling of that network smooth too; false: attributions jump where another pixel wins, and no "
        "Jacobian sees it",
    )
    assume_smooth: bool = setting(
        False,
        "bound a network whose activations cannot be seen, a SavedModel or a function, as one without kinks; of a ReLU "
        "network such bounds mean nothing",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampled(Certificate):
    """Certificates by Monte Carlo."""

    sample_batch: int = setting(250, "samples held in memory at once", check=checks.at_least_one)
    num_samples: int = setting(
        100_000,
        "Monte Carlo samples for each image and radius, or for each of center smoothing's three parts",
        check=checks.at_least_one,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpperBound(Attacked):
    """Upper bounds of the linear model of a smooth network."""

    epsilon: float | None = setting(
        None, "the budget where budgets is not given", flag=None, otherwise="epsilon", check=checks.positive
    )
    constraint: str | None = setting(
        None, "the ball of that budget; by default linf", flag=None, otherwise="constraint"
    )
    budgets: tuple[str, ...] | None = setting(
        None,
        "perturbation budgets of the upper bounds, as l2:0.1,linf:0.01 (the default, for pixels in [0, 1])",
        check=_check_budgets,
        derive=lambda s: s.default_budgets(),
    )
    memory_limit: float = setting(2.0, "memory for a block of a Jacobian, in GiB", check=checks.positive)
    blockwise: bool = setting(
        False, "compute the l_inf bound of images of more than 3072 features column by column too"
    )

    def default_budgets(self) -> tuple[str, ...]:
        """Return the budgets that epsilon and constraint say, in the pixels' unit."""
        if self.epsilon is not None:
            return (f"{self.constraint or 'linf'}:{self.epsilon}",)
        shares = {"l2": 0.1, "linf": 0.01}
        names = shares if self.constraint is None else (self.constraint,)
        return tuple(f"{name}:{_rounded(shares.get(name, 0.01) * self.pixel_range)}" for name in names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformSmoothing(Sampled, Attacked):
    """Certificates of uniformly smoothed attributions.

    Without epsilon and radius, ε is 2 % of the pixel range and the radii are 2.5·ε·√d and 5·ε·√d; with one of them the
    other follows. The balls around x and x̃ then overlap so much (q = 0.317 and 0.159 of 2, in every dimension) that a
    smoothed map of length 1 keeps the cosines 0.948 and 0.987: where it is at least .73 as long, 0.9 is certified.
    """

    epsilon: float | None = setting(
        None,
        "l2 perturbation that is certified; by default 2 % of the pixel range, or what the least radius allows",
        flag=None,
        otherwise="epsilon",
        check=checks.positive,
        derive=lambda s: _rounded(
            SMALL * s.pixel_range if s.radius is None else min(s.radius) / (RADII[0] * math.sqrt(s.dimension))
        ),
    )
    radius: tuple[float, ...] | None = setting(
        None,
        "smoothing radii r; by default 2.5·ε·√d and 5·ε·√d for images of d features",
        check=checks.positive,
        derive=lambda s: tuple(_rounded(share * s.epsilon * math.sqrt(s.dimension)) for share in RADII),
    )
    formula: str = setting("sound", "sound, or the paper's printed formula, which is no certificate", choices=FORMULAS)
    interval: str = setting(
        "concentration",
        "lower limit of the smoothed map's length: concentration is rigorous, chi_square the paper's approximation",
        choices=INTERVALS,
    )
    normalization: str = setting(
        "unit",
        "what bounds the attribution: unit (length 1), clip (length at most attribution_bound), lipschitz (saliency "
        "only: the network's layers)",
        choices=NORMALIZATIONS,
    )
    attribution_bound: float = setting(
        1.0, "the length that normalization=clip cuts attributions to", check=checks.positive
    )
    largest_radius: float = setting(
        0.0,
        "search the smallest radius for epsilon and threshold up to this; 0: do not",
        check=checks.not_negative,
    )
    certificate_attack_restarts: int = setting(
        20, "random starts of the attack on a smoothed map", check=checks.at_least_one
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CenterSmoothing(Sampled):
    """Center smoothing, for comparison."""

    epsilon: float | None = setting(
        None,
        "l2 perturbation that is certified; by default 2 % of the pixel range",
        flag=None,
        otherwise="epsilon",
        check=checks.positive,
        derive=lambda s: _rounded(SMALL * s.pixel_range),
    )
    num_samples: int = same(Sampled, "num_samples", 10_000)


RECORDS = (Certificate, Attacked, Sampled, UpperBound, UniformSmoothing, CenterSmoothing)
