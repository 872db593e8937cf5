"""Which network is trained, and in which variant."""

import dataclasses
from typing import Any

from rar_tf import checks
from rar_tf.models import ACTIVATIONS, INITIALIZERS, MODELS, POOLINGS, STEMS
from rar_tf.settings import Record, setting


def is_model(**values: Any) -> None:
    """Raise UsageError where a value is neither a network's name nor a .keras file's."""
    for name, value in values.items():
        if not is_file(value):
            checks.one_of(MODELS, **{name: value})


def is_file(model: str) -> bool:
    """Return whether a network is given by its file, not by its name."""
    return model.endswith(".keras")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(Record):
    """A network of `rar_tf.models`; what is left open is as the network's paper has it."""

    model: str = setting(
        "small_cnn",
        f"network: {', '.join(MODELS)}, or your own .keras file, which keeps its weights; with --activation=softplus "
        "rectifiers of such a file, and of a network of keras.applications, become smooth, max-pools --pooling, and it "
        "takes a --stem",
        check=is_model,
        defines=True,
    )
    activation: str | None = setting(
        None,
        "activation of all hidden layers; by default rectified, as in the network's paper",
        choices=ACTIVATIONS,
        defines=True,
    )
    activation_beta: float | None = setting(
        None, "inverse temperature β of a smooth activation; by default 1", check=checks.positive, defines=True
    )
    pooling: str | None = setting(
        None, "pooling of networks that pool; by default as in the network's paper", choices=POOLINGS, defines=True
    )
    stem: str | None = setting(
        None,
        "input stem of the small CNNs and of networks that are made smooth: dark is max(x − ε, 0)/(1 − ε), clipped is "
        "clip((x − ε)/(1 − 2ε), 0, 1); by default none",
        choices=STEMS,
        defines=True,
    )
    stem_epsilon: float | None = setting(
        None, "ε of the input stem, in the pixels' unit", check=checks.positive, defines=True
    )
    feature_smoothing: bool | None = setting(
        None,
        "a block that smooths feature maps after the first layers of the small CNNs; by default none",
        defines=True,
    )
    initializer: str | None = setting(
        None, "initial weights of small_cnn and tiny_cnn; by default the paper's", choices=INITIALIZERS, defines=True
    )

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of the network's builder that are not left open."""
        return {name: value for name, value in vars(self).items() if name != "model" and value is not None}
