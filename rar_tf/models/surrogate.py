"""Smooth stand-ins for ReLU networks: the same weights, softplus in place of every rectifier.

ReLU networks have no curvature of their own, so attacks on attributions take their directions from a softplus network
(Dombrowski et al. 2019). ReLU becomes softplus(βx)/β; leaky ReLU of slope a becomes a·x + (1−a)·softplus(βx)/β, the
residual networks' 0.1x + 0.9·softplus(x) of Chen et al. (2019). Max-pooling may become smooth as well: attributions of
a network that keeps it jump wherever another pixel wins, softplus or not.
"""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from rar_tf import checks
from rar_tf.errors import UsageError
from rar_tf.models import graph
from rar_tf.models.activations import Softplus
from rar_tf.models.invariance import is_scale_invariant
from rar_tf.models.pooling import smooth_max_pooling
from rar_tf.models.stem import InputStem

# κ of smooth input stems, chosen on training images of MNIST, ε = 0.3: of 3 to 100 what leaves the least accuracy under
# PGD (of Fashion-MNIST, ε = 0.1, likewise), of 12, 24 and 48 what leaves the lowest scores of maps under the ensemble.
FOR_PREDICTIONS, FOR_MAPS = 24.0, 12.0


class StandIn:
    """What answers in a network's place and runs on the network's own weights."""

    def __init__(self, network):
        self.network = network
        self.scale_invariant = is_scale_invariant(network)

    @property
    def trainable_variables(self) -> list:
        return self.network.trainable_variables

    @property
    def non_trainable_variables(self) -> list:
        return self.network.non_trainable_variables


class Surrogate(StandIn):
    """A clone of a Keras network, with other activations, that always runs on the network's own weights.

    It answers as the network does: callable on images [N, H, W, C] to logits [N, K], with `trainable_variables` and
    `stateless_call`; gradients with respect to weights reach the network's variables.
    """

    def __init__(self, network: keras.Model, clone: keras.Model):
        super().__init__(network)
        self.clone = clone

    def stand_ins(self) -> set[str]:
        """Return the names of the classes of layers and activations that stand in for the network's own."""
        own, others = (Counter(type(part).__name__ for part in _parts(model)) for model in (self.network, self.clone))
        return set(others - own)

    @functools.cached_property
    def _part(self):
        return Part(self.clone, self)

    def stateless_call(self, trainable, fixed, images: tf.Tensor, training: bool = False):
        """As `keras.Model.stateless_call` in evaluation mode, through the clone's activations."""
        own = [*self.trainable_variables, *self.non_trainable_variables]
        values = {id(variable): value for variable, value in zip(own, [*trainable, *fixed])}
        return _with_values(self.clone, lambda variable: values[id(self._part.shared[id(variable)])], images)

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the logits in evaluation mode, whatever `training` says: a surrogate keeps no statistics."""
        return self._part(images)


def _with_values(model, value_of, inputs):
    """A model's outputs in evaluation mode and its state, with other values of its variables, frozen ones or not."""
    kinds = model.trainable_variables, model.non_trainable_variables
    return model.stateless_call(
        *([value_of(each) for each in variables] for variables in kinds), inputs, training=False
    )


def layers_and_weights(network) -> tuple[Any, Any]:
    """Return whose layers a network runs, and whose weights: of a surrogate its clone and the network itself."""
    return (network.clone, network.network) if isinstance(network, Surrogate) else (network, network)


class Part:
    """Some layers of a network, as a Keras model of their own that runs on the network's weights: inputs -> outputs.

    Args:
      part: made of the layers of `layers_and_weights(network)[0]`. network: a Keras model, or a surrogate of one.
    """

    def __init__(self, part: keras.Model, network):
        layers, weights = layers_and_weights(network)
        self.part, self.shared = part, {id(own): variable for own, variable in zip(layers.variables, weights.variables)}

    def __call__(self, inputs):
        return _with_values(self.part, lambda variable: self.shared[id(variable)].value, inputs)[0]


