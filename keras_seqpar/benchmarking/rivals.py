"""Ways to run a network on a frame: a .tflite file whole, and its stream.

Needs NumPy and an interpreter only.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.mobile.runtime.inputs import input_limits
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.mobile.runtime.reading import read_tflite
from keras_seqpar.selective.streams import stream


@dataclasses.dataclass(frozen=True)
class Scale:
    """The values of an input: frames are drawn in 256 steps, which integers of a file hold exactly.

    Args:
        low: the value of step 0.
        step: the difference from one step to the next.
    """

    low: float
    step: float

    def values(self, frame: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """A frame of steps, uint8, as an input of a type takes it."""
        if dtype.kind == "f":
            return (np.float32(self.low) + np.float32(self.step) * frame).astype(dtype)
        return (frame.astype("int16") + np.iinfo(dtype).min).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Rival:
    """One way to run a network on a frame.

    Args:
        run: frame -> outputs, or the result of a stream.
        dtype: of the frames that it takes.
        equals: name of the rival whose outputs it must have; `None` for a dense network.
        tolerance: largest difference allowed, as a share of the range of the outputs; 0: bit for
            bit.
    """

    run: Callable[[np.ndarray], Any]
    dtype: np.dtype
    equals: str | None = None
    tolerance: float = 0.0

    @property
    def is_stream(self) -> bool:
        """Whether it computes only what changed."""
        return self.equals is not None


class DenseFile:
    """A .tflite file that runs whole.

    Args:
        path: the file.
        threads: CPU threads.
    """

    def __init__(self, path: str | Path, threads: int = 1):
        _, engine = find_interpreter()
        self._engine = engine(model_path=str(path), num_threads=threads)
        self._engine.allocate_tensors()
        inputs = self._engine.get_input_details()
        self._image = max(inputs, key=lambda x: int(np.prod(x["shape"])))
        self._outputs = self._engine.get_output_details()
        self.input_shape = tuple(map(int, self._image["shape"][1:]))
        self.dtype = np.dtype(self._image["dtype"])
        for detail in inputs:
            if detail is not self._image:  # gains are neutral
                ones = np.ones(detail["shape"], "float32")
                self._engine.set_tensor(detail["index"], ones.astype(detail["dtype"]))
        limits = input_limits(Path(path), read_tflite(Path(path)).about, self._image)
        scale, zero = self._image["quantization"]
        if self.dtype.kind in "iu" and scale:
            self.scale = Scale(scale * (np.iinfo(self.dtype).min - zero), scale)
        else:
            low, high = limits or (0.0, 2.0)
            self.scale = Scale(low, (high - low) / 255)

    def __call__(self, frame: np.ndarray) -> list[np.ndarray]:
        """The outputs for a frame `(height, width, channels)` of the file's own type."""
        self._engine.set_tensor(self._image["index"], frame[None])
        self._engine.invoke()
        return [self._engine.get_tensor(x["index"]) for x in self._outputs]


def file_rivals(name: str, path: str | Path, threads: int) -> tuple[dict[str, Rival], DenseFile]:
    """A file, dense and as a stream.

    Args:
        name: how to call it, such as `"int8"`.
        path: the file.
        threads: CPU threads of both.

    Returns:
        `"dense NAME"` and `"stream NAME"` -> rival, and the dense file.
    """
    dense, selective = DenseFile(path, threads), stream(path, num_threads=threads)
    rivals = {
        f"dense {name}": Rival(dense, dense.dtype),
        f"stream {name}": Rival(selective, dense.dtype, f"dense {name}"),
    }
    return rivals, dense


def timed(run: Callable[[np.ndarray], Any], frame: np.ndarray, times: list[float]) -> Any:
    """What a rival returns for a frame; appends the milliseconds that it took."""
    start = time.perf_counter()
    result = run(frame)
    times.append(1000 * (time.perf_counter() - start))
    return result


def listed(outputs: Any) -> list[np.ndarray]:
    """The outputs of a network or of a stream as a list."""
    if isinstance(outputs, Mapping):
        return list(outputs.values())
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def error_of(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest difference as a share of the range of the outputs; 0: equal bit for bit."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if not np.array_equal(a, b):
            difference = np.abs(a.astype("float64") - b.astype("float64")).max()
            worst = max(worst, float(difference / (np.abs(b.astype("float64")).max() or 1)), 1e-300)
    return worst
