"""What a stream returns: the output, and statistics about how it was computed."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_seqpar.selective.change_maps.program import Program


@dataclasses.dataclass(frozen=True)
class Stats:
    """Statistics about one frame.

    Args:
        mode: `"dense"` (everything was computed), `"rectangle"`, `"positions"`, `"tiles"` (see
            `stream`) or `"cached"` (nothing changed, nothing was computed); `"mixed"` where runs
            of the network, or images of a batch, differ.
        changed: share of the frame's positions that changed.
        macs: multiply-accumulates that were computed.
        macs_dense: multiply-accumulates of a dense pass.
        milliseconds: time from frame to output.
        drift: largest absolute difference between the frame and the frame that the output
            belongs to, in the units of the frames; 0 where every difference counts as a change.
            It does not include what `prune` and `reach` leave out inside the network.
        state_bytes: size of all that the stream keeps from frame to frame.
        traces: how often anything was compiled for this network so far.
        layers: name of a layer -> share of its positions that had to be computed.
    """

    mode: str
    changed: float
    macs: int
    macs_dense: int
    milliseconds: float
    drift: float
    state_bytes: int
    traces: int
    layers: Mapping[str, float] = dataclasses.field(repr=False)

    @property
    def saved(self) -> float:
        """Share of a dense pass's multiply-accumulates that were saved."""
        return 1 - self.macs / self.macs_dense if self.macs_dense else 0.0


@dataclasses.dataclass(frozen=True)
class Result:
    """What a stream returns for a frame.

    Args:
        output: the model's output in the model's structure, as arrays with a batch axis.
        stats: statistics; of a batch, sums or means over its images.
        items: statistics of each image of the batch.
    """

    output: object
    stats: Stats
    items: tuple[Stats, ...]


class LayerShares(Mapping):
    """Name of a layer -> share of its positions that had to be computed, found on first use.

    Args:
        program: the network.
        change_map: gives the boolean change map of a layer, by its name.
    """

    def __init__(self, program: Program, change_map: Callable[[str], np.ndarray]):
        self._program, self._change_map = program, change_map

    def __getitem__(self, name: str) -> float:
        return float(self._change_map(name).mean())

    def __iter__(self):
        return iter(self._program.layers)

    def __len__(self) -> int:
        return len(self._program.layers)


def of_batch(items: Sequence[Stats]) -> Stats:
    """The statistics of a batch: sums of numbers and times, means of shares."""
    if len(items) == 1:
        return items[0]
    modes = {x.mode for x in items}
    names = items[0].layers
    return dataclasses.replace(
        items[-1],
        mode=modes.pop() if len(modes) == 1 else "mixed",
        changed=float(np.mean([x.changed for x in items])),
        macs=sum(x.macs for x in items),
        macs_dense=sum(x.macs_dense for x in items),
        milliseconds=sum(x.milliseconds for x in items),
        drift=max(x.drift for x in items),
        layers={name: float(np.mean([x.layers[name] for x in items])) for name in names},
    )
