"""Networks that do not see the scale of their images, f(αx) = f(x) for α > 0, as those that standardise each image."""

from rar_tf.models import graph


def is_scale_invariant(network) -> bool:
    """Return whether the network declares f(αx) = f(x): by itself, or because its first layer does.

    A declaration is an attribute `scale_invariant`; a Keras model is taken at the word of its first layer where that
    layer is the only one that reads the model's input.
    """
    if getattr(network, "scale_invariant", False):
        return True
    readers = graph.readers(network)
    return len(readers) == 1 and bool(getattr(readers[0].operation, "scale_invariant", False))
