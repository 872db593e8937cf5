"""Settings that more than one wing has of attacks."""

import dataclasses

from rar_tf import checks
from rar_tf.settings import Record, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounded(Record):
    """Records of code that moves pixels; the range belongs to the data set."""

    bounds: tuple[float, float] = setting((0.0, 1.0), "pixel range (low, high)", flag=None, check=checks.rising)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budgeted(Record):
    """Records of code with an adversary."""

    epsilon: float = setting(
        0.3,
        "the adversary's budget, in the pixels' unit; evaluations attack with it too where they have no other",
        check=checks.positive,
        defines=True,
    )
