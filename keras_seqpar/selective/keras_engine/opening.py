"""Opens a Keras model for a stream: converted for LiteRT, or to be run layer by layer on Keras."""

import contextlib
import importlib.util
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import keras

from keras_seqpar.mobile.export.converting import convert
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.selective.litert_engine.opening import open_file, plan_file
from keras_seqpar.selective.network import Network
from keras_seqpar.selective.planning.plan import Plan
from keras_seqpar.surgery.unknowns import with_threshold
from keras_seqpar.utils.progress import note


def open_model(
    model: keras.Model,
    engine: str | None = None,
    input_shape: Sequence[int] | None = None,
    *,
    num_threads: int = 1,
    interpreter: str | None = None,
    memory_limit: int | None = None,
) -> Network:
    """Opens a Keras model; see `keras_seqpar.selective.stream` for the arguments.

    Raises:
        TypeError: it is no Keras model.
        ValueError: it cannot be a stream, LiteRT is wanted but cannot run it, or it needs more
            memory than `memory_limit`.
    """
    _check(model, input_shape)
    if engine != "keras":
        missing = _missing(interpreter)
        if not missing:
            try:
                with _converted(model, input_shape) as path:
                    return open_file(
                        path,
                        num_threads=num_threads,
                        interpreter=interpreter,
                        memory_limit=memory_limit,
                        who=f"the model {model.name!r}",
                    )
            except _NotConvertible as error:
                missing = str(error)
        if engine == "litert":
            raise ValueError(f"The model {model.name!r} cannot run on LiteRT: {missing}")
        note(f"{model.name!r} runs layer by layer on Keras, slower on CPUs than LiteRT: {missing}")
    raise NotImplementedError("The Keras engine is being rebuilt.")


def plan_model(model: keras.Model, input_shape: Sequence[int] | None = None) -> Plan:
    """How a model is computed on a stream; nothing is run.

    Raises:
        TypeError: it is no Keras model.
        ValueError: it cannot be a stream.
    """
    _check(model, input_shape)
    with _converted(model, input_shape) as path:
        return plan_file(path)


def _check(model, input_shape: Sequence[int] | None) -> None:
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
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.tflite")
        try:
            convert(
                with_threshold(model, None) if _has_threshold(model) else model,
                path,
                quantization="float32",
                image_size=None if input_shape is None else tuple(input_shape[:2]),
                labels=False,
            )
        except ValueError as error:
            raise _NotConvertible(str(error)) from error
        yield path


def _has_threshold(model: keras.Model) -> bool:
    """Whether a model stores a threshold: the decision is not among its own outputs."""
    try:
        return find_parts(model, allow_plain=True).threshold is not None
    except ValueError:  # not of this package
        return False
