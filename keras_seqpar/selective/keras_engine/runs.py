"""The runs of a network: pieces between two stored maps, each of which is computed in one mode."""

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from keras import tree

from keras_seqpar.selective.change_maps.program import Program
from keras_seqpar.selective.change_maps.propagation import Changes

MODES = ("dense", "rectangle", "positions", "tiles")

SizeClass = Callable[[int, int, str], int]  # `size_class` of a backend

# Side of a tile. A 3x3 convolution reads 100 positions for a tile of 8x8, and 576 positions for 64
# single positions.
TILE = 8

# The smallest share of a network's multiply-accumulates that one run may have. Without pruning, a
# network is one run: with several runs ResNet-50 took up to 10 % longer (4 runs, 2 cores,
# TensorFlow), because at the start of each run the processor's caches hold other data. With
# pruning, changes can stop between runs, which saves more: ResNet-18 on a video took 36 ms in 9
# runs, 39 ms in 5 and 41 ms in 4.
ONE_RUN, MIN_SHARE_PRUNED = 1.0, 0.05


@dataclasses.dataclass(frozen=True)
class Region:
    """Where a map is computed.

    The mode determines what it means: every row combined with every column for a rectangle, pairs
    of row and column for positions and for the first positions of tiles.

    Args:
        ys: rows, int32.
        xs: columns, int32.
    """

    ys: np.ndarray
    xs: np.ndarray

    def tile_indices(self, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The rows `(tiles, height, 1)` and the columns `(tiles, 1, width)` of all tiles.

        Args:
            shape: `(height, width, ...)` of the map.
        """
        high, wide = (np.arange(side) for side in tile_sides(shape))
        return self.ys[:, None, None] + high[:, None], self.xs[:, None, None] + wide


@dataclasses.dataclass(frozen=True)
class Run:
    """A series of steps between two stored maps.

    Args:
        first: index of the first step.
        last: index after the last step.
        input: number of the value that it starts from: the frame, or the output of the run before.
        output: number of the only value that later runs need from this one or from earlier ones;
            `None` for the last run.
        maps: the change maps with positions of the input and of all steps -> `(height, width)`.
        needs_input: whether a step reads the input at its own positions only. Such a step does
            not read the stored map, so the input has to be loaded first.
        macs: multiply-accumulates when everything is computed.
        macs_per_position: number of a change map -> multiply-accumulates per position.
    """

    first: int
    last: int
    input: int
    output: int | None
    maps: Mapping[int, tuple[int, int]]
    needs_input: bool
    macs: int
    macs_per_position: Mapping[int, int]

    def regions(self, mode: str, changes: Changes, size_class: SizeClass) -> dict[int, Region]:
        """Where each map is computed.

        Args:
            mode: one of `MODES`.
            changes: the positions that must be computed.
            size_class: rounds a number of positions up, see the backends.

        Returns:
            Number of a change map -> region; empty for the dense mode.
        """
        if mode == "dense":
            return {}
        if mode == "positions":
            return {m: _positions(changes[m], size_class) for m in self.maps}
        if mode == "tiles":
            return {m: _tiles(changes[m], size_class) for m in self.maps}
        return {m: _rectangle(shape, changes.box(m), size_class) for m, shape in self.maps.items()}

    def macs_of(self, mode: str, changes: Changes, size_class: SizeClass) -> int:
        """The number of multiply-accumulates that it takes; arguments as for `regions`."""
        if mode == "dense":
            return self.macs
        macs = self.macs
        for m, (height, width) in self.maps.items():
            if not self.macs_per_position[m]:
                continue  # the frame, for example; counting its changes would take time
            if mode == "positions":
                done = size_class(max(changes.count(m), 1), height * width, mode)
            elif mode == "tiles":
                changed_tiles = _changed_tiles(changes[m])
                count = max(int(np.count_nonzero(changed_tiles)), 1)
                tiles = size_class(count, changed_tiles.size, mode)
                done = tiles * math.prod(tile_sides((height, width)))
            else:
                rows, cols = _sides((height, width), changes.box(m) or _CORNER, size_class)
                done = rows * cols
            macs -= self.macs_per_position[m] * (height * width - done)
        return macs


def split(program: Program, min_share: float = ONE_RUN) -> tuple[Run, ...]:
    """Splits a network into runs.

    A run can end after a step whose output is stored and is all that later steps need, except for
    the network's other inputs: between the blocks of a trunk, but not inside of them.

    Args:
        program: the network.
        min_share: the smallest share of the multiply-accumulates that a run may have.

    Returns:
        One or more runs, in order.
    """
    rest = program.macs(program.all_positions())
    min_macs = min_share * rest
    runs, first, input_ = [], 0, program.inputs[0]
    for i, value in _possible_ends(program).items():
        run = _make_run(program, first, i + 1, input_, value)
        if 0 < min_macs <= run.macs <= rest - min_macs:
            runs.append(run)
            first, input_, rest = i + 1, value, rest - run.macs
    return (*runs, _make_run(program, first, len(program.steps), input_, None))


def _possible_ends(program: Program) -> dict[int, int]:
    """Index of a step after which a run can end -> the value that it leaves to later steps."""
    stored = {x.value for x in program.stored_maps}
    last_use = {v: i for i, step in enumerate(program.steps) for v in step.inputs}
    outputs = set(tree.flatten(program.outputs))
    known, ends = {program.inputs[0]}, {}
    for i, step in enumerate(program.steps[:-1]):
        known |= set(step.outputs)
        if any(v in outputs and not _has_positions(program, v) for v in step.outputs):
            break  # an output of the head; what follows belongs to the last run
        if program.steps[i + 1].order == step.order:
            continue  # both steps belong to one layer
        needed = [v for v in known if last_use.get(v, -1) > i]
        if len(needed) == 1 and needed[0] in step.outputs and needed[0] in stored:
            ends[i] = needed[0]
    return ends


def _has_positions(program: Program, value: int) -> bool:
    return program.maps.has_positions(program.map_of_value[value])


def _make_run(program: Program, first: int, last: int, input_: int, output: int | None) -> Run:
    steps = program.steps[first:last]
    map_ = program.map_of_value[input_]
    used = sorted({map_} | {step.map for step in steps})
    counts = program.all_positions()
    macs_per_position: collections.Counter[int] = collections.Counter()
    for step in steps:
        macs_per_position[step.map] += step.macs
    return Run(
        first,
        last,
        input_,
        output,
        maps={m: program.maps.shape(m) for m in used if program.maps.has_positions(m)},
        needs_input=any(
            input_ in step.inputs
            and step.map == map_
            and (step.reads is None or step.reads.is_identity)
            for step in steps
        ),
        macs=sum(macs * counts[m] for m, macs in macs_per_position.items()),
        macs_per_position=macs_per_position,
    )


# The region of a map without changes. A region cannot be empty; computing an unchanged position
# again gives the same value.
_CORNER = (0, 0, 0, 0)


def _positions(changed: np.ndarray, size_class: SizeClass, kind: str = "positions") -> Region:
    """The true positions of a map; the last one is repeated up to the size class."""
    flat = np.flatnonzero(changed).astype(np.int32)  # faster than np.nonzero
    if not len(flat):
        flat = np.zeros(1, np.int32)
    padded = np.full(size_class(len(flat), changed.size, kind), flat[-1])
    padded[: len(flat)] = flat
    return Region(*np.divmod(padded, np.int32(changed.shape[1])))


def tile_sides(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of the tiles of a map of this shape."""
    return min(TILE, shape[0]), min(TILE, shape[1])


def _changed_tiles(changed: np.ndarray) -> np.ndarray:
    """Which tiles have a true position; the last tile of a row or column may be smaller."""
    for axis, side in enumerate(tile_sides(changed.shape)):
        changed = np.logical_or.reduceat(changed, range(0, changed.shape[axis], side), axis)
    return changed


def _tiles(changed: np.ndarray, size_class: SizeClass) -> Region:
    """The tiles that have a true position; the last tile of an axis is moved inside the map."""
    sides = tile_sides(changed.shape)
    tiles = _positions(_changed_tiles(changed), size_class, "tiles")
    return Region(
        *(
            np.minimum(first * side, size - side).astype(np.int32)
            for first, side, size in zip((tiles.ys, tiles.xs), sides, changed.shape, strict=True)
        )
    )


def _sides(shape: Sequence[int], box: Sequence[int], size_class: SizeClass) -> list[int]:
    """Height and width of a box, rounded up to size classes."""
    spans = box[1] - box[0] + 1, box[3] - box[2] + 1
    return [size_class(span, size, "sides") for span, size in zip(spans, shape, strict=True)]


def _rectangle(shape: Sequence[int], box: Sequence[int] | None, size_class: SizeClass) -> Region:
    """A box of a map of this shape, grown to size classes."""
    box = box or _CORNER
    sides = _sides(shape, box, size_class)
    return Region(*(_span(box[2 * i], sides[i], shape[i]) for i in (0, 1)))


def _span(first: int, count: int, size: int) -> np.ndarray:
    """`count` successive integers below `size`, from `first` or, if they do not fit, earlier."""
    first = min(first, size - count)
    return np.arange(first, first + count, dtype=np.int32)
