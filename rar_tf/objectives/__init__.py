"""Training methods by the names that flags use. A new one is a file here and a line below."""
from rar_tf.errors import UsageError
from rar_tf.objectives.madry import Madry
from rar_tf.objectives.natural import Natural
from rar_tf.objectives.rar import RAR, IGNorm, IGSumNorm
from rar_tf.training import RobustModel

METHODS: dict[str, type[RobustModel]] = {
    "natural": Natural, "madry": Madry, "ig_norm": IGNorm, "ig_sum_norm": IGSumNorm, "rar": RAR,
}


def get(name: str) -> type[RobustModel]:
    """Return the class of a method. Raises: UsageError for an unknown name."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
