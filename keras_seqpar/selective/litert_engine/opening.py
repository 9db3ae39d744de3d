"""Opens a .tflite file for a stream. Needs NumPy and an interpreter only."""

import os
from collections.abc import Sequence

import numpy as np

from keras_seqpar.mobile.runtime.inputs import encode, input_limits
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.selective.litert_engine.content import of_everything
from keras_seqpar.selective.litert_engine.graph import Tensor, read_graph
from keras_seqpar.selective.litert_engine.memory import check_memory
from keras_seqpar.selective.litert_engine.pack import read_pack
from keras_seqpar.selective.litert_engine.sessions import FileSessions
from keras_seqpar.selective.network import Inputs, Network
from keras_seqpar.selective.planning.engine import Engine
from keras_seqpar.selective.planning.plan import Plan
from keras_seqpar.selective.planning.planner import make_plan


def plan_file(
    path: str | os.PathLike,
    signature: str | None = None,
    categories: Sequence[str] | None = None,
) -> Plan:
    """How a file, or a branch pack, is computed on a stream; nothing is run.

    Args:
        path: a .tflite file, or the folder of a branch pack.
        signature: of a file with several signatures, the one to run.
        categories: of a branch pack, the categories to score.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no network of images of one fixed size, or keeps a state of its
            own.
    """
    if os.path.isdir(path):
        if signature is not None:
            raise ValueError(f"{os.fspath(path)!r} is a branch pack, which has no signatures.")
        return make_plan(read_pack(path, categories))
    if categories is not None:
        raise ValueError(
            f"{os.fspath(path)!r} is one file, which is computed as a whole; categories can be "
            "chosen of a branch pack (keras_seqpar.mobile.pack)."
        )
    return make_plan(read_graph(path, signature))


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
    """Opens a file; see `keras_seqpar.selective.stream` for the arguments.

    Args:
        path: a .tflite file, or the folder of a branch pack.
        num_threads: number of CPU threads.
        signature: of a file with several signatures, the one to run.
        categories: of a branch pack, the categories to score.
        interpreter: name of an interpreter.
        memory_limit: bytes that a stream may take, about.
        who: how messages call the network; by default the name of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be a stream, or needs more memory than `memory_limit`; or an
            argument is out of range.
        ImportError: no interpreter is installed, or it cannot resize inputs.
    """
    if isinstance(num_threads, bool) or not isinstance(num_threads, int) or num_threads < 1:
        raise ValueError(f"num_threads must be a whole number of 1 or more, got {num_threads!r}.")
    plan = plan_file(path, signature, categories)
    may_load_file = check_memory(plan, memory_limit)
    content, plan = of_everything(plan)
    name, make_interpreter = find_interpreter(interpreter)
    if not hasattr(make_interpreter, "resize_tensor_input"):
        raise ImportError(
            f"{name} cannot resize inputs, which streams need. Install another one: pip install "
            "ai-edge-litert"
        )
    graph = plan.graph

    def make(content: bytes):
        return make_interpreter(model_content=content, num_threads=num_threads)

    def encoded(values: np.ndarray, i: int) -> np.ndarray:
        tensor = graph.tensors[i]
        return values if values.dtype == tensor.dtype else encode(values, _detail(tensor))

    return Network(
        engine=Engine(plan, FileSessions(make, content), plain=may_load_file),
        inputs=inputs_of(plan, who),
        fingerprint=graph.fingerprint,
        encode=encoded,
        runs_on=name,
    )


def inputs_of(plan: Plan, who: str = "") -> Inputs:
    """What a file takes.

    Raises:
        ValueError: what the file states about its input is damaged.
    """
    graph, frame = plan.graph, plan.graph.tensors[plan.frame]
    detail = _detail(frame)
    is_code = frame.dtype.kind in "iu" and detail["quantization"] != (1.0, 0)
    _, height, width, channels = frame.shape
    tensors = graph.tensors
    return Inputs(
        who=who or graph.name,
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
