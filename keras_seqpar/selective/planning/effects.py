"""What an operation does to positions.

Every operation is one of these:

- `Windowed`: outputs read a window of the first input. It runs on crops, with no padding of its
  own: what lies outside of the map is filled with `border`.
- `Grown`: an input reaches a window of outputs. It runs on crops, of whose outputs those in the
  middle are right.
- `Copied`: an output is a copy of an input, or a border. Boxes are copied, nothing runs.
- `Pointwise`: an output reads the same position of its inputs. It runs on crops.
- `Followed`: a change reaches known outputs, but the operation runs on whole maps.
- `Relabeled`: the same values in the same order under another shape. Nothing runs.
- `Barrier`: an output may read every position. It, and what reads its result, runs on whole maps
  for every change.
"""

import dataclasses

from keras_seqpar.selective.planning.axes import SAME_POSITION, Axis, Spans, Transposed, Window

GLOBAL = "every output reads all positions"
UNKNOWN = "no rule says which positions it reads"


@dataclasses.dataclass(frozen=True)
class Windowed:
    """Outputs read windows of the first input.

    Args:
        rows: the window along the rows.
        cols: the window along the columns.
        border: the value outside of the map.
        padded: some windows reach outside of the map.
        pads: the operation does nothing but pad.
    """

    rows: Window
    cols: Window
    border: float
    padded: bool = True
    pads: bool = False


@dataclasses.dataclass(frozen=True)
class Pointwise:
    """Outputs read the same position of all inputs with positions."""


def windowed(rows: Window, cols: Window, border: float, *, padded: bool) -> Windowed | Pointwise:
    """The effect of windows; where these are of one position each, it is `Pointwise`."""
    if rows == cols == SAME_POSITION and not padded:
        return Pointwise()
    return Windowed(rows, cols, border, padded=padded)


@dataclasses.dataclass(frozen=True)
class Grown:
    """Inputs reach windows of outputs, as in a transposed convolution."""

    rows: Transposed
    cols: Transposed


@dataclasses.dataclass(frozen=True)
class Copied:
    """Outputs are copies of inputs.

    Args:
        rows: the row that each row is a copy of.
        cols: likewise.
        first_channel: the channel that the first one is a copy of.
        border: the value of what is no copy.
    """

    rows: Spans
    cols: Spans
    first_channel: int = 0
    border: float | None = None


@dataclasses.dataclass(frozen=True)
class Followed:
    """Runs on whole maps; a change reaches known outputs."""

    rows: Axis
    cols: Axis


@dataclasses.dataclass(frozen=True)
class Relabeled:
    """Another shape for the same values."""

    rows: Axis
    cols: Axis


@dataclasses.dataclass(frozen=True)
class Barrier:
    """Outputs may read every position; `reason` says why."""

    reason: str


Effect = Windowed | Grown | Copied | Pointwise | Followed | Relabeled | Barrier