def softplus_surrogate(
    network: keras.Model, beta: float | tf.Variable = 1.0, *, smooth_pooling: bool = False
) -> Surrogate:
    """Return the softplus surrogate of a network with inverse temperature `beta`, sharing its weights.

    Args:
      beta: a number, or a `tf.Variable` that can be changed later.
      smooth_pooling: whether max-pooling over images becomes log(mean exp(βx))/β, see `models.pooling`.

    Raises: UsageError where the network cannot be cloned layer by layer or has no rectifier, or where beta ≤ 0.
    """
    checks.positive(softplus_beta=beta)
    pooling = (lambda layer: smooth_max_pooling(layer, beta)) if smooth_pooling else (lambda layer: None)
    clone = smooth_clone(
        network,
        beta,
        lambda layer: _smooth_stem(layer, FOR_MAPS) or pooling(layer),
        "no softplus surrogate of the network",
    )
    return Surrogate(network, clone)


class BackwardThrough(StandIn):
    """A network's own values with the gradients of a stand-in (BPDA; Athalye et al. 2018)."""

    def __init__(self, network, stand_in):
        super().__init__(network)
        self.stand_in = stand_in

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the network's logits in evaluation mode."""
        climbed = self.stand_in(images, training=False)
        return climbed + tf.stop_gradient(self.network(images, training=False) - climbed)


def stems(network) -> list[InputStem]:
    """Return the input stems among a network's layers, those with a dead zone."""
    layers = network._flatten_layers() if isinstance(network, keras.Layer) else []
    return [layer for layer in layers if type(layer) is InputStem]


def without_dead_zones(network):
    """Return a network whose gradients see out of the dead zone of its input stem; itself where it has none.

    Its values are the network's own, its gradients those of the network with a smooth stem.

    Raises: UsageError where a network with a stem cannot be cloned layer by layer.
    """
    if not stems(network):
        return network
    clone = _clone(
        network,
        lambda layer: _smooth_stem(layer, FOR_PREDICTIONS),
        "its input stem cannot be made smooth",
        sought="input stem",
    )
    return BackwardThrough(network, Surrogate(network, clone))


def climbed(network, warn: Callable[[str], None]):
    """Return what attacks on predictions climb: `without_dead_zones`, or with a warning the network itself."""
    try:
        return without_dead_zones(network)
    except UsageError as error:
        warn(f"attacks on predictions see nothing in the dead zone of the input stem ({error})")
        return network


def _smooth_stem(layer, sharpness):
    return layer.smooth(sharpness) if type(layer) is InputStem else None


def smooth_clone(
    network: keras.Model, beta: float | tf.Variable, other: Callable[..., keras.layers.Layer | None], refusal: str
) -> keras.Model:
    """Return a clone of a network, with weights of its own, whose rectifiers are softplus.

    Args:
      other: layer -> what else replaces it, None for nothing.
      refusal: how an error's message begins.

    Raises: UsageError where the network cannot be cloned layer by layer, or nothing in it is replaced.
    """
    return _clone(
        network, lambda layer: other(layer) or _smooth_rectifier(layer, beta), refusal, sought="ReLU or leaky ReLU"
    )


def _smooth_rectifier(layer, beta):
    """A layer with softplus for its rectifier, None where it has none."""
    activation = _smooth(layer, beta)
    if activation is None:
        return None
    if not isinstance(layer, keras.Layer):  # of a tensor, in the dtype that it has
        return keras.layers.Activation(activation, name=layer.name, autocast=False)
    if isinstance(layer, (keras.layers.ReLU, keras.layers.LeakyReLU)):
        return keras.layers.Activation(activation, name=layer.name, dtype=layer.dtype_policy)
    return layer.__class__.from_config({**layer.get_config(), "activation": activation})


def _clone(network, replacement, refusal, *, sought):
    """A clone with weights of its own, in which layers for which there is a replacement, those sought, are replaced."""
    replaced = []

    def noted(layer):
        found = replacement(layer)
        if found is not None:
            replaced.append(layer.name)
        return found

    copy = graph.clone(network, noted, refusal)
    if not replaced:
        raise UsageError(f"{refusal}: no {sought} was found among its layers")
    return copy


