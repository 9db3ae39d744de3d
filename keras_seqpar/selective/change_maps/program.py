"""A network as a list of steps, each with its change map, and the maps that must be kept.

Batch normalization and constant gains are folded into the convolution before them, padding is
read as a border, and layers that do nothing at inference are left out. What a step makes is
kept from frame to frame ("stored") only where a later step reads more or other positions of it
than were just made: readers with a window, joins of different reach, global layers, outputs.
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
from keras_seqpar.selective.change_maps.input_positions import Taps, identity
from keras_seqpar.selective.change_maps.propagation import Maps
from keras_seqpar.selective.change_maps.rules import (
    CONVOLUTIONS,
    Rule,
    is_idle,
    map_of,
    per_channel,
    rule_of,
)
from keras_seqpar.selective.change_maps.steps import Step, array, fold


@dataclasses.dataclass(frozen=True)
class Layout:
    """A stored map: `(height + border, width + border)` rows of `channels` numbers.

    Args:
        value: what is stored.
        fill: what the border holds.
        shape: `(height, width, channels)` without border.
        pads: `((top, bottom), (left, right))` border.
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
        """How many positions are stored."""
        return math.prod(self.padded)


@dataclasses.dataclass(frozen=True)
class Program:
    """A network, ready to be run selectively.

    Args:
        steps: in an order in which they can be done.
        maps: all change maps.
        map_of_value: the map of every value.
        layouts: what is stored.
        inputs: numbers of the inputs; the frame is the first.
        outputs: the output structure, with numbers in place of tensors.
        shapes: of every value.
        layers: name of a layer -> (its map, the number of its positions).
        barriers: layers that make everything behind them depend on every position -> why.
        unknown: layers that no rule is known for -> why. They are taken as if each of their
            outputs depended on every input.
    """

    steps: tuple[Step, ...]
    maps: Maps
    map_of_value: Mapping[int, int]
    layouts: tuple[Layout, ...]
    inputs: tuple[int, ...]
    outputs: object
    shapes: tuple[tuple[int, ...], ...]
    layers: Mapping[str, tuple[int, int]]
    barriers: Mapping[str, str]
    unknown: Mapping[str, str]

    @functools.cached_property
    def state_bytes(self) -> int:
        """Size of what is stored, borders included."""
        return sum(4 * layout.rows * layout.shape[2] for layout in self.layouts)

    def macs(self, counts: Sequence[int]) -> int:
        """Multiply-accumulates when so many positions of each map are computed."""
        return sum(step.macs * counts[step.map] for step in self.steps)

    def all_positions(self) -> list[int]:
        """The number of positions of every map."""
        shapes = [self.maps.shape(i) for i in range(len(self.maps))]
        return [math.prod(shape) if shape else 1 for shape in shapes]


def compile_program(flat: Flat, *, fold: bool = True) -> Program:
    """Makes the steps of a network.

    Args:
        flat: the network.
        fold: take the weights and fold them; without, the steps can be counted, not run.

    Returns:
        The program.
    """
    return _Compiler(flat, fold).run()


