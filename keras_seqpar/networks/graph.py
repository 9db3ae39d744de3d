"""Walking through functional Keras models: the one place that leans on Keras's internals.

Where `keras.models.clone_model` does the same, it is used instead. It makes a model of symbolic
tensors; `replay` also runs arrays, tensors of other frameworks and plain Python objects through a
graph. Each internal that is used here is named in `tests/networks/test_graph.py`.

Keras writes every symbolic call of a layer down in the layer, for ever: `layer._inbound_nodes`. A
layer that many networks share would grow with each of them. `build_model` and `hold_weakly` leave
that record to the networks: it goes when they go.
"""

import functools
import threading
import weakref
from collections.abc import Callable, Iterator

import keras
from keras.src.backend.common import global_state

_building = threading.RLock()


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


def one_at_a_time(function: Callable) -> Callable:
    """Makes a function that calls layers symbolically wait for others of its kind.

    Keras numbers the calls of a layer without a lock, so two threads that cut networks out of the
    same one could get each other's tensors.
    """

    @functools.wraps(function)
    def locked(*args, **kwargs):
        with _building:
            return function(*args, **kwargs)

    return locked


def build_model(inputs, outputs, *, name: str | None = None, unused=()) -> keras.Model:
    """`keras.Model(inputs, outputs)` that leaves nothing in layers that it shares with others.

    Args:
        inputs: new `keras.Input`s, used for nothing else so far.
        outputs: what was computed of them.
        name: name of the model.
        unused: what was computed besides, and is not needed.

    Returns:
        The model. What Keras notes of it in shared layers is gone once it is.
    """
    _use_free_places(outputs)
    return hold_weakly(keras.Model(inputs, outputs, name=name), unused)


def hold_weakly(model: keras.Model, unused=()) -> keras.Model:
    """Makes the layers of a new functional model hold its graph weakly; returns the model.

    The first call of a layer stays: it belongs to the network that the layer was made for.
    """
    calls = [call for calls in model._nodes_by_depth.values() for call in calls]
    calls = dict.fromkeys([*calls, *(call for call, _ in _calls_before(unused))])
    for call in calls:
        kept = call.operation._inbound_nodes
        if kept[0] is not call:
            if not isinstance(kept, _Calls):
                kept = vars(call.operation)["_inbound_nodes"] = _Calls(kept)
            list.__setitem__(kept, kept.index(call), weakref.ref(call))
    ours = set(map(id, calls))
    for operation in {call.operation for call in calls}:  # Keras only adds to these lists
        outbound = operation._outbound_nodes
        outbound[:] = [call for call in outbound if id(call) not in ours]
    return model


class _Calls(list):
    """The calls of a layer that networks share; those of `hold_weakly` are weak references.

    It reads as a list of calls: in the place of one that is gone stands the first call, so that
    all others keep their number.
    """

    def __getitem__(self, key):
        found = super().__getitem__(key)
        return [self._call(x) for x in found] if isinstance(key, slice) else self._call(found)

    def __iter__(self):
        return map(self._call, super().__iter__())

    def index(self, call, *limits):
        return list(self).index(call, *limits)

    def _call(self, kept):
        call = kept() if isinstance(kept, weakref.ref) else kept
        return super().__getitem__(0) if call is None else call

    def free(self) -> list[int]:
        """The places whose calls are gone."""
        kept = enumerate(super().__iter__())
        return [i for i, x in kept if isinstance(x, weakref.ref) and x() is None]

    def is_new(self, place: int) -> bool:
        """Whether a call is held by this list alone."""
        return not isinstance(super().__getitem__(place), weakref.ref)


def _calls_before(outputs) -> list[tuple]:
    """All calls that symbolic tensors come from, each with its place in the list of its layer."""
    found: dict[int, tuple] = {}
    tensors = keras.tree.flatten(outputs)
    while tensors:
        operation, place, _ = tensors.pop()._keras_history
        call = operation._inbound_nodes[place]
        if id(call) not in found:
            found[id(call)] = call, place
            tensors += call.input_tensors
    return list(found.values())


def _use_free_places(outputs) -> None:
    """Moves calls that no model has yet to places in the lists of their layers that are free."""
    for call, place in sorted(_calls_before(outputs), key=lambda pair: -pair[1]):
        calls = call.operation._inbound_nodes
        if isinstance(calls, _Calls) and place == len(calls) - 1 and calls.is_new(place):
            free = calls.free()
            if free:
                calls[free[0]] = call
                del calls[place]
                for tensor in call.outputs:
                    tensor._keras_history = tensor._keras_history._replace(node_index=free[0])
                gone = calls.free()
                while gone and gone[-1] == len(calls) - 1:
                    del calls[gone.pop()]


def input_like(trunk: keras.Model):
    """A new input of the kind that a trunk takes, named `image`."""
    return keras.Input(trunk.input.shape[1:], dtype=trunk.input.dtype, name="image")


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


@one_at_a_time
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
    return build_model([features, *inputs[1:]] if inputs[1:] else features, outputs)


def bottlenecks(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that all paths of a model go through: at each of them it can be divided in two.

    Args:
        model: a functional model of one input and one output.
    """
    order: list[keras.Operation] = []
    numbers = {id(start := object()): -1}  # of what an operation returned
    kept, last_use = [start], {}

    def call(operation, *args, **kwargs):
        for value in keras.tree.flatten((args, kwargs)):
            if id(value) in numbers:
                last_use[numbers[id(value)]] = len(order)
        kept.append(output := object())
        numbers[id(output)] = len(order)
        order.append(operation)
        return output

    replay(model, start, call)
    found, furthest = [], last_use[-1]
    for number, operation in enumerate(order):
        if furthest <= number and isinstance(operation, keras.layers.Layer):
            found.append(operation)
        furthest = max(furthest, last_use.get(number, number))
    return found


def saved_twice(layer: keras.layers.Layer) -> list[str]:
    """Names of layers with weights before `layer` that a file being saved has twice already.

    Keras stores the weights of a layer once, and makes one layer for each time when it loads the
    file: it has no weights for the second one. Empty where no file is being saved.

    Args:
        layer: a layer of a functional model.
    """
    saved = global_state.get_global_attribute("shared_objects/id_to_config_map")
    if not saved:
        return []
    found: dict[int, keras.Operation] = {}
    calls = layer._inbound_nodes[:1]
    while calls:
        call = calls.pop()
        if id(call.operation) not in found:
            found[id(call.operation)] = call.operation
            calls += call.parent_nodes
    return [
        operation.name
        for key, operation in found.items()
        if "shared_object_id" in saved.get(key, {}) and getattr(operation, "weights", None)
    ]


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


def inner_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer holds, those inside them included; none for most layers.

    Blocks of KerasHub and KerasCV are single layers that hold convolutions and normalizations.
    """
    return layer._flatten_layers(include_self=False)


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


def replace_moments(layer: keras.layers.BatchNormalization, moments: Callable) -> None:
    """Makes a batch normalization compute the statistics of a batch in another way.

    Args:
        layer: a built layer.
        moments: returns mean and variance of inputs `(batch, ...)` over axes, a list.
    """
    layer._moments = lambda inputs, mask: moments(inputs, layer._reduction_axes)
