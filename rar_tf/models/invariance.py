"""Networks that do not see the scale of their images, f(αx) = f(x) for α > 0, as those that standardise each image."""


def is_scale_invariant(network) -> bool:
    """Return whether the network declares f(αx) = f(x): by itself, or because its first layer does.

    A declaration is an attribute `scale_invariant`; a Keras model is taken at the word of its first layer where that
    layer is the only one that reads the model's input.
    """
    if getattr(network, "scale_invariant", False):
        return True
    layers = [layer for layer in getattr(network, "layers", []) if type(layer).__name__ != "InputLayer"]
    if (
        not layers
        or not getattr(layers[0], "scale_invariant", False)
        or len(getattr(network, "inputs", None) or ()) != 1
    ):
        return False
    operations = getattr(network, "operations", layers)  # those of a functional network are more than its layers
    return sum(_reads(each, network.inputs[0]) for each in operations) == 1


def _reads(layer, tensor) -> bool:
    return any(tensor is each for node in layer._inbound_nodes for each in node.input_tensors)
