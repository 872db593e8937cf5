"""Settings that more than one wing has of attributions."""

import dataclasses
from collections.abc import Callable

from rar_tf import checks
from rar_tf.attributions import ATTRIBUTIONS
from rar_tf.settings import Record, setting


def name_of(attribution: str | Callable) -> str:
    """Return what an attribution is called: its name in `ATTRIBUTIONS`, or a function's own."""
    return attribution if isinstance(attribution, str) else getattr(attribution, "__name__", "custom")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunked(Record):
    """Records of code that integrates over paths."""

    ig_chunk: int | None = setting(
        None,
        "path points held in memory at once; by default as many as there is memory for; the values stay the same",
        check=checks.at_least_one,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attributed(Record):
    """Records of code that looks at an attribution of the label's logit."""

    attribution: str = setting(
        "integrated_gradients", "attribution that is attacked or certified", choices=ATTRIBUTIONS
    )
