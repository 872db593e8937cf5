"""What each training method can be set to: a record a method, from which its constructor and its flags are made.

A default that differs from method to method is the `same` setting with another default.
"""

import dataclasses

from rar_tf import checks
from rar_tf.attacks import BALLS
from rar_tf.attacks.settings import Bounded, Budgeted
from rar_tf.attributions import ATTRIBUTIONS, PROTOCOLS, RULES
from rar_tf.attributions.settings import Chunked
from rar_tf.errors import UsageError
from rar_tf.settings import Seeded, same, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(Seeded, Bounded, Budgeted):
    """What every method has: the adversary's ball and steps, and how the samples' losses make one."""

    steps: int = setting(
        10, "the training adversary's steps", flag="attack_steps", check=checks.at_least_one, defines=True
    )
    step_size: float | None = setting(
        None,
        "the training adversary's step size; by default 2.5·epsilon/attack_steps",
        check=checks.positive,
        derive=lambda s: 2.5 * s.epsilon / s.steps,
        defines=True,
    )
    epsilon_warmup: int = setting(
        0,
        "training steps over which the adversary's budget and step size grow linearly from nothing to their full size",
        check=checks.not_negative,
        defines=True,
    )
    random_start: bool = setting(
        True, "start the training adversary from a random point of the ball instead of the image", defines=True
    )
    constraint: str = setting(
        "linf",
        "the training adversary's ball; wasserstein: no ball, but a penalty gamma·‖x'−x‖² in its objective and steps "
        "of 1/(2·gamma·√t) (Sinha et al. 2018)",
        choices=(*BALLS, "wasserstein"),
        defines=True,
    )
    gamma: float = setting(1.0, "weight of the Wasserstein penalty", check=checks.positive, defines=True)
    reduction: str = setting(
        "mean", "how the samples' losses make one loss over the global batch", choices=("sum", "mean"), defines=True
    )
    micro_batch: int | None = setting(
        None,
        "examples of a device that are computed at once, where a batch does not fit; the gradients of its parts are "
        "added up, batch statistics are each part's own",
        check=checks.at_least_one,
        defines=True,
    )
    curvature_penalty: float = setting(
        0.0,
        "weight of log K, K a bound of how fast the logits' gradients can turn, a term of the loss of networks with "
        "smooth activations",
        check=checks.not_negative,
        defines=True,
    )
    weight_decay: float = setting(
        0.0, "weight of the sum of ½‖w‖² over all kernels, a term of the loss", check=checks.not_negative, defines=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighted(Method):
    """Methods with an attribution term."""

    attribution_weight: float = setting(
        1.0,
        "weight of the attribution term: λ of IG-NORM, CACR+WACR, IGR, ALIGN, ART, AAT, AdvAAT and SSR, β of "
        "IG-SUM-NORM, λ₁ of R2ET",
        check=checks.not_negative,
        defines=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathWeighted(Weighted, Chunked):
    """Methods whose attribution term integrates over a path."""

    ig_steps: int = setting(
        50, "path points m of integrated gradients in the training step", check=checks.at_least_one, defines=True
    )
    attack_ig_steps: int = setting(
        10, "path points m' inside the training adversary, a divisor of m", check=checks.at_least_one, defines=True
    )

    def __post_init__(self):
        super().__post_init__()
        if self.ig_steps % self.attack_ig_steps:
            raise UsageError(
                f"attack_ig_steps must divide ig_steps (the reference's approx_factor is their ratio), got "
                f"{self.attack_ig_steps} and {self.ig_steps}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RAR(PathWeighted):
    """The general objective, IG-NORM and IG-SUM-NORM."""

    size: str = setting(
        "l1",
        "size function of the attribution",
        choices=("l1", "sum", "l1_squared", "l2"),
        defines=True,
    )
    layer: str = setting(
        "input", "what is attributed: input, output (the loss itself), or a hidden layer by name", defines=True
    )
    rule: str = setting("right", "quadrature rule of the path integral in training", choices=RULES, defines=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacrWacr(PathWeighted):
    """CACR + WACR and their ablations."""

    variant: str = setting(
        "paper",
        "as the paper prints it; code: ΔA of the log-probability, and the most confusing class chosen anew at every "
        "point of the path, as the authors' programs do",
        choices=("paper", "code"),
        defines=True,
    )
    cacr_weight: float = setting(
        1.0, "weight of CACR, times attribution_weight (Tables 7 to 10)", check=checks.not_negative, defines=True
    )
    wacr_weight: float = setting(
        1.0, "weight of WACR, times attribution_weight", check=checks.not_negative, defines=True
    )
    attribution_scale: float = setting(
        1.0,
        "CACR: factor of the attributions before the softmax over pixels; unscaled, those of a probability are so "
        "small that CACR is about half their variance, 1e-7 to 1e-5",
        check=checks.positive,
        defines=True,
    )
    cacr_limit: float = setting(
        10.0,
        "CACR: nats of the true class's concentration, KL(U‖P_T), beyond which it stops paying: −KL has no lower bound",
        check=checks.positive,
        defines=True,
    )
    cacr_contrast: bool = setting(True, "CACR: keep its term for the most confusing class, KL(U‖P_N)", defines=True)
    wacr_base: bool = setting(True, "WACR: weigh changes by the clean attribution; otherwise it is ‖ΔA‖₁", defines=True)
    delta_attribution: str = setting(
        "path",
        "WACR: ΔA = IG(x→x'); difference: IG(0→x') − IG(0→x), which Eq. (8) takes to be equal",
        choices=("path", "difference"),
        defines=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Divergence(Method):
    """Methods with a divergence of predictions."""

    beta: float = setting(
        6.0, "weight of the divergence of predictions in TRADES and MART, β", check=checks.positive, defines=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TRADES(Divergence):
    """TRADES."""

    clean_term: bool = setting(
        True,
        "TRADES: the first term is of the image (Zhang et al. 2019); false: of its perturbation, as Wang and Kong "
        "(2022) print it in Table 1",
        defines=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MART(Divergence):
    """MART."""

    beta: float = same(Divergence, "beta", 5.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matching(PathWeighted):
    """Methods that compare the attribution of an image with that of its perturbation: AAT, AdvAAT, IGR."""

    ig_steps: int = same(PathWeighted, "ig_steps", 10)
    attack_ig_steps: int = same(PathWeighted, "attack_ig_steps", 5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class IGR(Matching):
    """The integrated gradients regulariser."""

    adversary: str = setting(
        "base",
        "IGR: the base method's own adversary (the paper's experiments), or one that maximises the regulariser "
        "(Eq. (5))",
        choices=("base", "igr"),
        defines=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class IGRTRADES(IGR, TRADES):
    """IGR on TRADES."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IGRMART(IGR, MART):
    """IGR on MART."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ART(Weighted):
    """ART."""

    attribution_weight: float = same(Weighted, "attribution_weight", 0.5)
    softplus_beta: float = setting(
        50.0,
        "ART: inverse temperature of the softplus surrogate; 0 takes the gradients of the network itself",
        check=checks.not_negative,
        defines=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSR(Weighted):
    """SSR; its weight is for pixels in [0, 1]: the eigenvalue falls with the square of the pixels' range."""

    attribution_weight: float = same(Weighted, "attribution_weight", 0.3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputGradient(Weighted):
    """Input-gradient regularisation."""

    gradient_order: float = setting(
        2.0, "input_gradient: q of the norm ‖∇l‖_q^q that is kept small", check=checks.at_least_one, defines=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class R2ET(Weighted):
    """R2ET."""

    attribution_weight: float = same(Weighted, "attribution_weight", 0.1)
    curvature_weight: float = setting(
        0.1, "weight of the curvature term of R2ET, λ₂, and of ALIGN", check=checks.not_negative, defines=True
    )
    top_k: int = setting(
        100, "R2ET: features whose rank is kept, k, at most half of the pixels", check=checks.at_least_one, defines=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Align(Matching):
    """Alignment of attributions; each of its ingredients is a setting."""

    aligned: str = setting(
        "input_x_gradient",
        "ALIGN: which attribution is aligned; path_point is the gradient at one random point of the path a step, times "
        "the image, an estimate of integrated gradients",
        choices=(*ATTRIBUTIONS, "path_point"),
        defines=True,
    )
    aligned_protocol: str = setting(
        "rar",
        "ALIGN: how attributions become the maps that are aligned: rar (sum of absolute values over channels, "
        "normalised) or wk (signed, per channel)",
        choices=PROTOCOLS,
        defines=True,
    )
    distance_weight: float = setting(
        0.0, "ALIGN: weight of ‖a − a'‖²/(‖a‖² + ‖a'‖²) beside 1 − cosine", check=checks.not_negative, defines=True
    )
    align_steps: int = setting(
        0,
        "ALIGN: steps that the adversary takes on the misalignment itself, after those of the base method",
        check=checks.not_negative,
        defines=True,
    )
    align_warmup: int = setting(
        0, "ALIGN: training steps over which the terms' weights grow linearly", check=checks.not_negative, defines=True
    )
    curvature_weight: float = same(R2ET, "curvature_weight", 0.0)
    linearity_weight: float = setting(
        0.0,
        "ALIGN: weight of the logit's squared distance from the chord of two random points of the ball",
        check=checks.not_negative,
        defines=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignTRADES(Align, TRADES):
    """Alignment on TRADES."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignMART(Align, MART):
    """Alignment on MART."""


RECORDS = (
    Method,
    Weighted,
    PathWeighted,
    RAR,
    CacrWacr,
    Divergence,
    TRADES,
    MART,
    Matching,
    IGR,
    ART,
    SSR,
    InputGradient,
    R2ET,
    Align,
)
