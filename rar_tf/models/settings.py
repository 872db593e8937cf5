"""Which network is trained."""

import dataclasses

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
