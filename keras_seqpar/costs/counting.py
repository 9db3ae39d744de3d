"""What a network costs: parameters, multiply-accumulates and bytes, node by node."""

import dataclasses
import math

import keras
from keras import layers as kl

from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.graph import (
    called_layers,
    functional,
    inner_layers,
    leaf_layers,
    replay,
)
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.quantized import refuse_quantized
from keras_seqpar.utils.output import printable


@dataclasses.dataclass(frozen=True)
class NodeCost:
    """The cost of one sub-network.

    Args:
        id: node id, `"trunk"` or `"head"` (the layers of a plain network after its trunk).
        label: the node's label.
        kind: `"trunk"`, `"superclass"`, `"category"` or `"head"`.
        params: parameters as papers count them: trainable ones, frozen or not, without the
            moving statistics of batch normalization.
        macs: multiply-accumulates of convolutions and dense layers for one image.
        norm_macs: what normalization layers would add, at one multiply-accumulate per value.
            `macs` leaves it out, because batch normalization folds into convolutions; the
            counters of some papers include it.
        bytes: size of all weights as float32, moving statistics included.

    Example:

    >>> [(node.label, node.kind) for node in cost(pets).nodes]
    [('trunk', 'trunk'), ('cat', 'category'), ('dog', 'category')]
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

    Example:

    >>> counted = cost(pets)
    >>> counted.params == sum(node.params for node in counted.nodes)
    True
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
        """All that normalization layers would add to `macs`."""
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
                f"{short_number(node.macs):>10} {short_number(node.bytes, 'B'):>10} {share:>6.1%}"
            )
            lines += [rule, row] if node is total or node is self.nodes[0] else [row]
        lines.append("MACs: convolutions and dense layers, for one image; share: of the MACs.")
        return printable("\n".join(lines))


def cost(model: keras.Model, input_shape: tuple | None = None) -> Cost:
    """Counts what each node of a network costs.

    One multiply-accumulate is one MAC. Only convolutions and dense layers are counted, as in
    most papers' tables. Some papers, arXiv 2308.05128 among them, also count normalization:
    add `norm_macs` to compare with them. Layers inside of layers, as blocks of KerasHub have them,
    are counted one by one.

    Args:
        model: a network of this package, plain ones included.
        input_shape: `(height, width, channels)` to count the MACs for; by default the
            model's own.

    Returns:
        The cost per node and in total; `print(cost(model))` shows a table.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: `model` is no network of this package or was quantized by Keras, its input
            size is not known, `input_shape` has another number of channels, or a trunk of one's
            own has a layer with kernels whose MACs are not known.

    Example:

    >>> print(cost(model))
    phl_resnet18 at 32x32x3
    node          kind          parameters       MACs    float32  share
    -------------------------------------------------------------------
    trunk         trunk             44,040     6.77 M  178.40 kB  95.5%
    cat           category           6,881   107.54 k   28.10 kB   1.5%
    dog           category           6,881   107.54 k   28.10 kB   1.5%
    car           category           6,881   107.54 k   28.10 kB   1.5%
    -------------------------------------------------------------------
    total                           64,683     7.10 M  262.70 kB 100.0%
    MACs: convolutions and dense layers, for one image; share: of the MACs.
    """
    parts = find_parts(model, allow_plain=True)
    refuse_quantized(model, "Count the original network.")
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
    macs = macs_by_layer(model, shape)

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
    branches = {**parts.branches, **{id_: x.template for x in parts.banks for id_ in x.nodes}}
    for node in parts.hierarchy.nodes if branches else ():
        kind = "category" if node.is_category else "superclass"
        nodes.append(node_cost(node.id, node.label, kind, called_layers(branches[node.id])))
    if not branches:
        in_trunk = {id(layer) for layer in leaf_layers(parts.trunk)}
        head = [x for x in called_layers(model) if id(x) not in in_trunk]
        nodes.append(node_cost("head", "head", "head", head))
    return Cost(model.name, shape, tuple(nodes))


def macs_by_layer(model: keras.Model, input_shape: tuple) -> dict[int, tuple[int, int]]:
    """The MACs of each layer, and what normalizations would add, for one image.

    Args:
        model: any functional model.
        input_shape: `(height, width, channels)` of its first input.

    Returns:
        `id` of a layer -> its MACs, its `norm_macs`.
    """
    found: dict[int, tuple[int, int]] = {}

    def call(layer, *args, **kwargs):
        if isinstance(layer, Bank):  # as one branch, since all cost the same
            return replay(layer.template, args[0], call)
        if isinstance(layer, keras.Model):
            return replay(functional(layer) or layer, args[0], call)
        output, found[id(layer)] = _counted(layer, *args, **kwargs)
        return output

    specs = [keras.KerasTensor((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    specs[0] = keras.KerasTensor((1, *input_shape), model.inputs[0].dtype)
    replay(model, specs, call)
    return found


def short_number(count: float, unit: str = "") -> str:
    """Writes a large number with a prefix: 1234567 becomes "1.23 M"."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.2f} {prefix}{unit}"
    return f"{count:.4g} {unit}".strip()


