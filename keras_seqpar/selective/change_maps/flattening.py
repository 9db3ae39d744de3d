"""A functional Keras model, nested ones included, as one list of layer calls."""

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
        name: its name, made unique where a layer is called twice.
        inputs: numbers of the values it takes.
        outputs: numbers of the values it gives.
        args: its positional arguments, with a `Value` in place of each tensor.
        kwargs: its named arguments, likewise.
    """

    layer: keras.Operation
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    args: tuple
    kwargs: Mapping

    @property
    def constants(self) -> list:
        """The arrays and variables among its arguments."""
        given = keras.tree.flatten((self.args, self.kwargs))
        return [x for x in given if hasattr(x, "shape")]


@dataclasses.dataclass(frozen=True)
class Value:
    """Stands for the tensor of this number."""

    number: int


@dataclasses.dataclass(frozen=True)
class Flat:
    """A model as a list of calls.

    Args:
        calls: in an order in which they can be made.
        inputs: numbers of the model's inputs.
        outputs: the model's output structure, with numbers in place of tensors.
        shapes: of every value, without the batch.
        dtypes: of every value.
    """

    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: object
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]


def flatten(model: keras.Model, input_shape: Sequence[int] | None = None) -> Flat:
    """Lists a functional model's layer calls; those of nested models are in the list.

    Args:
        model: a functional or sequential model; its first input is the frame.
        input_shape: `(height, width, channels)` of the frame; by default the model's own.

    Returns:
        The list.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no functional one, its first input is no image, or a size is not
            known or does not fit.
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
                "Beside the frame, a stream takes inputs of shape (numbers,) only, such as gains."
            )
        specs.append(keras.KerasTensor((1, *x.shape[1:]), x.dtype))

    tensors: list = []  # kept alive, so that their ids stay theirs
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

    Names, which Keras counts up from model to model, and how weights began do not matter.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((flat.shapes, flat.inputs, flat.outputs)).encode())
    for call in flat.calls:
        try:
            config = {k: v for k, v in call.layer.get_config().items() if not _aside(k)}
            config = json.dumps(config, sort_keys=True, default=str)
        except Exception:  # a layer that cannot say what it is: its class must do
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


def _aside(setting: str) -> bool:
    return setting in ("name", "trainable") or setting.endswith("_initializer")


def graph_of(model: keras.Model) -> keras.Model:
    """A model as a functional one, or a `ValueError` that says why that cannot be."""
    graph = functional(model)
    if graph is None:
        raise ValueError(
            f"The model {model.name!r} of class {type(model).__name__} is no functional model, so "
            "its layers cannot be listed. Build it with keras.Model(inputs, outputs)."
        )
    return graph


def _frame_shape(model, own: tuple, given: Sequence[int] | None) -> tuple[int, ...]:
    if len(own) != 3:
        raise ValueError(
            f"The model {model.name!r} takes inputs of shape {own}. A stream needs a model of "
            "images: its first input must be (height, width, channels)."
        )
    shape = tuple(own if given is None else given)
    fits = len(shape) == 3 and all(mine in (None, n) for mine, n in zip(own, shape, strict=True))
    if not fits:
        raise ValueError(
            f"input_shape {shape} does not fit the model {model.name!r}, which takes {own}."
        )
    if not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            f"The size of a frame must be known, but it is {shape}. "
            "Give input_shape=(height, width, channels)."
        )
    return shape


def _is_tensor(x) -> bool:
    return isinstance(x, keras.KerasTensor)


def positions(shape: Sequence[int]) -> int:
    """How many positions a value of shape `(height, width, channels)` has; else 1."""
    return math.prod(shape[:2]) if len(shape) == 3 else 1
