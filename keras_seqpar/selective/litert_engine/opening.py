"""Opens a .tflite file for a stream. Needs NumPy and an interpreter only."""

import dataclasses
import math
import os
from collections.abc import Sequence

import numpy as np

from keras_seqpar.mobile.runtime.inputs import encode, input_limits
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.selective.litert_engine.content import of_everything, shape_of_crop
from keras_seqpar.selective.litert_engine.graph import Graph, Tensor, read_graph
from keras_seqpar.selective.litert_engine.pack import read_pack
from keras_seqpar.selective.litert_engine.sessions import BAND, FileSessions
from keras_seqpar.selective.network import Inputs, Network, check_limit
from keras_seqpar.selective.planning.engine import Engine
from keras_seqpar.selective.planning.plan import CropRun, Plan, View
from keras_seqpar.selective.planning.planner import make_plan

_PACKED = 1.35  # size of weights as kernels read them, of their size in the file
_WORK = 0.7  # memory that the file works with, of its stored maps
_CROPS = 1.5  # memory of the interpreters for crops, of their inputs and outputs
_BASE = 20e6  # the interpreter itself


def open_file(
    path: str | os.PathLike,
    *,
    num_threads: int = 1,
    signature: str | None = None,
    categories: Sequence[str] | None = None,
    interpreter: str | None = None,
    memory_limit: int | None = None,
    who: str = "",
) -> Network:
    """Opens a file or a pack; see `keras_seqpar.selective.stream` for arguments and errors.

    `who` is how messages call the network, by default the name of the file.
    """
    if isinstance(num_threads, bool) or not isinstance(num_threads, int) or num_threads < 1:
        raise ValueError(f"num_threads must be a whole number of 1 or more, got {num_threads!r}.")
    graph = _read(path, signature, categories)
    plan = make_plan(dataclasses.replace(graph, name=who or graph.name))
    with plan.graph.refusing_damage():
        inputs = _inputs(plan)
        needed, more = _memory_of(plan)
    check_limit(plan.graph.name, needed, memory_limit)
    name, make_interpreter = find_interpreter(interpreter)
    if not hasattr(make_interpreter, "resize_tensor_input"):
        raise ImportError(
            f"{name} cannot resize inputs, which streams need. Install another one: pip install "
            "ai-edge-litert"
        )

    def make(content: bytes):
        return make_interpreter(model_content=content, num_threads=num_threads)

    def encoded(values: np.ndarray, i: int) -> np.ndarray:
        tensor = plan.graph.tensors[i]
        return values if values.dtype == tensor.dtype else encode(values, _detail(tensor))

    with plan.graph.refusing_damage():
        content, plan = of_everything(plan)
        plain = memory_limit is None or needed + more <= memory_limit
        engine = Engine(plan, FileSessions(make, content), plain=plain)
    return Network(engine, inputs, encoded, name, needed, plan.graph.fingerprint)


def _read(path: str | os.PathLike, signature, categories: Sequence[str] | None) -> Graph:
    if os.path.isdir(path):
        if signature is not None:
            raise ValueError(f"{os.fspath(path)!r} is a branch pack, which has no signatures.")
        return read_pack(path, categories)
    if categories is not None:
        raise ValueError(
            f"{os.fspath(path)!r} is one file, which is computed as a whole; categories can be "
            "chosen of a branch pack (keras_seqpar.mobile.pack)."
        )
    return read_graph(path, signature)


def _inputs(plan: Plan) -> Inputs:
    """What a file takes."""
    graph, tensors, frame = plan.graph, plan.graph.tensors, plan.graph.tensors[plan.frame]
    detail = _detail(frame)
    is_code = frame.dtype.kind in "iu" and detail["quantization"] != (1.0, 0)
    _, height, width, channels = frame.shape
    return Inputs(
        who=graph.name,
        shape=(height, width, channels),
        extras={graph.inputs[i]: (tensors[i].shape, tensors[i].dtype) for i in plan.extras},
        limits=input_limits(graph.path, graph.about, detail),
        codes=frame.dtype if is_code else None,
        max_gain=graph.about.get("max_gain"),
    )


def _detail(tensor: Tensor) -> dict:
    """What an interpreter tells about an input."""
    scale = float(tensor.scales[0]) if len(tensor.scales) else 0.0
    return {"dtype": tensor.dtype, "quantization": (scale, tensor.zero)}


def _memory_of(plan: Plan) -> tuple[int, int]:
    """Bytes that a stream takes, about, and those that plain passes take besides.

    Measured ones are within 10 % of it. Weights are in memory twice as bytes (the file with the
    stored maps as outputs, the files of the runs) and twice as the kernels of these two read them.
    The stored maps are there once. Scenes that change everywhere need plain passes, which have
    their own weights and at most all maps once more; see `planning.passes`.
    """
    tensors = plan.graph.tensors
    weights = sum(len(x.data) for x in tensors if x.data is not None)
    maps = sum(tensors[i].nbytes for i in plan.stored)
    inside = 0.0
    for step in plan.steps:
        if isinstance(step, View) or (isinstance(step, CropRun) and step.copies):
            continue
        made = sum(tensors[i].nbytes for i in step.outputs)
        if isinstance(step, CropRun):
            read = sum(
                math.prod(shape_of_crop(plan, x, step.grid)) * tensors[x.reader].dtype.itemsize
                for x in step.sources
            )
            inside += read + made if step.grown else min(read + made, BAND)
        else:
            inside += made + sum(tensors[i].nbytes for i in step.inputs)
    needed = (2 + 2 * _PACKED) * weights + (1 + _WORK) * maps + _CROPS * inside + _BASE
    return int(needed), int((1 + _PACKED) * weights) + maps
