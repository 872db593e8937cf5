"""An existing network made smooth, with the weights that it has, to be trained on.

Its answers change, by the less the larger β is, so train it afterwards, for example with `rar_tf.AlignAT`.
"""

import keras

from rar_tf import checks
from rar_tf.errors import UsageError
from rar_tf.models import POOLINGS
from rar_tf.models.pooling import ExactMaxPooling2D, smooth_max_pooling
from rar_tf.models.stem import InputStem
from rar_tf.models.surrogate import smooth_clone

_AVERAGE = {
    keras.layers.MaxPooling2D: keras.layers.AveragePooling2D,
    ExactMaxPooling2D: keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D: keras.layers.GlobalAveragePooling2D,
}


def smoothed(
    network: keras.Model,
    beta: float = 10.0,
    *,
    pooling: str = "average",
    stem: str | None = None,
    stem_epsilon: float | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> keras.Model:
    """Return a copy of a network with softplus for every rectifier and average-pooling for every max-pool.

    Shape of both: images [N, H, W, C] -> logits [N, K].

    Args:
      beta: inverse temperature of the softplus.
      pooling: of `POOLINGS`; "smooth_max" is log(mean exp(βx))/β, "max" leaves max-pools as they are.
      stem, stem_epsilon, bounds: kind, ε and pixel range of an `InputStem` that is put before everything else.

    Raises: UsageError where the network cannot be cloned layer by layer or has neither a rectifier nor a max-pool.
    """
    checks.positive(beta=beta)
    checks.one_of(POOLINGS, pooling=pooling)

    def pool(layer):
        if pooling == "smooth_max":
            return smooth_max_pooling(layer, beta)
        kind = _AVERAGE.get(type(layer)) if pooling == "average" else None
        return None if kind is None else kind(**layer.get_config())

    clone = smooth_clone(network, beta, pool, "the network cannot be made smooth")
    clone.set_weights(network.get_weights())
    if stem is None:
        return clone
    if stem_epsilon is None:
        raise UsageError(f"stem {stem!r} needs a stem_epsilon, the budget that it is to withstand")
    images = keras.Input(clone.inputs[0].shape[1:])
    return keras.Model(images, clone(InputStem(stem_epsilon, stem, bounds, name="stem")(images)), name=clone.name)


def converted(network: keras.Model, bounds: tuple[float, float], **options) -> keras.Model:
    """Return a network as the options of `models.settings.NetworkSettings` want it: as it is, or `smoothed`.

    Raises: UsageError for options that a network which exists does not have.
    """
    if not options:
        return network
    unknown = sorted(set(options) - {"activation", "activation_beta", "pooling", "stem", "stem_epsilon"})
    if options.pop("activation", None) != "softplus" or unknown:
        raise UsageError(
            "this network is left as it is, or made smooth by activation softplus, with activation_beta, "
            f"pooling, stem and stem_epsilon{'; it has no ' if unknown else ''}{', '.join(unknown)}"
        )
    beta, pooling = options.pop("activation_beta", 10.0), options.pop("pooling", "max")
    return smoothed(network, beta, pooling=pooling, bounds=bounds, **options)