class _Compiler:
    """Holds what is known while the steps are made."""

    def __init__(self, flat: Flat, fold: bool):
        self.flat = flat
        self.fold = fold
        self.shapes = list(flat.shapes)
        self.maps = Maps(flat.shapes[flat.inputs[0]][:2])
        self.map_of_value = {i: Maps.NEVER for i in flat.inputs}
        self.map_of_value[flat.inputs[0]] = Maps.SOURCE
        self.same: dict[int, int] = {}  # value -> the one it equals
        self.padded: dict[int, tuple] = {}  # value -> (the one it pads, pads)
        self.steps: list[Step] = []
        self.layers: dict[str, tuple[int, int]] = {}
        self.barriers: dict[str, str] = {}
        self.unknown: dict[str, str] = {}

    def run(self) -> Program:
        for call in self.flat.calls:
            self._add(call)
        outputs = keras.tree.map_structure(lambda i: self.same.get(i, i), self.flat.outputs)
        if self.fold:
            self.steps = fold(self.steps, set(keras.tree.flatten(outputs)))
        return Program(
            tuple(self.steps),
            self.maps,
            self.map_of_value,
            self._layouts(keras.tree.flatten(outputs)),
            self.flat.inputs,
            outputs,
            tuple(self.shapes),
            self.layers,
            self.barriers,
            self.unknown,
        )

    def _add(self, call: Call) -> None:
        layer = call.layer
        inputs = [self.same.get(i, i) for i in call.inputs]
        rule = self._rule(call, inputs)
        pads = None
        if len(inputs) == 1 and inputs[0] in self.padded:  # then only windows read it
            source, pads = self.padded[inputs[0]]
            inputs, rule = [source], dataclasses.replace(rule, taps=rule.taps.after(pads))
        shape = self.shapes[call.outputs[0]]
        sources = [self.map_of_value[i] for i in inputs]
        map_ = map_of(self.maps, rule, sources, shape[:2] if len(shape) == 3 else None)
        for i in call.outputs:
            self.map_of_value[i] = map_
        self.layers[call.name] = map_, positions(shape)
        if positions(shape) > 1 and self._is_barrier(map_, sources):
            self.barriers[call.name] = rule.why
        if rule.kind == "pointwise" and is_idle(layer) and len(inputs) == 1:
            self.same[call.outputs[0]] = inputs[0]
        elif type(layer) is kl.ZeroPadding2D and rule.kind == "window" and self._absorbs(call):
            self.padded[call.outputs[0]] = inputs[0], layer.padding
        else:
            self._make(call, rule, inputs, map_, pads)

    def _rule(self, call: Call, inputs: Sequence[int]) -> Rule:
        shapes = [self.shapes[i] for i in inputs]
        sources = [self.map_of_value[i] for i in inputs]
        rule = rule_of(call.layer, shapes)
        if rule.kind in ("pointwise", "join") and not per_channel(*call.constants):
            rule = Rule("unknown", why="it is called with an array that has positions")
        steady = [s for s, m in zip(shapes, sources, strict=True) if m == Maps.NEVER]
        if rule.kind == "join" and any(s[:2] != (1, 1) for s in steady):
            return Rule("whole", why="one input does not come from the frame")
        if rule.kind == "unknown":
            if any(self.maps.has_positions(m) for m in sources):
                self.unknown[call.name] = rule.why
            return Rule("whole", why=rule.why)  # in the head and behind a barrier any layer will do
        return rule

    def _is_barrier(self, map_: int, sources: Sequence[int]) -> bool:
        """Whether the map is whole and no input's of its size is."""
        maps = self.maps
        already = any(maps.is_whole(m) and maps.shape(m) == maps.shape(map_) for m in sources)
        some = any(maps.has_positions(m) for m in sources)
        return maps.is_whole(map_) and some and not already

    def _absorbs(self, call: Call) -> bool:
        """Whether only windows read what this layer pads, so that a border will do."""
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
        step = Step(call.name, "call", inputs, list(call.outputs), map_, rule.taps, rule.fill)
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
            step.taps = identity(self.shapes[step.inputs[0]][:2])
            self._weigh(step, layer.kernel[None, None], layer.bias)
        elif rule.kind in ("pointwise", "join"):
            step.kind = "pointwise"
        elif type(layer) is kl.Dense:
            shape = self.shapes[step.outputs[0]]
            tokens = 1 if len(shape) == 3 else math.prod(shape[:-1])  # a map counts its positions
            step.macs = math.prod(layer.kernel.shape) * tokens
        self.steps.append(step)

    def _convolution(self, step: Step, layer) -> None:
        step.strides, step.dilation = layer.strides, layer.dilation_rate
        step.padding = layer.padding
        step.activation = _own_activation(layer)
        if type(layer) is kl.Conv2D:
            step.kind, step.groups = "conv", layer.groups
            self._weigh(step, layer.kernel, layer.bias)
        elif type(layer) is kl.DepthwiseConv2D:
            step.kind = "depthwise"
            self._weigh(step, layer.kernel, layer.bias)
        else:  # a separable one is a depthwise and a 1x1 convolution
            step.kind, activation, step.activation = "depthwise", step.activation, None
            self._weigh(step, layer.depthwise_kernel, None)
            shape = self.shapes[step.outputs[0]]
            channels = math.prod(layer.depthwise_kernel.shape[2:])
            between = self._new_value(step.map, (*shape[:2], channels))
            second = Step(step.name, "conv", [between], step.outputs, step.map)
            second.order = step.order
            second.taps = identity(shape[:2])
            second.activation = activation
            self._weigh(second, layer.pointwise_kernel, layer.bias)
            step.outputs = [between]
            self.steps += [step, second]
            return
        self.steps.append(step)

    def _transposed(self, step: Step, layer, shape: Sequence[int]) -> None:
        """A convolution to blocks of outputs, and what lays them."""
        pads = step.pads or ((0, 0), (0, 0))
        blocks = Step(step.name, "conv", step.inputs, step.outputs, step.map)
        blocks.taps = transposed.block_taps(layer, shape[:2]).after(pads)
        own = (axis.pads for axis in transposed.both_axes(layer))
        blocks.pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(pads, own, strict=True))
        blocks.order = step.order
        kernel, bias = array(layer.kernel), layer.bias
        bias = None if bias is None else np.tile(array(bias), math.prod(layer.strides))
        self._weigh(blocks, transposed.block_kernel(layer, kernel), bias)
        if math.prod(layer.strides) == 1:  # blocks of one output each
            blocks.activation = _own_activation(layer)
            self.steps.append(blocks)
            return
        blocks.map = self.maps.taps(self.map_of_value[step.inputs[0]], blocks.taps)
        channels = math.prod(layer.strides) * layer.filters
        blocks.outputs = [self._new_value(blocks.map, (*blocks.taps.output_shape, channels))]
        step.kind, step.inputs, step.strides = "lay", blocks.outputs, layer.strides
        step.taps, step.weights = transposed.lay_taps(layer, shape[:2])
        step.activation, step.pads = _own_activation(layer), None
        self.steps += [blocks, step]

    def _new_value(self, map_: int, shape: tuple[int, ...]) -> int:
        """The number of a value between two steps of one layer."""
        self.shapes.append(shape)
        self.map_of_value[len(self.shapes) - 1] = map_
        return len(self.shapes) - 1

    def _weigh(self, step: Step, kernel, bias) -> None:
        step.macs = math.prod(kernel.shape)
        if self.fold:
            step.kernel = array(kernel)
            step.bias = None if bias is None else array(bias)

    def _layouts(self, outputs: Sequence[int]) -> tuple[Layout, ...]:
        """What must be stored, with the border that its readers need."""
        needs: dict[tuple[int, float], list] = {}
        plain = set()  # stored without a wish for a border
        for step in self.steps:
            for value in step.inputs:
                map_ = self.map_of_value[value]
                if not self.maps.has_positions(map_):
                    continue
                if step.taps is not None and not step.taps.is_identity:
                    needs.setdefault((value, step.fill), []).append(step.taps)
                elif step.map != map_:
                    plain.add(value)
        plain |= {i for i in outputs if self.maps.has_positions(self.map_of_value[i])}
        for value in sorted(plain - {value for value, _ in needs}):
            needs[value, 0.0] = []
        return tuple(
            Layout(value, fill, self.shapes[value], _border(self.shapes[value], taps))
            for (value, fill), taps in needs.items()
        )


def _border(shape: Sequence[int], all_taps: Sequence[Taps]) -> tuple:
    pads = []
    for axis in (0, 1):
        tables = [(taps.rows, taps.cols)[axis] for taps in all_taps]
        before = max([0, *(-int(t.min()) for t in tables)])
        after = max([0, *(int(t.max()) - shape[axis] + 1 for t in tables)])
        pads.append((before, after))
    return tuple(pads)


def _own_activation(layer) -> Callable | None:
    return None if layer.activation is keras.activations.linear else layer.activation
