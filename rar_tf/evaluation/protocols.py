"""How each paper evaluates: the settings that a published figure was measured with.

Budgets, step sizes and numbers of steps are the data set's and stand in the flag files; a protocol fixes the rest. The
papers' three runs of one attack from one start differ by a GPU's noise only, so that they are one here; where noise is
all that moves the attack, a seeded step stands for it (`measurements.topk_holds_all`).
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


@dataclasses.dataclass(frozen=True)
class Protocol:
    """flags: what it fixes, by flag name. statistic: what the paper prints of the scores, mean or median. says: whose
    evaluation it is, for reports.
    """

    flags: Mapping[str, Any]
    statistic: str
    says: str


_IFIA = {"attack": "ifia", "ifia_objective": "topk", "ifia_start": "image", "ifia_restarts": 1, "ifia_ball": "linf"}
_REFERENCE = {**_IFIA, "ifia_measure": "kendall", "ifia_reference": True, "protocol": "rar"}

EVALUATION_PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "ours": Protocol({}, "mean", "this package's evaluation: attacks begin at random points of the ball"),
        "chen2019": Protocol(
            _REFERENCE, "mean", "Chen et al. (2019): top-k IFIA from the image itself, the lowest Kendall kept"
        ),
        "sarkar2021": Protocol(
            _REFERENCE, "median", "Sarkar et al. (2021): top-k IFIA from the image itself, medians over images"
        ),
        "wang2022": Protocol(
            {
                **_IFIA,
                "ifia_measure": "intersection",
                "ifia_reference": False,
                "protocol": "wk",
                "prediction_attacks": ("pgd", "fgsm", "pgd20", "pgd40", "cw"),
            },
            "mean",
            "Wang and Kong (2022): top-k IFIA of signed maps from the image itself, the lowest top-k intersection kept",
        ),
    }
)
