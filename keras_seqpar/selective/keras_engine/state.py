"""What a stream keeps from frame to frame, and how that is stored."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_seqpar.selective.change_maps.propagation import Changes
from keras_seqpar.selective.detector import Detector
from keras_seqpar.selective.frames import stored
from keras_seqpar.selective.keras_engine.engine import Engine


@dataclasses.dataclass
class Item:
    """What is kept for one item of the batch.

    Args:
        buffers: the stored maps, see `Engine.new_buffers`.
        detector: what finds changes, with what it has learned.
        accepted: the last accepted frame.
        extras: the other inputs that went with it.
        outputs: the network's, in order.
        changes: per segment what the last frame made necessary to compute; `None` where that was
            everything.
        scales: see `Engine.scales`.
        since_full: frames since the last one that was computed as a whole.
        complete: whether buffers and outputs belong to `accepted` and `extras`.
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
        """Everything as arrays.

        Args:
            prefix: of their names.
            backend: of the buffers, see `Engine`.
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


def load_item(
    state: Mapping[str, np.ndarray], prefix: str, detector: Detector, engine: Engine
) -> Item:
    """An item from its arrays.

    Args:
        state: as `Item.state_dict` gives it.
        prefix: of the names.
        detector: the settings; what it has learned comes from the state.
        engine: of the same network.

    Returns:
        The item, complete.

    Raises:
        KeyError: an array is missing.
        ValueError: an array has another shape.
    """
    program = engine.program

    def all_of(name: str, shapes: Iterable[tuple[int, ...]]) -> list:
        return [stored(state, f"{prefix}{name}{i}", shape) for i, shape in enumerate(shapes)]

    def with_batch(values: Iterable[int]) -> list:
        return [(1, *program.shapes[value]) for value in values]

    item = Item(
        [
            engine.backend.new(x)
            for x in all_of("buffer", ((x.rows, x.shape[2]) for x in program.layouts))
        ],
        dataclasses.replace(detector),
        stored(state, f"{prefix}accepted", program.shapes[program.inputs[0]]),
        all_of("extra", with_batch(program.inputs[1:])),
        all_of("output", with_batch(keras.tree.flatten(program.outputs))),
        scales=np.array(state[f"{prefix}scales"]).tolist(),
        since_full=int(state[f"{prefix}since_full"]),
        complete=True,
    )
    item.detector.load_state({name: state[prefix + name] for name in ("noise", "seen")})
    return item
