"""A network cut into pieces that one stored map connects; each is run in the way that suits it."""

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from keras import tree

from keras_seqpar.selective.change_maps.program import Program
from keras_seqpar.selective.change_maps.propagation import Changes

MODES = ("dense", "rectangle", "positions", "tiles")

Fit = Callable[[int, int, str], int]  # `fit` of a backend

# Side of a tile. A 3x3 convolution of a tile of 8x8 reads 100 positions, of 64 positions 576.
TILE = 8

# Share of the multiply-accumulates of which a piece has at least this much. A network in one piece
# runs in one mode. In pieces with a mode each it took longer, ResNet-50 in 4 up to 10 % (2 cores,
# TensorFlow): what follows a run finds the processor's caches full of other things. Where changes
# may stop between pieces, many save more than they cost: ResNet-18 on a video took 36 ms in 9
# pieces, 39 in 5 and 41 in 4.
WHOLE, PRUNED = 1.0, 0.05


@dataclasses.dataclass(frozen=True)
class Region:
    """Where a map is computed: pairs of row and column, or all rows times all columns.

    Args:
        ys: rows, int32; of tiles the first.
        xs: columns, int32; of tiles the first.
    """

    ys: np.ndarray
    xs: np.ndarray

    def spread(self, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of tiles as index arrays: `(tiles, height, 1)`, `(tiles, 1, width)`."""
        high, wide = (np.arange(side) for side in tile_sides(shape))
        return self.ys[:, None, None] + high[:, None], self.xs[:, None, None] + wide


@dataclasses.dataclass(frozen=True)
class Segment:
    """Steps that follow each other.

    Args:
        first: number of the first step.
        last: number after the last step's.
        entry: the value that it starts from: the frame, or what the segment before it made.
        made: the only value that later segments take from this or earlier ones; `None` for the
            last segment.
        maps: the change maps with positions of the entry and of all steps -> `(height, width)`.
        takes_entry: whether a step takes the entry just where it changed, and so not with a
            window from the stored map.
        macs: multiply-accumulates when everything is computed.
        rates: map -> multiply-accumulates per position.
    """

    first: int
    last: int
    entry: int
    made: int | None
    maps: Mapping[int, tuple[int, int]]
    takes_entry: bool
    macs: int
    rates: Mapping[int, int]

    def regions(self, mode: str, changes: Changes, fit: Fit) -> dict[int, Region]:
        """Where each map is computed.

        Args:
            mode: one of `MODES`.
            changes: what must be computed.
            fit: in which size so many of so many are computed, see the backends.

        Returns:
            Map -> region; nothing where the mode is dense.
        """
        if mode == "dense":
            return {}
        if mode == "positions":
            return {m: _positions(changes[m], fit) for m in self.maps}
        if mode == "tiles":
            return {m: _tiles(changes[m], fit) for m in self.maps}
        return {m: _rectangle(shape, changes.box(m), fit) for m, shape in self.maps.items()}

    def count(self, mode: str, changes: Changes, fit: Fit) -> int:
        """How many multiply-accumulates it takes; arguments as for `regions`."""
        if mode == "dense":
            return self.macs
        macs = self.macs
        for m, (height, width) in self.maps.items():
            if not self.rates[m]:
                continue  # the frame, for example: looking at it costs time on every frame
            if mode == "positions":
                done = fit(max(changes.count(m), 1), height * width, mode)
            elif mode == "tiles":
                touched = _touched(changes[m])
                tiles = fit(max(int(np.count_nonzero(touched)), 1), touched.size, mode)
                done = tiles * math.prod(tile_sides((height, width)))
            else:
                rows, cols = _sides((height, width), changes.box(m) or _CORNER, fit)
                done = rows * cols
            macs -= self.rates[m] * (height * width - done)
        return macs


def split(program: Program, share: float = WHOLE) -> tuple[Segment, ...]:
    """Cuts a network.

    A cut goes behind a step whose output is stored and all that later steps need, beside the
    network's other inputs: the blocks of a trunk, but nothing inside of them.

    Args:
        program: the network.
        share: of the multiply-accumulates that each has at least.

    Returns:
        Its segments, one or more, in order.
    """
    rest = program.macs(program.all_positions())
    least = share * rest
    segments, first, entry = [], 0, program.inputs[0]
    for i, value in _cuts(program).items():
        segment = _segment(program, first, i + 1, entry, value)
        if 0 < least <= segment.macs <= rest - least:
            segments.append(segment)
            first, entry, rest = i + 1, value, rest - segment.macs
    return (*segments, _segment(program, first, len(program.steps), entry, None))


def _cuts(program: Program) -> dict[int, int]:
    """Step -> its output, where that alone is needed behind it."""
    stored = {layout.value for layout in program.layouts}
    last_use = {v: i for i, step in enumerate(program.steps) for v in step.inputs}
    outputs = set(tree.flatten(program.outputs))
    known, cuts = {program.inputs[0]}, {}
    for i, step in enumerate(program.steps[:-1]):
        known |= set(step.outputs)
        if any(v in outputs and not _has_positions(program, v) for v in step.outputs):
            break  # the head: what is behind it belongs to the last segment
        if program.steps[i + 1].order == step.order:
            continue  # inside a layer, whose map follows from that of what it reads
        needed = [v for v in known if last_use.get(v, -1) > i]
        if len(needed) == 1 and needed[0] in step.outputs and needed[0] in stored:
            cuts[i] = needed[0]
    return cuts


def _has_positions(program: Program, value: int) -> bool:
    return program.maps.has_positions(program.map_of_value[value])


def _segment(program: Program, first: int, last: int, entry: int, made: int | None) -> Segment:
    steps = program.steps[first:last]
    map_ = program.map_of_value[entry]
    used = sorted({map_} | {step.map for step in steps})
    counts = program.all_positions()
    rates: collections.Counter[int] = collections.Counter()
    for step in steps:
        rates[step.map] += step.macs
    return Segment(
        first,
        last,
        entry,
        made,
        maps={m: program.maps.shape(m) for m in used if program.maps.has_positions(m)},
        takes_entry=any(
            entry in step.inputs
            and step.map == map_
            and (step.taps is None or step.taps.is_identity)
            for step in steps
        ),
        macs=sum(rate * counts[m] for m, rate in rates.items()),
        rates=rates,
    )


_CORNER = (0, 0, 0, 0)  # where nothing changed: computing a position again does no harm


def _positions(changed: np.ndarray, fit, of: str = "positions") -> Region:
    flat = np.flatnonzero(changed).astype(np.int32)  # quicker than of rows and columns
    if not len(flat):
        flat = np.zeros(1, np.int32)
    spread = np.full(fit(len(flat), changed.size, of), flat[-1])
    spread[: len(flat)] = flat
    return Region(*np.divmod(spread, np.int32(changed.shape[1])))


def tile_sides(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of the tiles of a map."""
    return min(TILE, shape[0]), min(TILE, shape[1])


def _touched(changed: np.ndarray) -> np.ndarray:
    """Which tiles have a true position; the last ones of a row or column may be smaller."""
    for axis, side in enumerate(tile_sides(changed.shape)):
        changed = np.logical_or.reduceat(changed, range(0, changed.shape[axis], side), axis)
    return changed


def _tiles(changed: np.ndarray, fit) -> Region:
    sides = tile_sides(changed.shape)
    tiles = _positions(_touched(changed), fit, "tiles")
    return Region(
        *(
            np.minimum(first * side, size - side).astype(np.int32)
            for first, side, size in zip((tiles.ys, tiles.xs), sides, changed.shape, strict=True)
        )
    )


def _sides(shape: Sequence[int], box: Sequence[int], fit) -> list[int]:
    """Height and width in which a box is computed."""
    spans = box[1] - box[0] + 1, box[3] - box[2] + 1
    return [fit(span, size, "sides") for span, size in zip(spans, shape, strict=True)]


def _rectangle(shape: Sequence[int], box: Sequence[int] | None, fit) -> Region:
    box = box or _CORNER
    sides = _sides(shape, box, fit)
    return Region(*(_run_of(box[2 * i], sides[i], shape[i]) for i in (0, 1)))


def _run_of(first: int, count: int, size: int) -> np.ndarray:
    """`count` whole numbers from `first`, or from earlier where they would pass `size`."""
    first = min(first, size - count)
    return np.arange(first, first + count, dtype=np.int32)
