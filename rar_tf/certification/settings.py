"""What each certificate can be set to: one record per certificate, from which keyword arguments and flags are made.

A certificate's ε is its own: --epsilon counts where it is given, a training budget does not.
"""

import dataclasses
import math
from typing import Any

from rar_tf import checks
from rar_tf.attacks.settings import Bounded
from rar_tf.attributions.settings import Attributed, name_of
from rar_tf.certification import FEATURES, FORMULAS, GRADIENT_BOUNDS, INTERVALS, NOISES, NORMALIZATIONS
from rar_tf.errors import UsageError
from rar_tf.settings import Seeded, items, same, setting

SMALL = 0.02  # of the pixel range: the default budget of smoothed maps
RADII = (2.5, 5.0)  # default smoothing radii, in units of ε·√d: certificates depend on ε·√d/r, hardly on d itself


def parse_budget(text: str) -> tuple[str, float, float]:
    """Return the ball's name, its p and ε of "l2:0.1", "linf:0.01" or "l3:0.1". Raises: UsageError for other text."""
    name, _, value = text.partition(":")
    try:
        norm_p = float(name[1:]) if name[:1] == "l" else math.nan
        epsilon = float(value)
    except ValueError:
        norm_p = epsilon = math.nan
    if not norm_p >= 1 or not 0 < epsilon < math.inf:
        raise UsageError(
            f"budgets are l2:EPSILON, linf:EPSILON, or of another norm lP:EPSILON, P >= 1, with a positive EPSILON, "
            f"got {text!r}"
        )
    return "linf" if math.isinf(norm_p) else f"l{norm_p:g}", norm_p, epsilon


def _check_budgets(budgets):
    for text in budgets:
        parse_budget(text)


def _positive(**values):
    for name, value in values.items():
        if len(value):
            checks.positive(**{name: value})