# Rectifiers that are functions, as softplus has them.
_FUNCTIONS = {
    **dict.fromkeys((keras.activations.relu, tf.nn.relu), {}),
    **dict.fromkeys((keras.activations.relu6, tf.nn.relu6), {"ceiling": 6.0}),
    **dict.fromkeys((keras.activations.leaky_relu, tf.nn.leaky_relu), {"slope": 0.2}),
}
# Those of keras.ops and keras.activations where they are called in a functional network.
_OPERATIONS = ("Relu", "Relu6", "LeakyRelu", "ReLU")


def rectifier_of(layer):
    """Return the layer, operation or function that is a layer's rectifier, itself perhaps; None where it has none."""
    if not isinstance(layer, keras.Layer):
        return layer if graph.is_kind(layer, keras.Operation) and type(layer).__name__ in _OPERATIONS else None
    kinds = (keras.layers.ReLU, keras.layers.LeakyReLU)
    found = layer if isinstance(layer, kinds) else getattr(layer, "activation", None)
    return found if graph.is_kind(found, *kinds) or any(found is each for each in _FUNCTIONS) else None


def _smooth(layer, beta):
    """The softplus version of a layer's rectifier, None where it has none."""
    rectifier = rectifier_of(layer)
    if isinstance(rectifier, keras.Operation):
        if getattr(rectifier, "threshold", 0) != 0:
            raise UsageError(f"no softplus surrogate: layer {layer.name!r} is a ReLU with a threshold")
        ceiling = 6.0 if type(rectifier).__name__ == "Relu6" else getattr(rectifier, "max_value", None)
        return Softplus(beta, float(getattr(rectifier, "negative_slope", 0.0)), ceiling)
    return None if rectifier is None else Softplus(beta, **_FUNCTIONS[rectifier])


def is_smooth(network, *, pooling: bool = True) -> bool | None:
    """Return whether a network's activations and pooling are smooth, so that it needs no surrogate.

    False where an activation with a kink, or max-pooling, is found; None where that cannot be known, for callables that
    are no Keras network, and for layers and activations that are neither Keras's nor this package's.

    Args:
      pooling: whether max-pooling counts.
    """
    network, known = network.clone if isinstance(network, Surrogate) else network, True
    if not isinstance(network, keras.Layer):  # a function or SavedModel, of which at most the operations are known
        return False if getattr(network, "kinks", ()) else None
    for part in _parts(network):
        name = getattr(part, "__name__", type(part).__name__).lower().replace("_", "")
        if name in _KINKS or (pooling and "maxpool" in name and not name.startswith("smooth")):
            return False
        module = getattr(part, "__module__", None) or ""
        known = known and module.startswith(("keras.", "rar_tf.")) and name not in _OPAQUE
    return known or None


# Lower-case names, without underscores, of layers, activations and operations of Keras.
_KINKS = (
    *("relu", "relu6", "leakyrelu", "prelu", "elu", "selu", "threshold", "hardsigmoid", "hardsilu", "hardtanh"),
    "inputstem",
    *("hardswish", "hardshrink", "softshrink", "maximum", "minimum", "max", "min", "abs", "absolute", "clip"),
)
_OPAQUE = ("lambda", "torchmodulewrapper", "jaxlayer", "flaxlayer", "tfsmlayer")


def _parts(network):
    """The operations of a Keras network, those of networks and layers inside it, and their activations."""
    if not graph.computes_its_graph(network):
        yield network  # opaque: a model with a `call` of its own
    layers = network.layers if isinstance(network, keras.Sequential) else getattr(network, "operations", ())
    for operation in layers:
        if isinstance(operation, keras.Model):
            yield from _parts(operation)
            continue
        for part in operation._flatten_layers() if isinstance(operation, keras.Layer) else [operation]:
            yield part
            activation = getattr(part, "activation", None)
            if activation is not None:
                yield activation