def _params(layer) -> int:
    norms = [x for x in (layer, *inner_layers(layer)) if isinstance(x, kl.BatchNormalization)]
    statistics = [w for x in norms for w in (x.moving_mean, x.moving_variance)]
    sizes = [math.prod(w.shape) for w in layer.weights]
    return sum(sizes) - sum(math.prod(w.shape) for w in statistics)


def _counted(layer, *args, **kwargs):
    """The output of a layer without values, and its MACs and those of normalizations."""
    if not isinstance(layer, keras.Layer):  # an operation, as `x + 1` adds to a model
        return layer.compute_output_spec(*args, **kwargs), (0, 0)
    inner = [x for x in inner_layers(layer) if x.weights and not inner_layers(x)]
    if not inner:
        output = layer.compute_output_spec(*args, **kwargs)
        return output, (_macs(layer, args[0], output), _norm_macs(layer, output))
    found: list[tuple[int, int]] = []

    def noted(each, call):
        def run(x, *rest, **options):
            y = call(x, *rest, **options)
            found.append((_macs(each, x, y), _norm_macs(each, y)))
            return y

        return run

    def anew(*args, **kwargs):
        found.clear()  # torch may have failed halfway on its device without values
        return outer(*args, **kwargs)

    outer = layer.call
    try:
        layer.call = anew
        for each in inner:
            each.call = noted(each, each.call)
        # Not the layer's own method: that may know the shape without calling what is inside.
        output = keras.Operation.compute_output_spec(layer, *args, **kwargs)
    finally:
        for each in (layer, *inner):
            vars(each).pop("call", None)  # the class's is left
    return output, tuple(sum(column) for column in zip(*found, strict=True)) or (0, 0)


def _macs(layer, inputs, output) -> int:
    """MACs of one layer: every value of a kernel works once per position.

    Raises:
        ValueError: a layer with kernels of another kind.
    """
    if isinstance(layer, kl.Conv2DTranspose):  # each input value is spread over one kernel
        return math.prod(inputs.shape) // layer.kernel.shape[-1] * math.prod(layer.kernel.shape)
    if isinstance(layer, kl.SeparableConv2D):
        depthwise, pointwise = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
        positions = math.prod(output.shape) // pointwise[-1]
        return positions * (math.prod(depthwise) + math.prod(pointwise))
    if isinstance(layer, (kl.Conv2D, kl.Dense, kl.DepthwiseConv2D)):
        shape = layer.kernel.shape
        channels = shape[-1] * (shape[-2] if isinstance(layer, kl.DepthwiseConv2D) else 1)
        return math.prod(output.shape) // channels * math.prod(shape)
    matrices = [w for w in layer.weights if math.prod(w.shape) > max(w.shape, default=1)]
    if not matrices:
        return 0
    raise ValueError(
        f"The layer {layer.name!r}, a {type(layer).__name__}, has a kernel of the shape "
        f"{tuple(matrices[0].shape)}, and nothing here says how often it is used. cost counts "
        "Conv2D, DepthwiseConv2D, SeparableConv2D, Conv2DTranspose and Dense, also inside of "
        "other layers. Build the trunk of these."
    )


def _norm_macs(layer, output) -> int:
    norms = (kl.BatchNormalization, kl.LayerNormalization)
    return math.prod(output.shape) if isinstance(layer, norms) else 0
