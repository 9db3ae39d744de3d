"""Layers that Keras has quantized (`model.quantize("int8")`): their weights are other numbers."""

import keras

from keras_seqpar.networks.graph import leaf_layers


def quantization_mode(layer) -> str | None:
    """How Keras has quantized a layer, whatever its class: "int8", "gptq", ...; else `None`.

    A weight named `kernel` then holds integers, packed ones or scaled ones, and the layer computes
    with them in a way of its own. Call the layer, and do not read its weights.

    Args:
        layer: a layer or another operation.

    Example:

    >>> quantization_mode(keras.layers.Dense(1))
    """
    policy = getattr(layer, "dtype_policy", None)
    return getattr(policy, "quantization_mode", None) or getattr(layer, "quantization_mode", None)


def refuse_quantized(model: keras.Model, next_step: str) -> None:
    """Refuses a network with layers that Keras has quantized.

    Args:
        model: any model.
        next_step: what to do instead, a sentence.

    Raises:
        ValueError: the network has such layers; the message names them.
    """
    found = [(x, mode) for x in leaf_layers(model) if (mode := quantization_mode(x))]
    if found:
        names = [f"{x.name!r}, a {type(x).__name__} in {mode}" for x, mode in found[:5]]
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise ValueError(
            f"The model {model.name!r} was quantized by Keras ({'; '.join(names)}{more}). "
            f"{next_step}"
        )
