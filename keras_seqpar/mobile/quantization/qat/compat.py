"""All use of the internals of tf_keras and tensorflow-model-optimization (tfmot), in this file.

`tests/qat/test_compat.py` names each of them and says what depends on it. Both libraries are
imported when they are needed.
"""

import importlib
from collections.abc import Iterator
from typing import Any

_PREFIX = "quant_"  # of the names of tfmot's wrappers
_INPUT = "image"  # the input of every twin, which tfmot quantizes in a layer of its own


def need(name: str):
    """Imports a library of the [qat] extra.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{name} is needed ({error}). Install keras-seqpar[qat], best in an environment of its "
            "own: tensorflow-model-optimization wants an absl-py that other libraries find too old."
        ) from error


def layer_before(layer):
    """The only layer whose output a tf_keras layer takes."""
    (before,) = [node.inbound_layers for node in layer.inbound_nodes]
    return before


def kinds_after(layer) -> set[str]:
    """The class names of the layers that take a tf_keras layer's output."""
    return {type(node.outbound_layer).__name__ for node in layer.outbound_nodes}


def kernel_only():
    """How tfmot quantizes a layer of which only the kernel has a scale, not the output.

    tfmot itself uses it for dense layers.
    """
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    return registry.Default8BitQuantizeConfig(["kernel"], [], False)


def has_fake_quantization(model) -> bool:
    """A tf_keras model has tfmot's wrappers."""
    return any(layer.name.startswith(_PREFIX) for layer in model.layers)


def freeze(aware, name: str) -> None:
    """Keeps the weights of a layer as they are while the model with fake quantization trains.

    Args:
        aware: the model with fake quantization.
        name: of the layer before it was wrapped.
    """
    wrapper = aware.get_layer(_PREFIX + name)
    wrapper.trainable = False
    # The wrapper lists its kernel here, and trains what is listed although it is frozen.
    wrapper._non_trainable_weights += wrapper._trainable_weights
    wrapper._trainable_weights = []


def named_variables(model) -> dict[str, Any]:
    """All variables of a tf_keras model, wrapped by tfmot or not.

    Returns:
        `layer/variable`, named as in Keras 3 -> the variable.
    """
    found = {}
    for wrapper in model.layers:
        name = getattr(wrapper, "layer", wrapper).name  # tfmot's wrappers have a `layer`
        for key, variable in _variables(wrapper).items():
            found[f"{name}/{key.removeprefix('depthwise_')}"] = variable
    return found


def kernel_ranges(aware) -> Iterator[tuple]:
    """Yields the kernel of every layer and the two variables of its range: least and largest."""
    for layer in aware.layers:
        variables = _variables(layer)
        for kernel in ("kernel", "depthwise_kernel"):
            if f"{kernel}_min" in variables:
                yield variables[kernel], variables[f"{kernel}_min"], variables[f"{kernel}_max"]


def feature_ranges(aware) -> dict[str, tuple]:
    """The variables of the ranges of features.

    Returns:
        Name of a layer before it was wrapped -> the two variables of the range of its output.
    """
    found = {}
    for layer in aware.layers:
        variables = _variables(layer)
        for kind in ("output", "post_activation", layer.name):  # the last: of the input
            if f"{kind}_min" in variables:
                name = _INPUT if kind == layer.name else layer.name.removeprefix(_PREFIX)
                found[name] = variables[f"{kind}_min"], variables[f"{kind}_max"]
    return found


def _variables(layer) -> dict[str, Any]:
    """The variables of a tf_keras layer by the last part of their names."""
    return {v.name.split("/")[-1].partition(":")[0]: v for v in layer.weights}
