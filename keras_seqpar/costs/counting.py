"""What a network costs: parameters, multiply-accumulates and bytes, node by node."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.networks.graph import called_layers, leaf_layers, replay
from keras_seqpar.surgery.cutout import cutout, find_parts
from keras_seqpar.utils.names import unknown_name


@dataclasses.dataclass(frozen=True)
class NodeCost:
    """The cost of one sub-network.

    Args:
        id: node id, `"trunk"` or `"head"` (what a plain network has after its trunk).
        label: what people read.
        kind: `"trunk"`, `"superclass"`, `"category"` or `"head"`.
        params: parameters as papers count them: trainable ones, frozen or not, without the
            moving statistics of batch normalization.
        macs: multiply-accumulates of convolutions and dense layers for one image.
        norm_macs: what normalization layers would add, at one multiply-accumulate per value.
            Not part of `macs` (batch normalization folds into convolutions), but of the
            counters that some papers use.
        bytes: size of all weights as float32, moving statistics included.
    """

    id: str
    label: str
    kind: str
    params: int
    macs: int
    norm_macs: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a network; `print` shows it as a table.

    Args:
        name: the network's name.
        input_shape: `(height, width, channels)` that the MACs were counted for.
        nodes: one entry per node of the network.
    """

    name: str
    input_shape: tuple[int, ...]
    nodes: tuple[NodeCost, ...]

    @property
    def params(self) -> int:
        """All parameters."""
        return sum(node.params for node in self.nodes)

    @property
    def macs(self) -> int:
        """All multiply-accumulates for one image."""
        return sum(node.macs for node in self.nodes)

    @property
    def norm_macs(self) -> int:
        """What normalization layers would add to `macs`."""
        return sum(node.norm_macs for node in self.nodes)

    @property
    def bytes(self) -> int:
        """Size of all weights as float32."""
        return sum(node.bytes for node in self.nodes)

    def __str__(self) -> str:
        total = NodeCost("", "total", "", self.params, self.macs, self.norm_macs, self.bytes)
        width = max(12, *(len(node.label) for node in self.nodes))
        size = "x".join(map(str, self.input_shape))
        lines = [
            f"{self.name} at {size}",
            f"{'node':<{width}}  {'kind':<10} {'parameters':>13} {'MACs':>10} {'float32':>10}"
            f" {'share':>6}",
        ]
        rule = "-" * len(lines[1])
        for node in (*self.nodes, total):
            share = node.macs / total.macs if total.macs else 0
            row = (
                f"{node.label:<{width}}  {node.kind:<10} {node.params:>13,} "
                f"{_short(node.macs):>10} {_short(node.bytes, 'B'):>10} {share:>6.1%}"
            )
            lines += [rule, row] if node is total or node is self.nodes[0] else [row]
        lines.append("MACs: convolutions and dense layers, for one image; share: of the MACs.")
        return "\n".join(lines)


