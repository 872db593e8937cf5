"""Training methods by the names that flags use. A new one is a file here and a line below."""

from rar_tf import checks
from rar_tf.objectives.advaat import AAT, AdvAAT
from rar_tf.objectives.art import ART
from rar_tf.objectives.cacr_wacr import CacrWacr
from rar_tf.objectives.igr import IGRAT, IGRMART, IGRTRADES
from rar_tf.objectives.madry import Madry
from rar_tf.objectives.mart import MART
from rar_tf.objectives.natural import Natural
from rar_tf.objectives.r2et import R2ET
from rar_tf.objectives.rar import RAR, IGNorm, IGSumNorm
from rar_tf.objectives.ssr import SSR
from rar_tf.objectives.trades import TRADES
from rar_tf.training import RobustModel

METHODS: dict[str, type[RobustModel]] = {
    "natural": Natural,
    "madry": Madry,
    "ig_norm": IGNorm,
    "ig_sum_norm": IGSumNorm,
    "rar": RAR,
    "cacr_wacr": CacrWacr,
    "trades": TRADES,
    "mart": MART,
    "igr_at": IGRAT,
    "igr_trades": IGRTRADES,
    "igr_mart": IGRMART,
    "art": ART,
    "aat": AAT,
    "advaat": AdvAAT,
    "ssr": SSR,
    "r2et": R2ET,
}


def get(name: str) -> type[RobustModel]:
    """Return the class of a method. Raises: UsageError for an unknown name."""
    checks.one_of(METHODS, method=name)
    return METHODS[name]
