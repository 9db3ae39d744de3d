"""What a stream keeps from frame to frame, and how it is saved."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_seqpar.selective.change_maps.propagation import Changes
from keras_seqpar.selective.detector import Detector
from keras_seqpar.selective.frames import read_array
from keras_seqpar.selective.keras_engine.engine import Engine


@dataclasses.dataclass
class StreamState:
    """What is kept from frame to frame for one image of the batch.

    Args:
        buffers: the stored maps, see `Engine.new_buffers`.
        detector: finds changes, and holds what it has learned.
        accepted: the last accepted frame.
        extras: the other inputs of the network, from the same frame.
        outputs: the outputs of the network, in order.
        changes: for each run, the positions that were computed for the last frame; `None` where
            all were.
        scales: see `Engine.scales`.
        since_full: number of frames since the full frame was computed.
        complete: whether buffers and outputs belong to `accepted` and `extras`; false after a
            frame that failed.
    """

    buffers: list
    detector: Detector
    accepted: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    extras: list = dataclasses.field(default_factory=list)
    outputs: list = dataclasses.field(default_factory=list)
    changes: list[Changes] | None = None
    scales: list[float] = dataclasses.field(default_factory=list)
    since_full: int = 0
    complete: bool = False

    def state_dict(self, prefix: str, backend: Any) -> dict[str, np.ndarray]:
        """The state as arrays.

        Args:
            prefix: prefix of their names.
            backend: the module that made the buffers, see `Engine`.
        """
        learned = self.detector.state_dict()
        state = {
            "accepted": self.accepted.copy(),
            "noise": np.array(learned["noise"]),
            "seen": np.array(learned["seen"]),
            "scales": np.array(self.scales),
            "since_full": np.array(self.since_full),
        }
        arrays = {
            "extra": self.extras,
            "output": self.outputs,
            "buffer": [backend.numpy(buffer) for buffer in self.buffers],
        }
        for name, values in arrays.items():
            state |= {f"{name}{i}": np.array(value) for i, value in enumerate(values)}
        return {prefix + name: value for name, value in state.items()}


def load_stream_state(
    state: Mapping[str, np.ndarray], prefix: str, detector: Detector, engine: Engine
) -> StreamState:
    """Makes a state from its arrays.

    Args:
        state: arrays as `StreamState.state_dict` returns them.
        prefix: prefix of their names.
        detector: has the settings of the new detector; what it has learned is in the arrays.
        engine: an engine of the same network.

    Raises:
        KeyError: an array is missing.
        ValueError: an array has another shape.
    """
    program = engine.program

    def all_of(name: str, shapes: Iterable[tuple[int, ...]]) -> list:
        return [read_array(state, f"{prefix}{name}{i}", shape) for i, shape in enumerate(shapes)]

    def with_batch(values: Iterable[int]) -> list:
        return [(1, *program.shapes[value]) for value in values]

    loaded = StreamState(
        [
            engine.backend.new(x)
            for x in all_of("buffer", ((x.rows, x.shape[2]) for x in program.stored_maps))
        ],
        dataclasses.replace(detector),
        read_array(state, f"{prefix}accepted", program.shapes[program.inputs[0]]),
        all_of("extra", with_batch(program.inputs[1:])),
        all_of("output", with_batch(keras.tree.flatten(program.outputs))),
        scales=np.array(state[f"{prefix}scales"]).tolist(),
        since_full=int(state[f"{prefix}since_full"]),
        complete=True,
    )
    loaded.detector.load_state({name: state[prefix + name] for name in ("noise", "seen")})
    return loaded
