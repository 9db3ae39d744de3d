"""Reads a functional Keras model as a graph of layer calls, those of nested models included."""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.networks.graph import functional, replay
from keras_seqpar.selective.keras_engine import rules
from keras_seqpar.selective.keras_engine.rules import LayerCall, Value
from keras_seqpar.selective.planning import graph as planning
from keras_seqpar.selective.planning.graph import Graph
from keras_seqpar.utils.sizes import check_sizes


@dataclasses.dataclass(frozen=True)
class Tensor(planning.Tensor):
    """What a layer takes or gives; its name is the layer's."""

    # Keras's name of its type; bfloat16 is stored as float32, since NumPy has it not
    kind: str = "float32"


def read_model(model: keras.Model, input_shape: Sequence[int] | None = None) -> Graph:
    """Reads the layer calls of a functional model whose first input is the frame.

    `input_shape` is that of the frame, `(height, width, channels)`; by default the model's own.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: it is not functional, its first input is not an image, the size of the frame is
            unknown, or `input_shape` contradicts it.
    """
    check_model(model, input_shape)
    source = graph_of(model)
    frame, *others = source.inputs
    shape = tuple(input_shape or frame.shape[1:])
    specs = [keras.KerasTensor((1, *shape), frame.dtype)]
    for x in others:
        if len(x.shape) > 2 or None in x.shape[1:]:
            raise ValueError(
                f"The model {model.name!r} has a second input {x.name!r} of shape {x.shape[1:]}. "
                "In addition to the frame, a stream takes only vectors, such as gains."
            )
        specs.append(keras.KerasTensor((1, *x.shape[1:]), x.dtype))

    made: list = []  # kept alive, so that no other object gets one of their ids
    numbers: dict[int, int] = {}
    tensors: list[Tensor] = []
    calls: list[LayerCall] = []
    times: dict[str, int] = {}

    def new(tensor, name: str) -> keras.KerasTensor:
        copy = keras.KerasTensor(tensor.shape, tensor.dtype)
        numbers[id(copy)] = len(made)
        made.append(copy)
        kind = keras.backend.standardize_dtype(tensor.dtype)
        dtype = np.dtype("float32" if kind == "bfloat16" else kind)
        tensors.append(Tensor(name, tuple(tensor.shape), dtype, kind=kind))
        return copy

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return replay(graph_of(layer), args[0], call)
        if "training" in inspect.signature(layer.call).parameters:
            kwargs["training"] = False  # as `predict` does, whatever a layer was called with
        count = times[layer.name] = times.get(layer.name, 0) + 1
        name = layer.name if count == 1 else f"{layer.name}:{count}"
        outputs = keras.tree.map_structure(
            lambda x: new(x, name), layer.compute_output_spec(*args, **kwargs)
        )
        stand_in = keras.tree.map_structure(
            lambda x: Value(numbers[id(x)]) if isinstance(x, keras.KerasTensor) else x,
            (args, kwargs),
        )
        given = [x.number for x in keras.tree.flatten(stand_in) if isinstance(x, Value)]
        results = tuple(numbers[id(x)] for x in keras.tree.flatten(outputs))
        calls.append(LayerCall(type(layer).__name__, tuple(given), results, layer, *stand_in))
        return outputs

    inputs = [new(x, own.name) for x, own in zip(specs, source.inputs, strict=True)]
    outputs = keras.tree.flatten(replay(source, inputs, call))
    named_inputs = {numbers[id(x)]: y.name for x, y in zip(inputs, source.inputs, strict=True)}
    named = {numbers[id(x)]: name for x, name in zip(outputs, source.output_names, strict=True)}
    fingerprint = _fingerprint(tensors, calls, (list(named_inputs), list(named)))
    name = f"the model {model.name!r}"
    return Graph(tuple(tensors), tuple(calls), named_inputs, named, rules, name, fingerprint)


def _fingerprint(tensors: list[Tensor], calls: list[LayerCall], ends: tuple) -> str:
    """A hash of layers, settings, connections, sizes and weights.

    Names are left out, since Keras numbers them anew in every model, and so are `trainable` and
    the initializers of weights.
    """
    digest = hashlib.blake2b(repr(([x.shape for x in tensors], ends)).encode(), digest_size=16)
    for call in calls:
        try:
            config = call.layer.get_config()
            config = {
                key: value
                for key, value in config.items()
                if key not in ("name", "trainable") and not key.endswith("_initializer")
            }
            config = json.dumps(config, sort_keys=True, default=str)
        except Exception:  # a layer without get_config: its class has to be enough
            config = ""
        given = keras.tree.flatten((call.args, call.kwargs))
        plain = [x for x in given if isinstance(x, (bool, int, float, str, Value))]
        digest.update(repr((call.name, call.inputs, call.outputs, config, plain)).encode())
        weights = [weight.value for weight in getattr(call.layer, "weights", ())]
        for weight in (*weights, *call.constants):
            array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            digest.update(repr((array.shape, str(array.dtype))).encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def check_model(model, input_shape: Sequence[int] | None = None) -> None:
    """Refuses what is no model of images of one size."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            "A stream needs the path of a .tflite file or a keras.Model, got "
            f"{type(model).__name__}. Read a .keras file with keras.models.load_model first."
        )
    try:
        shapes = [tuple(x.shape[1:]) for x in model.inputs]
    except (AttributeError, TypeError):  # a subclassed model, or one that is not built
        shapes = []
    if not shapes or len(shapes[0]) != 3:
        raise ValueError(
            f"The model {model.name!r} has inputs of the shapes {shapes}, but a stream needs a "
            "functional model whose first input is an image, (height, width, channels)."
        )
    wanted = shapes[0]
    if input_shape is not None:
        wanted = check_sizes(input_shape, "input_shape", "(height, width, channels)")
    if None in wanted:
        raise ValueError(
            f"The model {model.name!r} takes images of any size, but a stream frames of one. Give "
            "input_shape=(height, width, channels)."
        )
    if any(x not in (None, y) for x, y in zip(shapes[0], wanted, strict=True)):
        raise ValueError(
            f"input_shape={input_shape} does not fit the model {model.name!r}, which takes images "
            f"of the shape {shapes[0]}."
        )


def graph_of(model: keras.Model) -> keras.Model:
    """A functional or sequential model as a functional model; others raise a `ValueError`."""
    graph = functional(model)
    if graph is None:
        raise ValueError(
            f"The model {model.name!r} of class {type(model).__name__} is not a functional model, "
            "so its layers cannot be listed. Build it with keras.Model(inputs, outputs)."
        )
    return graph
