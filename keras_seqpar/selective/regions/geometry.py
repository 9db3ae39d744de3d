"""How crops of a frame correspond to the output of a network: alignment and receptive field.

A crop gives the same numbers as the full frame, except near its own borders, if it begins at
multiples of the network's total stride and is smaller than the frame by such a multiple. How near
is the receptive field. Both follow from the positions that the operations read.
"""

import dataclasses
import math
from fractions import Fraction

from keras_seqpar.selective.planning.axes import Axis, Spans, Transposed, Window
from keras_seqpar.selective.planning.effects import Barrier, Pointwise
from keras_seqpar.selective.planning.graph import Graph, Operation
from keras_seqpar.selective.planning.planner import find_frame


@dataclasses.dataclass(frozen=True)
class CropAxis:
    """The rows, or the columns, of a frame and of a network's output.

    Output `i` reads only inputs from `i * scale - before` to `i * scale + after`, both included.

    Args:
        size: number of inputs.
        outputs: number of outputs.
        stride: crops begin at multiples of this number of inputs, and are smaller than the frame
            by such a multiple.
        scale: inputs per output.
        before: how many inputs before `i * scale` output `i` can read.
        after: how many inputs after `i * scale` output `i` can read.
        least: the smallest crop.
    """

    size: int
    outputs: int
    stride: int
    scale: Fraction
    before: int
    after: int
    least: int

    def limited(self, pixels: int | str) -> "CropAxis":
        """The same axis with a smaller receptive field.

        Args:
            pixels: pixels that an output may read before and after its own, or
                `"receptive_field"` for no limit.
        """
        if isinstance(pixels, str):
            return self
        return dataclasses.replace(self, before=pixels, after=pixels + math.ceil(self.scale) - 1)

    def needed(self, first: int, last: int) -> tuple[int, int] | None:
        """The inputs of all outputs that read any input from `first` to `last`.

        Returns:
            `[start, end)`; `None` where no output reads them.
        """
        low = max(math.ceil((first - self.after) / self.scale), 0)
        high = min(math.floor((last + self.before) / self.scale), self.outputs - 1)
        if low > high:
            return None
        start = math.floor(low * self.scale) - self.before
        end = math.ceil(high * self.scale) + self.after + 1
        return max(start, 0), min(end, self.size)

    def aligned(self, start: int, end: int) -> tuple[int, int]:
        """The smallest crop of one of few sizes that contains `[start, end)`."""
        rest, most = self.size % self.stride, self.size // self.stride
        low = start // self.stride
        steps = -(-max(end - low * self.stride - rest, self.least - rest, 0) // self.stride)
        steps = min(_rounded(steps), most)
        low = min(low, most - steps)
        return low * self.stride, (low + steps) * self.stride + rest

    def known(self, start: int, end: int) -> tuple[int, int]:
        """The outputs, `[low, high)`, for which a crop gives what the full frame gives.

        Args:
            start: first input of the crop.
            end: input after the crop's last.
        """
        low = 0 if start == 0 else math.ceil((start + self.before) / self.scale)
        high = math.floor((end - 1 - self.after) / self.scale) + 1
        return low, self.outputs if end == self.size else high


def _rounded(steps: int) -> int:
    """A number of strides, rounded up to sixteenths of an octave: exact up to 32."""
    unit = 1 << max(0, steps.bit_length() - 5)
    return -(-steps // unit) * unit


@dataclasses.dataclass(frozen=True)
class Reads:
    """What the positions of a map read of a frame, along one axis; as for `CropAxis`."""

    scale: Fraction = Fraction(1)
    before: Fraction = Fraction(0)
    after: Fraction = Fraction(0)

    def through(self, axis: Axis) -> "Reads | None":
        """The same for an operation's output; `None` where it depends on the size of the map."""
        if axis.ratio is None:
            return None
        if isinstance(axis, Window):
            before, after = Fraction(axis.before), Fraction(axis.extent - 1 - axis.before)
        else:
            spans = [(i, *_span(axis, i)) for i in range(_count(axis))]
            known = [(i * axis.ratio, low, high) for i, low, high in spans if high >= 0]
            before = max(at - low for at, low, _ in known)
            after = max(high - at for at, _, high in known)
        return Reads(
            self.scale * axis.ratio,
            self.before + before * self.scale,
            self.after + after * self.scale,
        )


def _count(axis: Spans | Transposed) -> int:
    """Outputs that differ in what they read."""
    return axis.stride if isinstance(axis, Transposed) else len(axis.low)


def _span(axis: Spans | Transposed, i: int) -> tuple[int, int]:
    """The first and the last input that an output reads; below 0 for a border."""
    if isinstance(axis, Spans):
        return int(axis.low[i]), int(axis.high[i])
    low, end = axis.inputs(i, i + 1)
    return low, end - 1


Pair = tuple[Reads, Reads]  # of the rows and of the columns


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How the output of a network corresponds to its frames.

    Args:
        graph: the network.
        frame: number of the input.
        output: number of the output.
        rows: axis of the rows.
        cols: axis of the columns.
        reads: number of a tensor with positions -> what they read.
        barriers: name of an operation -> why no crop gives the same output as the full frame.
    """

    graph: Graph
    frame: int
    output: int
    rows: CropAxis
    cols: CropAxis
    reads: dict[int, Pair]
    barriers: dict[str, str]

    def grid(self, i: int, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of a tensor with positions, in a crop.

        Args:
            i: number of the tensor.
            size: height and width of the crop in pixels.
        """
        full, (rows, cols) = self.graph.tensors[i].grid, self.reads[i]
        height, width = self.rows.size - size[0], self.cols.size - size[1]
        return full[0] - int(height / rows.scale), full[1] - int(width / cols.scale)


def crop_geometry(graph: Graph) -> Geometry:
    """Determines the alignment and the receptive field of a network whose output is a map.

    Raises:
        ValueError: the network does not take one image and give one map, or no crop is smaller
            than its frames.

    Example:

    >>> from keras_seqpar.selective import region_stream
    >>> rows = region_stream("street.tflite").geometry.rows
    >>> rows.stride, rows.before, rows.after
    (2, 1, 1)
    """
    frame, output = find_frame(graph), next(iter(graph.outputs), -1)
    shapes = [graph.tensors[i].shape for i in graph.outputs]
    if len(graph.inputs) != 1 or len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            f"A segmentation network takes one image and gives one map (1, height, width, "
            f"classes), but {graph.name} takes {len(graph.inputs)} inputs and gives outputs of "
            f"the shapes {shapes}. Take a network of the map alone."
        )
    reads: dict[int, Pair] = {frame: (Reads(), Reads())}
    moving, barriers = {frame}, dict[str, str]()
    for operation in (graph.operations[n] for n in graph.live):
        sources = [i for i in operation.inputs if i in moving]
        if not sources:
            continue
        moving |= set(operation.outputs)
        found = _follow(graph, operation, [i for i in sources if i in reads], reads)
        if isinstance(found, str):
            made = graph.tensors[operation.outputs[0]]
            barriers[f"{operation.name} {made.name}"] = found
            found = _after_barrier(graph, frame, operation.outputs[0])
        if found is not None:
            reads |= {i: _of_crop(graph, frame, i, found) for i in operation.outputs}
    if output not in reads:
        reads[output] = (Reads(), Reads())
        barriers.setdefault(graph.tensors[output].name, "it has no positions of the frame")
    axes = [_axis(graph, frame, output, reads, axis) for axis in (0, 1)]
    if all(axis.stride + axis.size % axis.stride >= axis.size for axis in axes):
        raise ValueError(
            f"Frames of {axes[0].size}x{axes[1].size} are hardly larger than the total stride of "
            f"{graph.name}, {axes[0].stride}x{axes[1].stride}, so no crop can be smaller. Run the "
            "network without a stream, or take larger frames."
        )
    return Geometry(graph, frame, output, axes[0], axes[1], reads, barriers)


def _follow(
    graph: Graph, operation: Operation, sources: list[int], reads: dict[int, Pair]
) -> Pair | str | None:
    """What an operation's output reads of the frame, or why no crop gives the same output."""
    if not sources:  # what was made of values that depend on all positions
        return _after_barrier(graph, next(iter(reads)), operation.outputs[0])
    effect = graph.effect_of(operation)
    if isinstance(effect, Barrier):
        return effect.reason
    if isinstance(effect, Pointwise):
        if any(_has_positions(graph, i) for i in operation.inputs) and not (
            graph.has_weights(operation)
        ):
            return "it has constants of its own for every position"
        pairs = [reads[i] for i in sources]
        if len({(a.scale, b.scale) for a, b in pairs}) > 1:
            return "it joins maps of different strides"
        rows, cols = (
            Reads(
                axis[0].scale,
                max(x.before for x in axis),
                max(x.after for x in axis),
            )
            for axis in zip(*pairs, strict=True)
        )
        return rows, cols
    down, across = reads[sources[0]]
    rows, cols = down.through(effect.rows), across.through(effect.cols)
    if rows is None or cols is None:
        return "it aligns corners, so that crops would be resized by another factor"
    return rows, cols


def _has_positions(graph: Graph, i: int) -> bool:
    """Whether a tensor is a constant that differs from position to position."""
    if i < 0 or graph.tensors[i].data is None:
        return False
    tensor = graph.tensors[i]
    shape = (1,) * (4 - len(tensor.map_shape)) + tuple(tensor.map_shape)
    if len(shape) != 4 or shape[1:3] == (1, 1):
        return False
    values = tensor.values().reshape(shape)
    return bool((values != values[:, :1, :1]).any())


def _after_barrier(graph: Graph, frame: int, output: int) -> Pair | None:
    """Positions of a map as far as its size tells, whatever they read; `None` for other values."""
    tensor = graph.tensors[output]
    if len(tensor.map_shape) != 4 or tensor.grid == (1, 1):
        return None
    ratios = [Fraction(n, m) for n, m in zip(graph.tensors[frame].grid, tensor.grid, strict=True)]
    rows, cols = (
        Reads(Fraction(round(x)) if x >= 1 else 1 / Fraction(round(1 / x))) for x in ratios
    )
    return rows, cols


def _of_crop(graph: Graph, frame: int, i: int, found: Pair) -> Pair:
    """What a map reads of a crop at least: the map of a crop begins and ends with the crop."""
    grids = zip(found, graph.tensors[frame].grid, graph.tensors[i].grid, strict=True)
    rows, cols = (
        Reads(x.scale, max(x.before, Fraction(0)), max(x.after, size - (count - 1) * x.scale - 1))
        for x, size, count in grids
    )
    return rows, cols


def _axis(graph: Graph, frame: int, output: int, reads: dict[int, Pair], axis: int) -> CropAxis:
    size, own = graph.tensors[frame].grid[axis], reads[output][axis]
    least = max(
        size - math.ceil((graph.tensors[i].grid[axis] - 1) * x[axis].scale)
        for i, x in reads.items()
    )
    return CropAxis(
        size=size,
        outputs=graph.tensors[output].grid[axis],
        stride=math.lcm(*(x[axis].scale.numerator for x in reads.values())),
        scale=own.scale,
        before=math.ceil(own.before),
        after=math.ceil(own.after),
        least=max(least, 1),
    )
