"""A functional Keras model as one list of layer calls, those of nested models included."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_seqpar.networks.graph import functional, replay


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer.

    Args:
        layer: the layer, or another Keras operation.
        name: name of the layer; for further calls of the same layer with `:2`, `:3`, ...
        inputs: numbers of the values that it takes.
        outputs: numbers of the values that it gives.
        args: positional arguments, with a `Value` in place of each tensor.
        kwargs: named arguments, likewise.
    """

    layer: keras.Operation
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    args: tuple
    kwargs: Mapping

    @property
    def constants(self) -> list:
        """The arrays and variables among the arguments."""
        given = keras.tree.flatten((self.args, self.kwargs))
        return [x for x in given if hasattr(x, "shape")]


@dataclasses.dataclass(frozen=True)
class Value:
    """Takes the place of the tensor with this number."""

    number: int


@dataclasses.dataclass(frozen=True)
class Flat:
    """A model as a list of calls.

    Args:
        calls: the calls; each comes after those whose outputs it takes.
        inputs: numbers of the model's inputs.
        outputs: the model's output structure, with numbers in place of tensors.
        shapes: shape of every value, without the batch axis.
        dtypes: type of every value.
    """

    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: object
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]


def flatten(model: keras.Model, input_shape: Sequence[int] | None = None) -> Flat:
    """Lists the layer calls of a functional model, those of nested models included.

    Args:
        model: a functional or sequential model whose first input is the frame.
        input_shape: `(height, width, channels)` of the frame; by default the model's own.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: the model is not functional, its first input is not an image, the size of the
            frame is unknown, or `input_shape` contradicts the model.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, got {model!r} of type {type(model).__name__}.")
    graph = graph_of(model)
    frame, *others = graph.inputs
    shape = _frame_shape(model, tuple(frame.shape[1:]), input_shape)
    specs = [keras.KerasTensor((1, *shape), frame.dtype)]
    for x in others:
        if len(x.shape) > 2 or None in x.shape[1:]:
            raise ValueError(
                f"The model {model.name!r} has a second input {x.name!r} of shape {x.shape[1:]}. "
                "In addition to the frame, a stream takes only vectors, such as gains."
            )
        specs.append(keras.KerasTensor((1, *x.shape[1:]), x.dtype))

    tensors: list = []  # kept alive, so that no other object gets one of their ids
    numbers: dict[int, int] = {}
    calls: list[Call] = []
    names: dict[str, int] = {}

    def number(tensor) -> int:
        return numbers[id(tensor)]

    def new(tensor) -> keras.KerasTensor:
        made = keras.KerasTensor(tensor.shape, tensor.dtype)
        numbers[id(made)] = len(tensors)
        tensors.append(made)
        return made

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return replay(graph_of(layer), args[0], call)
        outputs = keras.tree.map_structure(new, layer.compute_output_spec(*args, **kwargs))
        times = names[layer.name] = names.get(layer.name, 0) + 1
        given = keras.tree.flatten((args, kwargs))
        stand_in = keras.tree.map_structure(
            lambda x: Value(number(x)) if _is_tensor(x) else x, (args, kwargs)
        )
        calls.append(
            Call(
                layer,
                layer.name if times == 1 else f"{layer.name}:{times}",
                tuple(number(x) for x in given if _is_tensor(x)),
                tuple(number(x) for x in keras.tree.flatten(outputs)),
                *stand_in,
            )
        )
        return outputs

    inputs = [new(x) for x in specs]
    outputs = keras.tree.map_structure(number, replay(graph, inputs, call))
    shapes = tuple(tuple(x.shape[1:]) for x in tensors)
    return Flat(
        tuple(calls),
        tuple(number(x) for x in inputs),
        outputs,
        shapes,
        tuple(x.dtype for x in tensors),
    )


def fingerprint(flat: Flat) -> str:
    """A hash of layers, settings, connections, sizes and weights: equal for equal networks.

    Names are left out, since Keras numbers them anew in every model, and so are `trainable` and
    the initializers of weights.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((flat.shapes, flat.inputs, flat.outputs)).encode())
    for call in flat.calls:
        try:
            config = {k: v for k, v in call.layer.get_config().items() if not _is_left_out(k)}
            config = json.dumps(config, sort_keys=True, default=str)
        except Exception:  # a layer without get_config: its class has to be enough
            config = ""
        given = keras.tree.flatten((call.args, call.kwargs))
        plain = [x for x in given if isinstance(x, (bool, int, float, str, Value))]
        kind = type(call.layer).__name__
        digest.update(repr((kind, call.inputs, call.outputs, config, plain)).encode())
        weights = [weight.value for weight in getattr(call.layer, "weights", ())]
        for weight in (*weights, *call.constants):
            array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            digest.update(repr((array.shape, str(array.dtype))).encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def _is_left_out(setting: str) -> bool:
    return setting in ("name", "trainable") or setting.endswith("_initializer")


def graph_of(model: keras.Model) -> keras.Model:
    """A functional or sequential model as a functional model.

    Raises:
        ValueError: the model is of another kind.
    """
    graph = functional(model)
    if graph is None:
        raise ValueError(
            f"The model {model.name!r} of class {type(model).__name__} is not a functional model, "
            "so its layers cannot be listed. Build it with keras.Model(inputs, outputs)."
        )
    return graph


def _frame_shape(model, own: tuple, given: Sequence[int] | None) -> tuple[int, ...]:
    if len(own) != 3:
        raise ValueError(
            f"The model {model.name!r} takes inputs of shape {own}. A stream needs a model "
            "whose first input is an image of shape (height, width, channels)."
        )
    shape = tuple(own if given is None else given)
    fits = len(shape) == 3 and all(mine in (None, n) for mine, n in zip(own, shape, strict=True))
    if not fits:
        raise ValueError(
            f"input_shape {shape} does not fit the model {model.name!r}, whose inputs have the "
            f"shape {own}."
        )
    if not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            f"The size of a frame must be known, but it is {shape}. "
            "Pass input_shape=(height, width, channels)."
        )
    return shape


def _is_tensor(x) -> bool:
    return isinstance(x, keras.KerasTensor)


def positions(shape: Sequence[int]) -> int:
    """The number of positions of a value: `height * width` for a map, 1 for other shapes."""
    return math.prod(shape[:2]) if len(shape) == 3 else 1
