"""What a stream returns: the output, and statistics about how it was computed."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.selective.change_maps.program import Program
from keras_seqpar.selective.change_maps.propagation import Changes


@dataclasses.dataclass(frozen=True)
class Stats:
    """Statistics about one frame: plain numbers and texts, so `dataclasses.asdict` gives JSON.

    Args:
        mode: `"dense"` (everything was computed), `"rectangle"`, `"positions"`, `"tiles"` (see
            `stream`) or `"cached"` (nothing changed, nothing was computed); `"mixed"` where runs
            of the network, or images of a batch, differ.
        changed: share of the frame's positions that changed.
        macs: multiply-accumulates that were computed.
        macs_dense: multiply-accumulates of a dense pass.
        milliseconds: time from frame to output, without warming up.
        warm_up_milliseconds: time that this frame waited for compiling and measuring, see
            `Stream.warm_up`; 0 for most frames.
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
    warm_up_milliseconds: float
    drift: float
    state_bytes: int
    traces: int
    layers: dict[str, float] = dataclasses.field(repr=False)

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


def layer_shares(
    program: Program, run_of_layer: Mapping[str, int], changes: Sequence[Changes] | None
) -> dict[str, float]:
    """Name of a layer -> share of its positions that had to be computed.

    Args:
        program: the network.
        run_of_layer: name of a layer -> index of its run.
        changes: the change maps of each run; `None` where everything was computed.
    """
    layers, maps = program.layers, program.maps
    if changes is None or not changes[0][maps.FRAME].any():
        return dict.fromkeys(layers, float(changes is None))
    known: dict[tuple[int, int], float] = {}  # many layers have the same map
    shares = {}
    for name, (map_, _) in layers.items():
        key = run_of_layer[name], map_
        if key not in known:
            known[key] = changes[key[0]].count(map_) / math.prod(maps.shape(map_) or ())
        shares[name] = known[key]
    return shares


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
        warm_up_milliseconds=sum(x.warm_up_milliseconds for x in items),
        drift=max(x.drift for x in items),
        layers={name: float(np.mean([x.layers[name] for x in items])) for name in names},
    )
