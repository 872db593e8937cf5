"""Matrix products of fewer digits; everything else, and every variable, stays float32."""

import keras
from keras import layers

from rar_tf import arithmetic

_PRODUCTS = (layers.Conv2D, layers.Dense)


def set_compute_dtype(network: keras.Model, dtype: str) -> None:
    """Let the network's convolutions and dense layers, but for the one that gives the logits, compute in a dtype.

    Their weights stay float32, and so do standardisation, batch norm, logits and losses; images are float32, and the
    gradients that make an attribution are added up in float32. Functions traced before keep the former dtype.

    Args:
      dtype: "float32", "bfloat16", or "tensorfloat32", which is float32 but on a GPU with TensorFloat-32, and holds for
        every product of the process until another dtype is set.
    """
    arithmetic.settle()
    arithmetic.allow_tensor_float_32(dtype == "tensorfloat32")
    policy = "mixed_bfloat16" if dtype == "bfloat16" else "float32"
    products = [layer for layer in network._flatten_layers() if isinstance(layer, _PRODUCTS)]
    for layer in products[:-1]:
        layer.dtype_policy = keras.dtype_policies.get(policy)
