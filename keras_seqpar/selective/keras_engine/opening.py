"""Opens a Keras model for a stream: converted for LiteRT, or to be run layer by layer on Keras."""

import contextlib
import dataclasses
import importlib.util
import math
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_seqpar.mobile.export.converting import convert
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.networks.graph import build_model, one_at_a_time, replay
from keras_seqpar.networks.inputs import normalization_of
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.selective.keras_engine.graph import check_model, graph_of, read_model
from keras_seqpar.selective.keras_engine.sessions import KerasSessions
from keras_seqpar.selective.litert_engine.opening import open_file
from keras_seqpar.selective.network import Inputs, Network, check_limit
from keras_seqpar.selective.planning.engine import Engine
from keras_seqpar.selective.planning.planner import make_plan
from keras_seqpar.surgery.unknowns import with_threshold
from keras_seqpar.utils.pixels import PIXELS, Limits, limits_of
from keras_seqpar.utils.progress import note

# What pixels of 0 to 255 are divided by in a network's first layer: a standard deviation of them
# (57 for ImageNet's), half of their range or all of it.
_LEAST_DIVISOR, _MOST_DIVISOR = 30, 260


def open_model(
    model: keras.Model,
    engine: str | None = None,
    input_shape: Sequence[int] | None = None,
    **on_litert,
) -> Network:
    """Opens a Keras model; see `keras_seqpar.selective.stream` for the arguments.

    Raises:
        TypeError: it is no Keras model.
        ValueError: it cannot be a stream, LiteRT is wanted but cannot run it, or it needs more
            memory than `memory_limit`.
    """
    check_model(model, input_shape)
    if engine != "keras":
        missing = _missing(on_litert["interpreter"])
        if not missing:
            try:
                with _converted(model, input_shape) as path:
                    opened = open_file(path, who=f"the model {model.name!r}", **on_litert)
                inputs = dataclasses.replace(opened.inputs, limits=_stated_limits(model))
                known = opened.fingerprint
                with contextlib.suppress(ValueError):  # what only LiteRT runs
                    known = read_model(model, input_shape).fingerprint
                return dataclasses.replace(opened, inputs=inputs, fingerprint=known)
            except _NotConvertible as error:
                missing = str(error)
        if engine == "litert":
            raise ValueError(f"The model {model.name!r} cannot run on LiteRT: {missing}")
        note(f"{model.name!r} runs layer by layer on Keras, slower on CPUs than LiteRT: {missing}")
    plan = make_plan(read_model(model, input_shape))
    graph, tensors = plan.graph, plan.graph.tensors
    weights = sum(math.prod(x.shape) * np.dtype("float32").itemsize for x in model.weights)
    memory = weights + sum(tensors[i].nbytes for i in (*plan.stored, plan.frame))
    check_limit(graph.name, memory, on_litert["memory_limit"])
    return Network(
        engine=Engine(plan, KerasSessions()),
        inputs=Inputs(
            who=graph.name,
            shape=tensors[plan.frame].shape[1:],
            extras={graph.inputs[i]: (tensors[i].shape, tensors[i].dtype) for i in plan.extras},
            limits=_stated_limits(model),
        ),
        encode=lambda values, i: values.astype(tensors[i].dtype),
        runs_on=f"Keras {keras.version()} on {keras.config.backend()}",
        memory=memory,
        fingerprint=graph.fingerprint,
    )


@one_at_a_time
def open_sizes(model: keras.Model) -> keras.Model:
    """Makes a network take frames of any size.

    Args:
        model: a functional model with one image as its input.

    Returns:
        The same network, which shares all layers with `model`, for images of any height and width.

    Example:

    >>> open_sizes(street).input_shape
    (None, None, None, 3)
    """
    shape = model.inputs[0].shape
    if shape[1] is None and shape[2] is None:
        return model

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return replay(graph_of(layer), args[0], call)
        return layer(*args, **kwargs)

    inputs = keras.Input((None, None, shape[3]), dtype=model.inputs[0].dtype)
    return build_model(inputs, replay(graph_of(model), inputs, call), name=model.name)


class _NotConvertible(ValueError):
    """A model that TFLite cannot express."""


def _missing(interpreter: str | None) -> str:
    """What a conversion for LiteRT would need, or `""`."""
    if keras.config.backend() != "tensorflow":
        return f"Keras runs on {keras.config.backend()}, and conversion needs TensorFlow."
    if importlib.util.find_spec("flatbuffers") is None:
        return 'conversion needs pip install "keras-seqpar[mobile]".'
    try:
        find_interpreter(interpreter)
    except ImportError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def _converted(model: keras.Model, input_shape: Sequence[int] | None) -> Iterator[pathlib.Path]:
    """A model as a file of float32 that is not kept."""
    note(f"converting {model.name!r} to float32 for LiteRT, in memory")
    parts = _parts_of(model)
    if parts is not None and parts.threshold is not None:
        model = with_threshold(model, None)  # the decision is not among its own outputs
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.tflite")
        try:
            convert(
                model,
                path,
                quantization="float32",
                image_size=None if input_shape is None else (input_shape[0], input_shape[1]),
                labels=False,
            )
        except ValueError as error:
            raise _NotConvertible(str(error)) from error
        yield path


def _stated_limits(model: keras.Model) -> Limits | None:
    """The range of frames that a model states; `None` where nothing states it.

    Networks of this package know how they were built. In other networks a first layer that brings
    pixels into a small range says that they take pixels.
    """
    parts = _parts_of(model)
    if parts is None:
        inner = (x for x in model.layers if not isinstance(x, keras.layers.InputLayer))
        return PIXELS if _takes_pixels(next(inner, None)) else None
    return limits_of(normalization_of(parts, model.inputs[0].shape[-1])[1])


def _parts_of(model: keras.Model):
    """The parts of a network of this package; `None` of others."""
    try:
        return find_parts(model, allow_plain=True)
    except ValueError:
        return None


def _takes_pixels(first) -> bool:
    """Whether the first layer of a model brings pixels of 0 to 255 into a small range."""
    if isinstance(first, keras.layers.Rescaling):
        divisor = 1 / np.maximum(np.abs(np.mean(keras.ops.convert_to_numpy(first.scale))), 1e-9)
    elif isinstance(first, keras.layers.Normalization) and first.input_mean is not None:
        divisor = np.sqrt(np.mean(first.input_variance))
    else:
        return False
    return bool(_LEAST_DIVISOR < divisor < _MOST_DIVISOR)
