"""Which network is trained."""

import dataclasses
from typing import Any

from rar_tf import checks
from rar_tf.models import ACTIVATIONS, MODELS, POOLINGS
from rar_tf.settings import Record, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(Record):
    """A network of `rar_tf.models` and its variants."""

    model: str = setting("small_cnn", "network, by its name in rar_tf.models", choices=MODELS, defines=True)
    activation: str = setting("relu", "activation of all hidden layers", choices=ACTIVATIONS, defines=True)
    activation_beta: float = setting(
        1.0, "inverse temperature β of a smooth activation", check=checks.positive, defines=True
    )
    pooling: str | None = setting(
        None, "pooling of networks that pool; by default as the network's paper has it", choices=POOLINGS, defines=True
    )

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of the network's builder."""
        values = {"activation": self.activation, "activation_beta": self.activation_beta, "pooling": self.pooling}
        return {name: value for name, value in values.items() if value is not None}
