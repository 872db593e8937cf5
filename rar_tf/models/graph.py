"""The applications of layers that a network consists of, and clones of networks.

A layer has other applications where it serves other networks as well.
"""

from collections.abc import Callable

import keras

from rar_tf.errors import UsageError, brief

_OURS = ("keras.", "rar_tf.")


def nodes(network) -> list:
    """Return the nodes of a functional or sequential network's own graph, from the images to the logits.

    A node is one application of an operation: it has `operation`, `input_tensors` and `output_tensors`. A layer that is
    applied twice has two, and none of those that another network made of it. Of anything else there are none, nor of a
    network with a `call` of its own.
    """
    if not computes_its_graph(network):
        return []
    graph = getattr(network, "_functional", network)  # of a sequential network
    by_depth = getattr(graph, "_nodes_by_depth", {})
    if not by_depth:
        return []
    order = {id(operation): place for place, operation in enumerate(graph.operations)}
    return [
        node
        for depth in sorted(by_depth, reverse=True)
        for node in sorted(by_depth[depth], key=lambda node: order[id(node.operation)])
    ]


def is_kind(part, *kinds: type) -> bool:
    """Whether a layer or activation is of one of these kinds; a subclass of them elsewhere may compute anything, and a
    quantised layer computes something else.
    """
    quantised = getattr(part, "quantization_mode", None) is not None
    return isinstance(part, kinds) and type(part).__module__.startswith(_OURS) and not quantised


def computes_its_graph(network) -> bool:
    """Whether a functional or sequential network computes what its graph says: a subclass may have a `call` that adds
    to it.
    """
    own = (next(kind for kind in type(network).__mro__ if name in vars(kind)) for name in ("__call__", "call"))
    return isinstance(network, keras.Model) and all(kind.__module__.startswith(_OURS) for kind in own)


def _has_graph(network):
    return isinstance(network, keras.Sequential) or hasattr(network, "operations")


def readers(network) -> list:
    """Return the nodes that read a network's images; none where it has no input or several."""
    inputs = list(getattr(network, "inputs", None) or ())
    if len(inputs) != 1:
        return []
    return [node for node in nodes(network) if any(inputs[0] is each for each in node.input_tensors)]


def input_shape(network, layer: keras.Layer) -> tuple:
    """Return the shape, without the batch, of what a layer reads in a network that applies it once."""
    (node,) = [each for each in nodes(network) if each.operation is layer]
    return tuple(node.input_tensors[0].shape[1:])


def clone(network, replacement: Callable[[keras.Layer], keras.Layer | None], refusal: str) -> keras.Model:
    """Return a clone of a network with weights of its own, and with the statistics of its `Normalization` layers.

    They compute with constants made of these, which weights that are set later do not change.

    Args:
      replacement: layer -> what takes its place, None for a copy.
      refusal: how an error's message begins.

    Raises: UsageError where the network cannot be cloned layer by layer.
    """

    def clone_layer(layer):
        found = replacement(layer)
        return layer.__class__.from_config(layer.get_config()) if found is None else found

    try:
        copy = keras.models.clone_model(network, clone_function=clone_layer, recursive=True)
        for model in network._flatten_layers():
            if _has_graph(model) and not computes_its_graph(model):
                raise TypeError(f"{model.name!r} has a `call` of its own")
        for own, other in zip(_normalizations(network), _normalizations(copy), strict=True):
            statistics: dict = {}
            own.save_own_variables(statistics)
            other.load_own_variables(statistics)
    except UsageError:
        raise
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise UsageError(f"{refusal}: it cannot be cloned layer by layer ({brief(error)})") from error
    return copy


def _normalizations(network):
    return [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.Normalization)]