def cost(model: keras.Model, input_shape: tuple | None = None) -> Cost:
    """Counts what each node of a network costs.

    One multiply-accumulate is one MAC; only convolutions and dense layers are counted, as in
    most papers' tables. Some counters, that of arXiv 2308.05128 among them, add normalization:
    `norm_macs` has it apart.

    Args:
        model: a network of this package, plain ones included.
        input_shape: `(height, width, channels)` to count the MACs for; by default the
            model's own.

    Returns:
        The cost per node and in all; `print(cost(model))` shows a table.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: no network of this package, an input size that is not known, or another number
            of channels than the model takes.

    Example:

    >>> cost(build_phl(["cat", "dog"])).params
    10831938
    """
    parts = find_parts(model, allow_plain=True)
    shape = tuple(input_shape or parts.trunk.input.shape[1:])
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            f"cost needs the size of an image, got {shape}. "
            "Give input_shape=(height, width, channels)."
        )
    channels = parts.trunk.input.shape[-1]
    if shape[-1] != channels:
        raise ValueError(
            f"The model {model.name!r} takes images of {channels} channels, got {shape}."
        )
    macs: dict[int, tuple[int, int]] = {}  # id of a layer -> its MACs, its norm_macs

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return replay(layer, args[0], call)
        output = layer.compute_output_spec(*args, **kwargs)
        macs[id(layer)] = _macs(layer, args[0], output), _norm_macs(layer, output)
        return output

    specs = [keras.KerasTensor((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    specs[0] = keras.KerasTensor((1, *shape), model.inputs[0].dtype)
    replay(model, specs, call)

    def node_cost(id_: str, label: str, kind: str, layers) -> NodeCost:
        layers = list(layers)
        weights = [w for layer in layers for w in layer.weights]
        return NodeCost(
            id_,
            label,
            kind,
            params=sum(map(_params, layers)),
            macs=sum(macs[id(layer)][0] for layer in layers),
            norm_macs=sum(macs[id(layer)][1] for layer in layers),
            bytes=4 * sum(math.prod(weight.shape) for weight in weights),
        )

    nodes = [node_cost("trunk", "trunk", "trunk", called_layers(parts.trunk))]
    for node in parts.hierarchy.nodes if parts.branches else ():
        kind = "category" if node.is_category else "superclass"
        nodes.append(node_cost(node.id, node.label, kind, called_layers(parts.branches[node.id])))
    if not parts.branches:
        in_trunk = {id(layer) for layer in leaf_layers(parts.trunk)}
        head = [x for x in called_layers(model) if id(x) not in in_trunk]
        nodes.append(node_cost("head", "head", "head", head))
    return Cost(model.name, shape, tuple(nodes))


def compare(
    full: keras.Model,
    *others: keras.Model,
    input_shape: tuple | None = None,
    latency: Callable[[keras.Model], float] | None = None,
) -> str:
    """Sets networks side by side: cutouts and the plain network beside the full one.

    A cutout's saving against its own full network flatters; against the plain network of the
    same family, the last one given, it is honest. So the table has both.

    Args:
        full: the network that the first percentages refer to.
        others: cutouts, and last the plain network that the second percentages refer to.
        input_shape: `(height, width, channels)` to count the MACs for.
        latency: measures a network in milliseconds, for example `measure_latency`; adds a
            column.

    Returns:
        A table to print; the numbers behind it are `cost`'s.

    Example:

    >>> print(compare(model, cutout(model, ["cat"]), build_plain("resnet50", ["cat"])))
    """
    costs = [cost(model, input_shape) for model in (full, *others)]
    first, last = costs[0], costs[-1]
    width = max(8, *(len(c.name) for c in costs))
    head = f"{'network':<{width}} {'categories':>10}"
    for title in ("parameters", "MACs", "float32", *(["ms"] if latency else [])):
        head += f" {title:>13} {'vs first':>8} {'vs last':>8}"
    lines = [head, "-" * len(head)]
    ms = [latency(model) for model in (full, *others)] if latency else []
    for i, (model, c) in enumerate(zip((full, *others), costs, strict=True)):
        columns = [
            (f"{c.params:,}", c.params, first.params, last.params),
            (_short(c.macs), c.macs, first.macs, last.macs),
            (_short(c.bytes, "B"), c.bytes, first.bytes, last.bytes),
            *([(f"{ms[i]:.2f}", ms[i], ms[0], ms[-1])] if latency else []),
        ]
        line = f"{c.name:<{width}} {model.output_shape[-1]:>10}"
        for text, value, of_first, of_last in columns:
            line += f" {text:>13} {value / of_first - 1:>+8.1%} {value / of_last - 1:>+8.1%}"
        lines.append(line)
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Which categories fit into a budget.

    Args:
        kept: labels that fit, in the order of importance given.
        dropped: labels that do not.
        used: what the kept ones need, in the budget's units.
        budget: the limits.
    """

    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    used: Mapping[str, float]
    budget: Mapping[str, float]

    def __str__(self) -> str:
        limits = [
            f"{unit}: {_short(self.used[unit])} of {_short(most)}"
            for unit, most in self.budget.items()
        ]
        kept, dropped = ", ".join(self.kept), ", ".join(self.dropped) or "nothing"
        return f"keeps {len(self.kept)}: {kept}\ndrops: {dropped}\n" + "\n".join(limits)


def plan(
    model: keras.Model,
    budget: Mapping[str, float],
    *,
    prefer: Sequence[str] | None = None,
    latency: Callable[[keras.Model], float] | None = None,
) -> Fit:
    """Finds which categories fit into so many bytes, MACs, parameters or milliseconds.

    Categories are taken in order of importance; one that does not fit is left out and the
    next one tried. A category below a superclass that is already paid for is cheaper.

    Args:
        model: a SeqPar network.
        budget: limits by unit: `"bytes"` (float32 weights), `"macs"`, `"params"`, `"ms"`.
        prefer: candidates, most important first; by default all, in the network's order.
        latency: measures a network in milliseconds, for `"ms"`; by default
            `measure_latency`. It is asked for the full network and for the first candidate
            alone, and all others are read off a straight line over their MACs.

    Returns:
        What fits; `cutout(model, fit.kept)` builds it.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: no SeqPar network, an unknown unit or category, a limit that is not
            above 0, or not even one category fits.

    Example:

    >>> fit = plan(model, {"bytes": 50e6, "macs": 3.7e9}, prefer=["cat", "dog", "car"])
    """
    parts = find_parts(model)
    units = ("bytes", "macs", "params", "ms")
    for unit, most in budget.items():
        if unit not in units:
            raise ValueError(unknown_name("budget unit", unit, units))
        if not most > 0:
            raise ValueError(f"The budget of {unit!r} must be above 0, got {most}.")
    if not budget:
        raise ValueError(f"Give at least one limit. Units: {', '.join(units)}.")
    by_id = {node.id: node for node in cost(model).nodes}
    candidates = parts.hierarchy.select(prefer or parts.hierarchy.categories)

    def used(ids: Sequence[str]) -> dict[str, float]:
        nodes = ["trunk", *(node.id for node in parts.hierarchy.prune(ids).nodes)]
        sums = {unit: float(sum(getattr(by_id[id_], unit) for id_ in nodes)) for unit in units[:3]}
        return {**sums, "ms": line(sums["macs"])} if "ms" in budget else sums

    if "ms" in budget:
        line = _latency_line(model, candidates[0], latency or measure_latency)
    kept: list[str] = []
    for id_ in candidates:
        needs = used([*kept, id_])
        if all(needs[unit] <= most for unit, most in budget.items()):
            kept.append(id_)
    if not kept:
        needs = used(candidates[:1])
        raise ValueError(
            "Not even one category fits: the trunk and "
            f"{parts.hierarchy.find(candidates[0]).label!r} need "
            + ", ".join(f"{unit}: {_short(needs[unit])}" for unit in budget)
            + ". Raise the budget, or take a narrower or earlier-splitting network."
        )
    label = {id_: parts.hierarchy.find(id_).label for id_ in parts.hierarchy.category_ids}
    return Fit(
        kept=tuple(label[id_] for id_ in kept),
        dropped=tuple(label[id_] for id_ in parts.hierarchy.category_ids if id_ not in kept),
        used={unit: used(kept)[unit] for unit in budget},
        budget=dict(budget),
    )


def measure_latency(model: keras.Model, *, runs: int = 20) -> float:
    """Median milliseconds for one image in Keras on this machine, after three warm-ups."""
    inputs = [np.zeros((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    batch = inputs if len(inputs) > 1 else inputs[0]
    times = []
    for _ in range(runs + 3):
        start = time.perf_counter()
        model.predict_on_batch(batch)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[3:])


def _latency_line(model, first: str, latency) -> Callable[[float], float]:
    """Milliseconds as a straight line over MACs, through the full net and one category."""
    small = cutout(model, [first])
    x0, x1 = cost(small).macs, cost(model).macs
    y0, y1 = latency(small), latency(model)
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    return lambda macs: y0 + slope * (macs - x0)


def _params(layer) -> int:
    statistics = 0
    if isinstance(layer, kl.BatchNormalization):
        statistics = math.prod(layer.moving_mean.shape) + math.prod(layer.moving_variance.shape)
    return sum(math.prod(w.shape) for w in layer.weights) - statistics


def _macs(layer, inputs, output) -> int:
    """MACs of one layer: output positions x channels x what each output value sums over."""
    if isinstance(layer, kl.DepthwiseConv2D):  # each output channel sees one input channel
        return math.prod(output.shape) * math.prod(layer.kernel_size)
    if isinstance(layer, kl.Conv2DTranspose):  # each input value is spread over one kernel
        return math.prod(inputs.shape) * math.prod(layer.kernel_size) * output.shape[-1]
    if isinstance(layer, kl.Conv2D):
        channels = inputs.shape[-1] // layer.groups
        return math.prod(output.shape) * math.prod(layer.kernel_size) * channels
    if isinstance(layer, kl.Dense):
        return math.prod(output.shape) * inputs.shape[-1]
    return 0


def _norm_macs(layer, output) -> int:
    norms = (kl.BatchNormalization, kl.LayerNormalization)
    return math.prod(output.shape) if isinstance(layer, norms) else 0


def _short(count: float, unit: str = "") -> str:
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.2f} {prefix}{unit}"
    return f"{count:.4g} {unit}".strip()
