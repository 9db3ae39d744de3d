"""Reads a functional Keras model as a graph of layer calls, those of nested models included."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.networks.graph import functional, replay
from keras_seqpar.selective.keras_engine import rules
from keras_seqpar.selective.keras_engine.calls import LayerCall, Value
from keras_seqpar.selective.planning import graph as planning
from keras_seqpar.selective.planning.effects import Effect


@dataclasses.dataclass(frozen=True)
class Tensor(planning.Tensor):
    """What a layer takes or gives; its name is the layer's.

    Args:
        kind: Keras's name of its type.
    """

    kind: str

    @property
    def dtype(self) -> np.dtype:
        """NumPy's type of its stored values; float32 in place of bfloat16, which NumPy has not."""
        return np.dtype("float32" if self.kind == "bfloat16" else self.kind)


@dataclasses.dataclass(frozen=True)
class Graph(planning.Graph):
    """The calls of a model.

    Args:
        model_name: name of the model.
    """

    tensors: tuple[Tensor, ...]
    operations: tuple[LayerCall, ...]
    model_name: str

    @property
    def name(self) -> str:
        """What messages call the model."""
        return f"the model {self.model_name!r}"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of layers, settings, connections, sizes and weights.

        Names are left out, since Keras numbers them anew in every model, and so are `trainable`
        and the initializers of weights.
        """
        digest = hashlib.blake2b(digest_size=16)
        shapes = [x.shape for x in self.tensors]
        digest.update(repr((shapes, list(self.inputs), list(self.outputs))).encode())
        for call in self.operations:
            try:
                config = {k: v for k, v in call.layer.get_config().items() if not _is_left_out(k)}
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

    def effect_of(self, operation: LayerCall) -> Effect:
        """What a layer does to positions."""
        return rules.effect_of(
            operation,
            [self.tensors[i].shape for i in operation.inputs],
            [self.tensors[i].shape for i in operation.outputs],
        )

    def macs_of(self, operation: LayerCall) -> int:
        """Multiply-accumulates of a layer on whole maps; convolutions and dense layers only."""
        if not operation.inputs or not operation.outputs:
            return 0
        old, new = (self.tensors[x[0]].shape for x in (operation.inputs, operation.outputs))
        return rules.macs_of(operation.layer, old, new)

    def has_weights(self, operation: LayerCall) -> bool:
        """No layer has weights among its inputs: its own are part of it."""
        return False


def read_model(model: keras.Model, input_shape: Sequence[int] | None = None) -> Graph:
    """Reads the layer calls of a functional model.

    Args:
        model: a functional or sequential model whose first input is the frame.
        input_shape: `(height, width, channels)` of the frame; by default the model's own.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: the model is not functional, its first input is not an image, the size of the
            frame is unknown, or `input_shape` contradicts the model.
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
        tensors.append(
            Tensor(name, tuple(tensor.shape), None, keras.backend.standardize_dtype(tensor.dtype))
        )
        return copy

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return replay(graph_of(layer), args[0], call)
        count = times[layer.name] = times.get(layer.name, 0) + 1
        name = layer.name if count == 1 else f"{layer.name}:{count}"
        outputs = keras.tree.map_structure(
            lambda x: new(x, name), layer.compute_output_spec(*args, **kwargs)
        )
        given = keras.tree.flatten((args, kwargs))
        stand_in = keras.tree.map_structure(
            lambda x: Value(numbers[id(x)]) if _is_tensor(x) else x, (args, kwargs)
        )
        calls.append(
            LayerCall(
                type(layer).__name__,
                tuple(numbers[id(x)] for x in given if _is_tensor(x)),
                tuple(numbers[id(x)] for x in keras.tree.flatten(outputs)),
                layer,
                *stand_in,
            )
        )
        return outputs

    inputs = [new(x, own.name) for x, own in zip(specs, source.inputs, strict=True)]
    outputs = keras.tree.flatten(replay(source, inputs, call))
    return Graph(
        tuple(tensors),
        tuple(calls),
        {numbers[id(x)]: own.name for x, own in zip(inputs, source.inputs, strict=True)},
        {numbers[id(x)]: name for x, name in zip(outputs, source.output_names, strict=True)},
        model.name,
    )


def check_model(model, input_shape: Sequence[int] | None = None) -> None:
    """Refuses what is no model of images of one size.

    Raises:
        TypeError: it is no Keras model.
        ValueError: its inputs are not known, or sizes are open, or other than `input_shape`.
    """
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
    wanted = shapes[0] if input_shape is None else tuple(input_shape)
    if None in wanted:
        raise ValueError(
            f"The model {model.name!r} takes images of any size, but a stream frames of one. Give "
            "input_shape=(height, width, channels)."
        )
    if len(wanted) != 3 or any(x not in (None, y) for x, y in zip(shapes[0], wanted, strict=False)):
        raise ValueError(
            f"input_shape={input_shape} does not fit the model {model.name!r}, which takes images "
            f"of the shape {shapes[0]}."
        )


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


def _is_left_out(setting: str) -> bool:
    return setting in ("name", "trainable") or setting.endswith("_initializer")


def _is_tensor(x) -> bool:
    return isinstance(x, keras.KerasTensor)
