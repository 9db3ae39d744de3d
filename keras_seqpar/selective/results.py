"""What a stream gives: the output, and what it took."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_seqpar.selective.change_maps.program import Program


@dataclasses.dataclass(frozen=True)
class Stats:
    """What one frame took.

    Args:
        mode: `"dense"` (everything computed), `"rectangle"`, `"positions"`, `"tiles"` or
            `"cached"` (nothing changed, nothing computed); `"mixed"` where parts of the network,
            or items of a batch, differ.
        changed: share of the frame's positions that changed.
        macs: multiply-accumulates done; one is one MAC.
        macs_dense: what a dense pass does.
        milliseconds: from frame to output.
        drift: largest absolute difference between the frame and what the output stands for,
            in the frame's units: 0 where every difference is accepted. What `prune` and
            `reach` leave as it was inside the network is not in it.
        state_bytes: size of everything that is kept from frame to frame.
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
        """Share of the multiply-accumulates of a dense pass that were not done."""
        return 1 - self.macs / self.macs_dense if self.macs_dense else 0.0


@dataclasses.dataclass(frozen=True)
class Result:
    """What a stream gives for a frame.

    Args:
        output: the model's output as arrays, with a batch axis, in the model's structure.
        stats: what it took; for a batch, summed or averaged over its items.
        items: what each item of the batch took.
    """

    output: object
    stats: Stats
    items: tuple[Stats, ...]


class Shares(Mapping):
    """Layer -> share of positions to compute, each worked out when it is asked for."""

    def __init__(self, program: Program, find: Callable[[str], np.ndarray]):
        self._program, self._find = program, find

    def __getitem__(self, name: str) -> float:
        return float(self._find(name).mean())

    def __iter__(self):
        return iter(self._program.layers)

    def __len__(self) -> int:
        return len(self._program.layers)


def together(items: Sequence[Stats]) -> Stats:
    """The statistics of a batch: sums of what was done, means of shares."""
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
