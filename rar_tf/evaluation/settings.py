"""Everything that decides an evaluation's numbers, beside network and images."""

import dataclasses
from collections.abc import Callable

from rar_tf import checks
from rar_tf.attacks import balls
from rar_tf.attacks.pgd import PREDICTION_ATTACKS
from rar_tf.attributions import ATTRIBUTIONS, PROTOCOLS
from rar_tf.errors import UsageError

ATTACKS = ("ifia", "auto")


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """Everything that decides an evaluation's numbers, beside network and images.

    Args:
      bounds: pixel range. epsilon, step_size, pgd_epsilon, pgd_step_size: in pixel units; None for pgd_epsilon takes
        epsilon, None for a step size takes 2.5·ε/steps.
      attack: `ifia`, or `auto`, the ensemble of `rar_tf.attacks.ensemble`.
      attribution, protocol, ig_steps: how maps are made; attack_ig_steps: path points of the maps that directions come
        from, None for as many.
      k, metric_k: features that the attack attacks and that the top-k intersection counts.
      objective, measure, restarts, ball, reference: of `rar_tf.attacks.ifia.Ifia`.
      prediction_attacks: names of `rar_tf.attacks.pgd.PREDICTION_ATTACKS`; `pgd` gives the adversarial accuracy.
      ig_chunk: path points held in memory at once; None chooses by the size of the batch.
    """

    bounds: tuple[float, float]
    epsilon: float
    attack: str = "ifia"
    attribution: str | Callable = "integrated_gradients"
    protocol: str = "rar"
    steps: int = 100
    step_size: float | None = None
    k: int = 100
    metric_k: int = 100
    ig_steps: int = 100
    attack_ig_steps: int | None = None
    objective: str = "topk"
    measure: str = "kendall"
    restarts: int = 1
    reference: bool = False
    ball: str = "linf"
    pgd_epsilon: float | None = None
    pgd_steps: int = 40
    pgd_step_size: float | None = None
    pgd_restarts: int = 1
    prediction_attacks: tuple[str, ...] = ("pgd",)
    ig_chunk: int | None = None
    seed: int = 0

    def __post_init__(self):
        low, high = self.bounds
        if not low < high:
            raise UsageError(f"bounds must be a rising pair, got {self.bounds}")
        checks.one_of(ATTACKS, attack=self.attack)
        checks.one_of(PROTOCOLS, protocol=self.protocol)
        checks.one_of(balls.BALLS, ball=self.ball)
        if not callable(self.attribution):
            checks.one_of(ATTRIBUTIONS, attribution=self.attribution)
        checks.positive(epsilon=self.epsilon, **self._given("step_size", "pgd_epsilon", "pgd_step_size"))
        checks.at_least_one(
            steps=self.steps,
            ig_steps=self.ig_steps,
            restarts=self.restarts,
            pgd_steps=self.pgd_steps,
            pgd_restarts=self.pgd_restarts,
            **self._given("attack_ig_steps", "ig_chunk"),
        )
        for name in self.prediction_attacks:
            checks.one_of(PREDICTION_ATTACKS, **{"prediction attack": name})

    def _given(self, *names):
        """Those of the optional settings that are not left open."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def record(self) -> dict:
        """Return the settings as JSON holds them."""
        values = dataclasses.asdict(self)
        if callable(self.attribution):
            values["attribution"] = getattr(self.attribution, "__name__", "custom")
        return {**values, "bounds": list(self.bounds), "prediction_attacks": list(self.prediction_attacks)}