def _rounded(value):
    return float(f"{value:.3g}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate(Seeded, Bounded, Attributed):
    """What every certificate has; the images' pixel range and shape come from the data."""

    image_shape: tuple[int, ...] = setting(dataclasses.MISSING, "height, width, channels", flag=None)
    num_images: int = setting(1, "images of the run", flag=None)
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
        "probability with which a Monte Carlo certificate holds, for each image and radius, or for all of them",
        check=checks.between_0_and_1,
    )
    memory_limit: float = setting(
        2.0, "memory for a batch of samples or a block of a Jacobian, in GiB", check=checks.positive
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
        for name in ("bounds", "memory_limit", "assume_smooth", "num_images"):
            values.pop(name, None)
        values["attribution"] = name_of(record.attribution)
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

    def check_k(self) -> None:
        """Raise UsageError for a k larger than the pixels of an image: nothing can leave the top k."""
        pixels = self.image_shape[0] * self.image_shape[1]
        checks.at_most(pixels, f"the {pixels} pixels of a map", **{"k (--ifia_metric_k)": self.k})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampled(Certificate):
    """Certificates by Monte Carlo."""

    num_samples: int = setting(
        10_000,
        "Monte Carlo samples for each image and radius, or for each of center smoothing's three parts",
        check=checks.at_least_one,
    )
    sample_batch: int | None = setting(
        None,
        "samples held in memory at once; by default a twentieth of them, at most 250 and what memory_limit allows",
        check=checks.at_least_one,
    )
    simultaneous: bool = setting(
        False, "confidence is of all statements of the run together, not of each image and radius on its own"
    )

    @property
    def statements(self) -> int:
        """How many statements for each image share the confidence where they are simultaneous."""
        return 1

    @property
    def level(self) -> float:
        """The confidence of a single statement: by Bonferroni's inequality 1 − α/n where n hold simultaneously."""
        count = self.num_images * self.statements if self.simultaneous else 1
        return 1 - (1 - self.confidence) / count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Smoothed(Sampled, Attacked):
    """Certificates of maps that are averaged over noise.

    Without epsilon and radius, ε is 2 % of the pixel range and the radii are 2.5·ε·√d and 5·ε·√d; with one of them the
    other follows. The balls around x and x̃ then overlap so much (q = 0.317 and 0.159 of 2, in every dimension) that a
    smoothed map of length 1 keeps the cosines 0.982 and 0.996.
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
    best_radius: bool = setting(
        False, "certify for each image only the radius that a tenth as many samples, drawn apart, favour"
    )
    certify_label: bool = setting(
        False, "certify the smoothed prediction too, so that map and label hold together with the confidence"
    )
    certificate_attack_restarts: int = setting(
        20, "random starts of the attack on a smoothed map", check=checks.at_least_one
    )

    def __post_init__(self):
        super().__post_init__()
        if self.certify_label and getattr(self, "stop_early", False):
            raise UsageError("certify_label needs a fixed number of samples: leave stop_early off")

    @property
    def statements(self) -> int:
        return 1 if self.best_radius else len(self.resolved().radius)


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
        "perturbation budgets of the upper bounds, as l2:0.1,linf:0.01 (the default, for pixels in [0, 1]) or l3:0.1",
        check=_check_budgets,
        derive=lambda s: s.default_budgets(),
    )
    certify_changes: tuple[float, ...] = setting(
        (), "Euclidean changes of the attribution whose largest ε is computed", check=_positive
    )
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
class UniformSmoothing(Smoothed):
    """Certificates of the cosine of uniformly smoothed attributions."""

    certify_epsilons: tuple[float, ...] = setting(
        (), "further ε whose certified cosine is computed; the ε of rank_smoothing", check=_positive
    )
    formula: str = setting(
        "sound",
        "sound, tangent (sound too, and looser for long maps), or the paper's printed formula, which is no certificate",
        choices=FORMULAS,
    )
    interval: str = setting(
        "betting",
        "lower limit of the smoothed map's length: betting and concentration are rigorous, chi_square is the paper's "
        "approximation",
        choices=INTERVALS,
    )
    stop_early: bool = setting(
        False, "stop sampling an image once it is decided whether the highest threshold is certified at epsilon"
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

    @property
    def statements(self) -> int:
        return super().statements + (len(self.threshold) if self.largest_radius > 0 else 0)

    def __post_init__(self):
        super().__post_init__()
        if self.stop_early and self.interval != "betting":
            raise UsageError(f"stop_early needs interval=betting: {self.interval} is of a fixed number of samples")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curvature(Attacked):
    """Deterministic certificates of a smooth network's own attribution."""

    epsilon: float | None = setting(
        None,
        "the largest l2 perturbation that is certified; by default 2 % of the pixel range",
        flag=None,
        otherwise="epsilon",
        check=checks.positive,
        derive=lambda s: _rounded(SMALL * s.pixel_range),
    )
    certify_epsilons: tuple[float, ...] = same(UniformSmoothing, "certify_epsilons", ())
    certificate_attack_restarts: int = same(Smoothed, "certificate_attack_restarts", 20)
    gradient_bound: str = setting(
        "curvature",
        "what bounds the gradient's change: curvature, or intervals, for comparison: interval arithmetic through the "
        "forward and the backward pass",
        choices=GRADIENT_BOUNDS,
    )

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The ε that are certified, rising."""
        whole = self.resolved().epsilon
        return tuple(sorted(self.certify_epsilons)) or (whole / 4, whole / 2, whole)


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankSmoothing(Smoothed):
    """Certificates of the ranks of smoothed maps whose features are in [0, 1]."""

    threshold: tuple[float, ...] = setting(
        (0.5,),
        "top-k intersections T whose largest ε is computed",
        flag=None,
        otherwise="threshold",
        check=checks.between_0_and_1,
    )
    certify_epsilons: tuple[float, ...] = same(UniformSmoothing, "certify_epsilons", ())
    noise: str = setting(
        "gaussian", "what maps are smoothed with: gaussian, of about the same length, or uniform", choices=NOISES
    )
    features: str = setting(
        "top_k",
        "the features that are smoothed: top_k, 1 for the sparsity largest pixels of the rar map; clipped, the rar map "
        "over feature_ceiling, at most 1",
        choices=FEATURES,
    )
    sparsity: int | None = setting(
        None, "pixels that features=top_k keeps; by default ifia_metric_k", check=checks.at_least_one
    )
    feature_ceiling: float = setting(
        5.0, "value of a rar map, 1 on average, that features=clipped takes for 1", check=checks.positive
    )

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The ε that are certified, rising."""
        whole = self.resolved().epsilon
        return tuple(sorted(self.certify_epsilons)) or (whole / 4, whole / 2, whole)


RECORDS = (
    Certificate,
    Attacked,
    Sampled,
    Smoothed,
    UpperBound,
    UniformSmoothing,
    RankSmoothing,
    Curvature,
    CenterSmoothing,
)
