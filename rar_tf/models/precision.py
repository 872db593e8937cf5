"""Matrix products in bfloat16; everything else, and every variable, stays float32."""

import keras
from keras import layers

_PRODUCTS = (layers.Conv2D, layers.Dense)


def set_compute_dtype(network: keras.Model, dtype: str) -> None:
    """Let the network's convolutions and dense layers, but for the one that gives the logits, compute in a dtype.

    Their weights stay float32, and so do standardisation, batch norm, logits and losses; images are float32, and the
    gradients that make an attribution are added up in float32. Functions traced before keep the former dtype.

    Args:
      dtype: "float32" or "bfloat16".
    """
    policy = "mixed_bfloat16" if dtype == "bfloat16" else dtype
    products = [layer for layer in network._flatten_layers() if isinstance(layer, _PRODUCTS)]
    for layer in products[:-1]:
        layer.dtype_policy = keras.dtype_policies.get(policy)
