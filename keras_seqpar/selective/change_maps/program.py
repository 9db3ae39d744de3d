"""A network as a list of steps with their change maps, and the maps that a stream stores.

Batch normalization and constant gains are folded into the convolution before them, padding is
read as a border, and layers that do nothing at inference are left out. The output of a step is
stored from frame to frame only where it is needed at positions that were not just computed: by a
step with a window, by a join of inputs with different change maps, by a global layer, or as an
output of the network.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.selective.change_maps import transposed
from keras_seqpar.selective.change_maps.flattening import Call, Flat, positions
from keras_seqpar.selective.change_maps.input_positions import InputPositions, identity
from keras_seqpar.selective.change_maps.propagation import ChangeMaps
from keras_seqpar.selective.change_maps.rules import (
    CONVOLUTIONS,
    Rule,
    is_idle,
    map_of,
    per_channel,
    rule_of,
)
from keras_seqpar.selective.change_maps.steps import Step, fold, weight_array


@dataclasses.dataclass(frozen=True)
class StoredMap:
    """The layout of a value that is stored from frame to frame, with a border around it.

    It is stored as one row of channels per position, border positions included.

    Args:
        value: number of the value.
        fill: value of the border.
        shape: `(height, width, channels)` without the border.
        pads: `((top, bottom), (left, right))`, the width of the border.
    """

    value: int
    fill: float
    shape: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @property
    def padded(self) -> tuple[int, int]:
        """`(height, width)` with the border."""
        (top, bottom), (left, right) = self.pads
        return self.shape[0] + top + bottom, self.shape[1] + left + right

    @property
    def rows(self) -> int:
        """The number of positions, the border included."""
        return math.prod(self.padded)


@dataclasses.dataclass(frozen=True)
class Program:
    """A network in the form in which streams run it.

    Args:
        steps: the steps; each comes after those whose outputs it takes.
        maps: the change maps.
        map_of_value: number of a value -> number of its change map.
        stored_maps: the values that are stored from frame to frame.
        inputs: numbers of the inputs; the first one is the frame.
        outputs: the output structure, with numbers in place of tensors.
        shapes: shape of every value, without the batch axis.
        layers: name of a layer -> (number of its change map, number of its positions).
        barriers: name of a layer after which every output depends on every position -> why.
        unsupported: name of a layer without a rule -> why. Every output of such a layer is taken
            to depend on all of its inputs.
    """

    steps: tuple[Step, ...]
    maps: ChangeMaps
    map_of_value: Mapping[int, int]
    stored_maps: tuple[StoredMap, ...]
    inputs: tuple[int, ...]
    outputs: object
    shapes: tuple[tuple[int, ...], ...]
    layers: Mapping[str, tuple[int, int]]
    barriers: Mapping[str, str]
    unsupported: Mapping[str, str]

    @functools.cached_property
    def state_bytes(self) -> int:
        """Size of the stored maps, borders included."""
        return sum(4 * stored.rows * stored.shape[2] for stored in self.stored_maps)

    def macs(self, counts: Sequence[int]) -> int:
        """The number of multiply-accumulates.

        Args:
            counts: for each change map, how many of its positions are computed.
        """
        return sum(step.macs * counts[step.map] for step in self.steps)

    def all_positions(self) -> list[int]:
        """For each change map, the number of its positions."""
        shapes = [self.maps.shape(i) for i in range(len(self.maps))]
        return [math.prod(shape) if shape else 1 for shape in shapes]


def compile_program(flat: Flat, *, fold: bool = True) -> Program:
    """Turns a network into a program.

    Args:
        flat: the network.
        fold: read the weights and fold them. With `False`, the program can be used to count
            operations, but not to run them.
    """
    return _Compiler(flat, fold).run()


class _Compiler:
    """Makes the steps of a program one layer after the other."""

    def __init__(self, flat: Flat, fold: bool):
        self.flat = flat
        self.fold = fold
        self.shapes = list(flat.shapes)
        self.maps = ChangeMaps(flat.shapes[flat.inputs[0]][:2])
        self.map_of_value = {i: ChangeMaps.NEVER for i in flat.inputs}
        self.map_of_value[flat.inputs[0]] = ChangeMaps.FRAME
        self.equal_to: dict[int, int] = {}  # value -> the value that it equals
        self.padded: dict[int, tuple] = {}  # value -> (the value before padding, pads)
        self.steps: list[Step] = []
        self.layers: dict[str, tuple[int, int]] = {}
        self.barriers: dict[str, str] = {}
        self.unsupported: dict[str, str] = {}

    def run(self) -> Program:
        for call in self.flat.calls:
            self._add(call)
        outputs = keras.tree.map_structure(lambda i: self.equal_to.get(i, i), self.flat.outputs)
        if self.fold:
            self.steps = fold(self.steps, set(keras.tree.flatten(outputs)))
        return Program(
            tuple(self.steps),
            self.maps,
            self.map_of_value,
            self._stored_maps(keras.tree.flatten(outputs)),
            self.flat.inputs,
            outputs,
            tuple(self.shapes),
            self.layers,
            self.barriers,
            self.unsupported,
        )

    def _add(self, call: Call) -> None:
        layer = call.layer
        inputs = [self.equal_to.get(i, i) for i in call.inputs]
        rule = self._rule(call, inputs)
        pads = None
        if len(inputs) == 1 and inputs[0] in self.padded:  # only layers with a window read it
            source, pads = self.padded[inputs[0]]
            inputs, rule = (
                [source],
                dataclasses.replace(rule, reads=rule.reads.without_padding(pads)),
            )
        shape = self.shapes[call.outputs[0]]
        sources = [self.map_of_value[i] for i in inputs]
        map_ = map_of(self.maps, rule, sources, shape[:2] if len(shape) == 3 else None)
        for i in call.outputs:
            self.map_of_value[i] = map_
        self.layers[call.name] = map_, positions(shape)
        if positions(shape) > 1 and self._is_barrier(map_, sources):
            self.barriers[call.name] = rule.why
        if rule.kind == "pointwise" and is_idle(layer) and len(inputs) == 1:
            self.equal_to[call.outputs[0]] = inputs[0]
        elif type(layer) is kl.ZeroPadding2D and rule.kind == "window" and self._is_border(call):
            self.padded[call.outputs[0]] = inputs[0], layer.padding
        else:
            self._make(call, rule, inputs, map_, pads)

    def _rule(self, call: Call, inputs: Sequence[int]) -> Rule:
        shapes = [self.shapes[i] for i in inputs]
        sources = [self.map_of_value[i] for i in inputs]
        rule = rule_of(call.layer, shapes)
        if rule.kind in ("pointwise", "join") and not per_channel(*call.constants):
            rule = Rule("unsupported", why="it is called with an array that has positions")
        constant = [s for s, m in zip(shapes, sources, strict=True) if m == ChangeMaps.NEVER]
        if rule.kind == "join" and any(s[:2] != (1, 1) for s in constant):
            return Rule("global", why="one input does not come from the frame")
        if rule.kind == "unsupported":
            if any(self.maps.has_positions(m) for m in sources):
                self.unsupported[call.name] = rule.why
            return Rule("global", why=rule.why)  # in the head and after a barrier any layer works
        return rule

    def _is_barrier(self, map_: int, sources: Sequence[int]) -> bool:
        """Whether a layer's map is global, while no input of its size has a global map."""
        maps = self.maps
        already = any(maps.is_global(m) and maps.shape(m) == maps.shape(map_) for m in sources)
        some = any(maps.has_positions(m) for m in sources)
        return maps.is_global(map_) and some and not already

    def _is_border(self, call: Call) -> bool:
        """Whether a stored border can replace this padding layer: only windows read its output."""
        value = call.outputs[0]
        if value in keras.tree.flatten(self.flat.outputs):
            return False
        readers = [c.layer for c in self.flat.calls if value in c.inputs]
        return bool(readers) and all(
            rule_of(layer, [self.shapes[value]]).kind == "window"
            and (type(layer) in CONVOLUTIONS or getattr(layer, "padding", "") == "valid")
            for layer in readers
        )

    def _make(self, call: Call, rule: Rule, inputs: list[int], map_: int, pads) -> None:
        layer = call.layer
        step = Step(call.name, "call", inputs, list(call.outputs), map_, rule.reads, rule.fill)
        step.layer, step.arguments = layer, (call.args, dict(call.kwargs))
        step.order = len(self.layers) - 1
        step.pads = pads
        if type(layer) in CONVOLUTIONS and rule.kind == "window":
            self._convolution(step, layer)
            return
        if type(layer) is kl.Conv2DTranspose and rule.kind == "window":
            self._transposed(step, layer, self.shapes[call.inputs[0]])
            return
        if rule.kind == "window":
            kinds = {kl.MaxPooling2D: "max", kl.AveragePooling2D: "average"}
            step.kind = kinds.get(type(layer), "bilinear" if rule.weights else "copy")
            step.weights = rule.weights
            if step.kind in ("max", "average"):
                step.strides, step.padding = layer.strides, layer.padding
        elif type(layer) is kl.Dense and rule.kind == "pointwise":
            step.kind, step.activation = "conv", _own_activation(layer)
            step.reads = identity(self.shapes[step.inputs[0]][:2])
            self._set_weights(step, layer.kernel[None, None], layer.bias)
        elif rule.kind in ("pointwise", "join"):
            step.kind = "pointwise"
        elif type(layer) is kl.Dense:
            shape = self.shapes[step.outputs[0]]
            tokens = (
                1 if len(shape) == 3 else math.prod(shape[:-1])
            )  # positions of a map are counted apart
            step.macs = self.shapes[step.inputs[0]][-1] * layer.units * tokens
        self.steps.append(step)

    def _convolution(self, step: Step, layer) -> None:
        step.strides, step.dilation = layer.strides, layer.dilation_rate
        step.padding = layer.padding
        step.activation = _own_activation(layer)
        if type(layer) is kl.Conv2D:
            step.kind, step.groups = "conv", layer.groups
            self._set_weights(step, layer.kernel, layer.bias)
        elif type(layer) is kl.DepthwiseConv2D:
            step.kind = "depthwise"
            self._set_weights(step, layer.kernel, layer.bias)
        else:  # a separable convolution is a depthwise and a 1x1 convolution
            step.kind, activation, step.activation = "depthwise", step.activation, None
            self._set_weights(step, layer.depthwise_kernel, None)
            shape = self.shapes[step.outputs[0]]
            channels = math.prod(layer.depthwise_kernel.shape[2:])
            between = self._new_value(step.map, (*shape[:2], channels))
            second = Step(step.name, "conv", [between], step.outputs, step.map)
            second.order = step.order
            second.reads = identity(shape[:2])
            second.activation = activation
            self._set_weights(second, layer.pointwise_kernel, layer.bias)
            step.outputs = [between]
            self.steps += [step, second]
            return
        self.steps.append(step)

    def _transposed(self, step: Step, layer, shape: Sequence[int]) -> None:
        """Adds a convolution to blocks of outputs, and depth to space."""
        pads = step.pads or ((0, 0), (0, 0))
        blocks = Step(step.name, "conv", step.inputs, step.outputs, step.map)
        blocks.reads = transposed.block_reads(layer, shape[:2]).without_padding(pads)
        own = (axis.pads for axis in transposed.both_axes(layer))
        blocks.pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(pads, own, strict=True))
        blocks.order = step.order
        kernel, bias = weight_array(layer.kernel), layer.bias
        bias = None if bias is None else np.tile(weight_array(bias), math.prod(layer.strides))
        self._set_weights(blocks, transposed.block_kernel(layer, kernel), bias)
        if math.prod(layer.strides) == 1:  # every block is one output
            blocks.activation = _own_activation(layer)
            self.steps.append(blocks)
            return
        blocks.map = self.maps.window(self.map_of_value[step.inputs[0]], blocks.reads)
        channels = math.prod(layer.strides) * layer.filters
        blocks.outputs = [self._new_value(blocks.map, (*blocks.reads.output_shape, channels))]
        step.kind, step.inputs, step.strides = "depth_to_space", blocks.outputs, layer.strides
        step.reads, step.weights = transposed.block_of_output(layer, shape[:2])
        step.activation, step.pads = _own_activation(layer), None
        self.steps += [blocks, step]

    def _new_value(self, map_: int, shape: tuple[int, ...]) -> int:
        """Adds a value between two steps of one layer, and returns its number."""
        self.shapes.append(shape)
        self.map_of_value[len(self.shapes) - 1] = map_
        return len(self.shapes) - 1

    def _set_weights(self, step: Step, kernel, bias) -> None:
        step.macs = math.prod(kernel.shape)
        if self.fold:
            step.kernel = weight_array(kernel)
            step.bias = None if bias is None else weight_array(bias)

    def _stored_maps(self, outputs: Sequence[int]) -> tuple[StoredMap, ...]:
        """The values to store, each with the border that the steps that read it need."""
        windows: dict[tuple[int, float], list] = {}  # (value, fill) -> what reads its border
        without_border = set()
        for step in self.steps:
            for value in step.inputs:
                map_ = self.map_of_value[value]
                if not self.maps.has_positions(map_):
                    continue
                if step.reads is not None and not step.reads.is_identity:
                    windows.setdefault((value, step.fill), []).append(step.reads)
                elif step.map != map_:
                    without_border.add(value)
        without_border |= {i for i in outputs if self.maps.has_positions(self.map_of_value[i])}
        for value in sorted(without_border - {value for value, _ in windows}):
            windows[value, 0.0] = []
        return tuple(
            StoredMap(value, fill, self.shapes[value], _border(self.shapes[value], reads))
            for (value, fill), reads in windows.items()
        )


def _border(shape: Sequence[int], windows: Sequence[InputPositions]) -> tuple:
    """The border that a map of this shape needs, so that all these windows can be read."""
    pads = []
    for axis in (0, 1):
        tables = [(reads.rows, reads.cols)[axis] for reads in windows]
        before = max([0, *(-int(t.min()) for t in tables)])
        after = max([0, *(int(t.max()) - shape[axis] + 1 for t in tables)])
        pads.append((before, after))
    return tuple(pads)


def _own_activation(layer) -> Callable | None:
    """The activation of a layer; `None` for the linear one."""
    return None if layer.activation is keras.activations.linear else layer.activation
