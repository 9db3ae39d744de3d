"""Walking through functional Keras models: the one place that leans on Keras's internals.

Where `keras.models.clone_model` does the same, it is used instead. It makes a model of symbolic
tensors; `replay` also runs arrays, tensors of other frameworks and plain Python objects through a
graph. Each internal that is used here is named in `tests/networks/test_graph.py`.
"""

from collections.abc import Callable, Iterator

import keras


def replay(model: keras.Model, inputs, call: Callable):
    """Runs a functional model's graph again; `call` decides what each layer computes.

    Args:
        model: a functional model.
        inputs: tensors or `KerasTensor`s in the structure of `model.inputs`.
        call: `call(layer, *args, **kwargs)` computes a layer's outputs; to change nothing,
            return `layer(*args, **kwargs)`.

    Returns:
        The outputs.

    Example:

    >>> names = []
    >>> def call(layer, *args, **kwargs):
    ...     names.append(layer.name)
    ...     return layer(*args, **kwargs)
    >>> outputs = replay(model, images, call)
    """
    return model._run_through_graph(inputs, call_fn=call)


def functional(model) -> keras.Model | None:
    """A model in the form that `replay` can run.

    Args:
        model: anything.

    Returns:
        A functional model itself, a built sequential one as a functional one of the same layers,
        `None` for everything else.
    """
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model if hasattr(model, "_run_through_graph") else None


def behind(model: keras.Model, layer: keras.layers.Layer) -> keras.Model:
    """The same network from a layer's output on; all layers are shared.

    Args:
        model: a functional model whose first input goes through `layer`.
        layer: the last layer that is left out.

    Returns:
        A network from `layer`'s output, an input named `features`, and the other inputs.
    """
    output = layer.output
    features = keras.Input(output.shape[1:], dtype=output.dtype, name="features")
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype) for x in model.inputs]

    def call(each, *args, **kwargs):
        return features if each is layer else each(*args, **kwargs)

    outputs = replay(model, inputs if len(inputs) > 1 else inputs[0], call)
    return keras.Model([features, *inputs[1:]] if inputs[1:] else features, outputs)


def leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields all layers that are no models, those of nested models included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def called_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields all layers that are no models and no inputs, those of nested models included."""
    return (x for x in leaf_layers(model) if not isinstance(x, keras.layers.InputLayer))


def internal_class(operation) -> tuple[str, str] | None:
    """The class of an operation that Keras uses in models but does not export.

    Such classes are the operations that `x + y` and `keras.ops.relu(x)` add to a functional
    model (in `keras.src.ops`), and some layers of the networks of `keras.applications` (in
    `keras.src.applications`). They have no public name, so they are known by these names.

    Args:
        operation: a layer or another operation of a functional model.

    Returns:
        `("ops", class name)` or `("applications", class name)`; `None` for every other class.
    """
    for package in ("ops", "applications"):
        if type(operation).__module__.startswith(f"keras.src.{package}."):
            return package, type(operation).__name__
    return None
