"""Everything that decides an evaluation's numbers, beside network and images."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from absl import logging

from rar_tf import checks
from rar_tf.attacks import ATTRIBUTION_ATTACKS, BALLS, MEASURES, OBJECTIVES, PREDICTION_ATTACKS
from rar_tf.attacks.settings import Bounded, Budgeted
from rar_tf.attributions import PROTOCOLS
from rar_tf.attributions.settings import Attributed, Chunked, name_of
from rar_tf.errors import UsageError
from rar_tf.evaluation.protocols import EVALUATION_PROTOCOLS
from rar_tf.settings import Seeded, items, same, setting

DIRECTION_POINTS, SCREEN_POINTS = 5, 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Seeded, Bounded, Chunked):
    """The attacks of an evaluation.

    `attribution` may also be a function (target, images [B, H, W, C]) -> attributions [B, H, W, C].
    """

    free: ClassVar[tuple[str, ...]] = ()  # flags that no protocol fixes here

    attribution: str | Callable = same(Attributed, "attribution")
    baseline: float = setting(
        0.0, "pixel value that stands for nothing: where integrated gradients begin and what occlusion covers with"
    )
    evaluation_protocol: str = setting(
        "ours", "whose evaluation: it fixes attack, start, measure, map and statistic", choices=EVALUATION_PROTOCOLS
    )
    attack: str = setting(
        "ifia", "attribution attack: ifia, auto, the ensemble, or none: predictions alone", choices=ATTRIBUTION_ATTACKS
    )
    protocol: str = setting(
        "rar",
        "how attributions become maps: rar (sum of absolute values over channels, normalised) or wk (signed, per "
        "channel)",
        choices=PROTOCOLS,
    )
    epsilon: float = setting(
        Budgeted().epsilon,
        "budget of the attribution attack; by default --epsilon",
        flag="ifia_epsilon",
        check=checks.positive,
        otherwise="epsilon",
    )
    steps: int = setting(100, "its iterations P", flag="ifia_steps", check=checks.at_least_one)
    step_size: float | None = setting(
        None,
        "its step size α; by default 2.5·ifia_epsilon/ifia_steps",
        flag="ifia_step_size",
        check=checks.positive,
        derive=lambda s: 2.5 * s.epsilon / s.steps,
    )
    k: int = setting(100, "features in its top-k objective", flag="ifia_k", check=checks.at_least_one)
    metric_k: int = setting(
        100, "features in the reported top-k intersection", flag="ifia_metric_k", check=checks.at_least_one
    )
    ig_steps: int = setting(
        100, "path points of the attributions that are scored", flag="ifia_ig_steps", check=checks.at_least_one
    )
    attack_ig_steps: int | None = setting(
        None,
        "path points of the attributions that its directions come from; by default 5, in the papers' protocols as many",
        flag="ifia_attack_ig_steps",
        check=checks.at_least_one,
        derive=lambda s: min(DIRECTION_POINTS, s.ig_steps) if s.evaluation_protocol == "ours" else s.ig_steps,
    )
    screen_ig_steps: int | None = setting(
        None,
        "path points of the maps that iterates are screened with: only the candidates with the lowest screened scores "
        "are scored with ifia_ig_steps; by default 10, in the papers' protocols as many",
        flag="ifia_screen_ig_steps",
        check=checks.at_least_one,
        derive=lambda s: min(SCREEN_POINTS, s.ig_steps) if s.evaluation_protocol == "ours" else s.ig_steps,
    )
    candidates: int | None = setting(
        None,
        "iterates of each score that are scored in full after screening; by default 3, of an ensemble 2, without "
        "screening 1",
        flag="ifia_candidates",
        check=checks.at_least_one,
        derive=lambda s: (2 if s.attack == "auto" else 3) if s.screen_ig_steps < s.ig_steps else 1,
    )
    objective: str = setting("topk", "what it maximises", flag="ifia_objective", choices=OBJECTIVES)
    measure: str = setting("kendall", "what chooses the iterate that is kept", flag="ifia_measure", choices=MEASURES)
    target: str | None = setting(
        None,
        "a .npy file of H×W numbers: the region (ones and zeros) that the objective target goes for, the map that "
        "target_map does",
        flag="ifia_target",
    )
    restarts: int = setting(
        1,
        "its random starts",
        flag="ifia_restarts",
        check=checks.at_least_one,
    )
    start: str | None = setting(
        None,
        "where it begins: a random point of the ball, or the image itself, by default with --ifia_reference only; a "
        "random step beside it where the top k hold all of the map that is not zero: there is no gradient but rounding",
        flag="ifia_start",
        choices=("random", "image"),
        derive=lambda s: "image" if s.reference else "random",
    )
    ball: str = setting(
        "linf",
        "its ball, and that of pgd; by default --constraint",
        flag="ifia_ball",
        choices=BALLS,
        otherwise="constraint",
    )
    reference: bool = setting(
        False,
        "the 2019 reference's details: iterates truncated to integers in a pixel range of 255",
        flag="ifia_reference",
    )
    faithfulness: bool = setting(
        True, "measure whether the maps say anything: insertion, deletion, shuffled weights, sparseness, stability"
    )
    average_case: bool = setting(
        True, "measure the scores under uniform noise of the attack's budget and under common corruptions too"
    )
    prediction_attacks: tuple[str, ...] = setting(
        ("pgd",), "attacks on predictions; pgd gives the adversarial accuracy", choices=PREDICTION_ATTACKS
    )
    pgd_epsilon: float | None = setting(
        None,
        "budget of the prediction attacks; by default --epsilon",
        flag="eval_pgd_epsilon",
        check=checks.positive,
        derive=lambda s: s.epsilon,
        otherwise="epsilon",
    )
    pgd_steps: int = setting(
        40,
        "steps of the prediction attacks that have no number of their own",
        flag="eval_pgd_steps",
        check=checks.at_least_one,
    )
    pgd_step_size: float | None = setting(
        None,
        "their step size; by default 2.5·eval_pgd_epsilon/eval_pgd_steps",
        flag="eval_pgd_step_size",
        check=checks.positive,
        derive=lambda s: 2.5 * s.pgd_epsilon / s.pgd_steps,
    )
    pgd_restarts: int = setting(
        1, "random starts of the prediction attacks", flag="eval_pgd_restarts", check=checks.at_least_one
    )

    def __post_init__(self):
        super().__post_init__()
        if self.reference and self.ball != "linf":
            raise UsageError(f"the 2019 reference attacks in the ball linf, not {self.ball} (reference, ball)")

    @classmethod
    def of(cls, given: Mapping[str, Any], **values: Any) -> "EvaluationSettings":
        """As `Record.of`, with what the evaluation protocol fixes; where flags contradict it the evaluation is ours."""
        # The training adversary's constraint may be none of the balls.
        given = {flag: value for flag, value in given.items() if flag != "constraint" or value in BALLS}
        return super().of({**given, **cls._fixed(given)}, **values)

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> "EvaluationSettings":
        """As `Record.make`, with what the evaluation protocol fixes; a warning where values contradict it."""
        given = {item.flag: values[item.name] for item in items(cls) if item.flag and item.name in values}
        for sentence in cls.odd(given):
            logging.warning("%s", sentence)
        fixed = cls._fixed(given)
        return super().make({**values, **{item.name: fixed[item.flag] for item in items(cls) if item.flag in fixed}})

    @classmethod
    def odd(cls, given: Mapping[str, Any]) -> list[str]:
        """Return a sentence where flags contradict the evaluation protocol."""
        flags, name = " --".join(cls._contradicted(given)), given.get("evaluation_protocol")
        return [f"--{flags} is not what --evaluation_protocol={name} does: evaluated as ours"] if flags else []

    @classmethod
    def _fixed(cls, given):
        """What the protocol fixes, by flag name; that the evaluation is ours where flags contradict it."""
        return {"evaluation_protocol": "ours"} if cls._contradicted(given) else cls._of_protocol(given)

    @classmethod
    def _contradicted(cls, given):
        known = {item.flag: item for item in items(cls)}
        fixed = cls._of_protocol(given)
        said = {flag: known[flag].checked(given[flag]) for flag in fixed if given.get(flag) is not None}
        return [flag for flag, value in said.items() if value != fixed[flag]]

    @classmethod
    def _of_protocol(cls, given):
        name = str(given.get("evaluation_protocol", cls.evaluation_protocol))
        fixed = EVALUATION_PROTOCOLS[name].flags if name in EVALUATION_PROTOCOLS else {}
        return {flag: value for flag, value in fixed.items() if flag not in cls.free}

    def map_shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a map of an image [H, W, C]: by pixel, or by pixel and channel."""
        return tuple(image_shape if self.protocol == "wk" else image_shape[:2])

    def wanted(self) -> np.ndarray | None:
        """Return the map or region [H, W] of the file `target`. Raises: UsageError where the file holds none."""
        if self.target is None:
            return None
        try:
            wanted = np.load(self.target, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"--ifia_target={self.target} is no .npy file of numbers ({error})") from error
        if not (isinstance(wanted, np.ndarray) and wanted.ndim == 2 and np.issubdtype(wanted.dtype, np.number)):
            raise UsageError(f"--ifia_target={self.target} must hold H×W numbers, one a pixel")
        if not (np.isfinite(wanted).all() and wanted.any()):
            raise UsageError(f"--ifia_target={self.target} must be finite and not all zero")
        return wanted

    def check_images(self, image_shape: tuple[int, ...]) -> None:
        """Raise UsageError for settings that do not fit images of shape (H, W, C).

        A k larger than their maps, a budget as large as the pixel range, a target of another shape or none for
        `target_map`.
        """
        if self.attack != "none":
            wanted = self.wanted()
            if wanted is not None and wanted.shape != tuple(image_shape[:2]):
                raise UsageError(f"--ifia_target must be of the images' shape {image_shape[:2]}, not {wanted.shape}")
            if wanted is None and self.objective == "target_map":
                raise UsageError("--ifia_objective=target_map needs a map to go for: --ifia_target=FILE.npy")
            features = math.prod(self.map_shape(image_shape))
            sizes = {"k (--ifia_k)": self.k, "metric_k (--ifia_metric_k)": self.metric_k}
            checks.at_most(features, f"the {features} features of a map", **sizes)
            checks.budget(self.bounds, self.ball, **{"epsilon (--ifia_epsilon, by default --epsilon)": self.epsilon})
        balls = {self.ball if name == "pgd" else name.rpartition("_")[2] for name in self.prediction_attacks}
        name = "pgd_epsilon (--eval_pgd_epsilon, by default --epsilon)"
        checks.budget(self.bounds, "l2" if balls <= {"l2"} else "linf", **{name: self.pgd_epsilon})

    def record(self) -> dict:
        """Return the settings as JSON holds them, by field name."""
        values = dataclasses.asdict(self)
        values["attribution"] = name_of(self.attribution)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackSettings(EvaluationSettings):
    """An attack on attributions alone: predictions are left in peace, and maps are not asked what they are worth."""

    free = ("prediction_attacks",)
    prediction_attacks: tuple[str, ...] = same(EvaluationSettings, "prediction_attacks", ())
    faithfulness: bool = same(EvaluationSettings, "faithfulness", False)
    average_case: bool = same(EvaluationSettings, "average_case", False)
