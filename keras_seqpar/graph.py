"""Walking through functional Keras models: the one place that leans on Keras's internals."""

from collections.abc import Callable, Iterator

import keras


def replay(model: keras.Model, inputs, call: Callable):
    """Runs a functional model's graph again, with a say in every layer's call.

    Args:
        model: a functional model.
        inputs: tensors or `KerasTensor`s in the structure of `model.inputs`.
        call: `call(layer, *args, **kwargs)` computes a layer's outputs; to change nothing,
            return `layer(*args, **kwargs)`.

    Returns:
        The outputs.
    """
    return model._run_through_graph(inputs, call_fn=call)


def leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields all layers that are no models, those of nested models included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer
