"""From a trained plain network to a SeqPar network whose branches are parts of its tail."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import layers

from keras_seqpar.families.base import Plan
from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.networks.builders import build_nhl, build_phl
from keras_seqpar.networks.graph import replay
from keras_seqpar.networks.parts import Parts, find_parts
from keras_seqpar.networks.prediction import predict
from keras_seqpar.surgery.tails import Tail, is_1x1, moments
from keras_seqpar.weights.copies import assign, named_weights

_RIDGE = 1e-3  # penalty on changes of kernels, as a share of the inputs' mean variance
_LOGIT_RIDGE = 0.1  # where there are as many features as images
_MIXING = (layers.Conv2D, layers.Dense)  # their outputs are new channels


def from_plain(
    plain: keras.Model,
    images,
    *,
    plan: str | Plan = "late_sp",
    hierarchy=None,
    batch_size: int = 64,
    name: str | None = None,
) -> keras.Model:
    """Makes a SeqPar network of a trained plain one.

    The first blocks of the plain network become the trunk as they are. Each block of a branch is
    the next block behind them of the same kernels and strides, with only the channels that matter
    most for the categories of that branch. Its 1x1 convolutions are fitted by least squares, so
    that these channels are what they were with all the others (He et al., arXiv 1707.06168), and
    the logits likewise; normalizations keep the mean and deviation that they had. So the result
    names most images before any training, and learns faster than one with random branches: train
    it with the plain network as its teacher.

    A channel matters by how much a logit (for a softmax, less the mean of all logits) would change
    to first order if it were 0: the sum over positions of activation times gradient, of which the
    absolute values are added up over the images and over all layers that share the channel
    (Molchanov et al., arXiv 1906.10771, section 3).

    Args:
        plain: a trained network from `build_plain`, or a cutout of one.
        images: some hundred images, `(n, height, width, channels)`, as `plain` takes them; labels
            are not needed. The time grows with their number and with that of the categories.
        plan: name of a plan of the network's family, or a `Plan`. Its branches must be made of
            blocks of the plain network, with as many channels or fewer.
        hierarchy: superclasses over the same categories, as `Hierarchy.of` reads them; by default
            one branch per category.
        batch_size: images that are computed at once.
        name: of the new network.

    Returns:
        A network with weights of its own.

    Raises:
        TypeError: `plain` is no Keras model.
        ValueError: no plain network, other categories, images that do not fit, are all the same,
            have NaN or are too few (2 per category), or a plan whose blocks the plain network does
            not have.

    Example:

    >>> plain = build_plain(["cat", "dog"], family="efficientnet_lite0", input_shape=(64, 64, 3))
    >>> network = from_plain(plain, np.random.default_rng(0).normal(size=(16, 64, 64, 3)))
    >>> network.output_shape
    (None, 2)
    """
    parts = find_parts(plain, allow_plain=True)
    tree = parts.hierarchy if hierarchy is None else Hierarchy.of(hierarchy)
    images = _checked(plain, parts, tree, images)
    build = parts.require_build(plain.name)
    make = build_phl if tree.depth == 1 else build_nhl
    network = make(
        tree,
        family=build.family,
        plan=plan,
        input_shape=plain.input_shape[1:],
        width=build.width,
        stem=build.stem,
        classifier_activation=parts.classifier_activation,
        include_preprocessing=build.include_preprocessing,
        drop_path_rate=build.drop_path_rate,
        name=name or plain.name,
    )
    scores = network.layers[-1]
    scores.build_config = dataclasses.replace(
        scores.build_config, weights=build.weights, license=build.license
    )
    new = find_parts(network)
    want = named_weights(new.trunk)
    assign(named_weights(parts.trunk), want, want)
    features = predict(new.trunk, images, batch_size=batch_size)
    tail = Tail(plain, parts, new.trunk.layers[-1].name, features)
    logits = predict(tail.logits, features, batch_size=batch_size)
    every = range(features.shape[-1])
    columns = {id_: i for i, id_ in enumerate(parts.hierarchy.category_ids)}
    importance = [tail.importance(i, batch_size) for i in range(len(columns))]

    def start(node: Node, features: np.ndarray, channels: Sequence[int], done: int) -> None:
        of_node = [columns[each.id] for each in node.walk() if each.is_category]
        total = {
            layer: np.sum([importance[i][layer] for i in of_node], axis=0)
            for layer in importance[0]
        }
        branch, logit = new.branches[node.id], f"{node.id}_logit"
        twins, done = tail.twins(branch, node.id, done)
        chosen, channels = _choose(branch, logit, twins, total, channels)
        made = _fill(branch, logit, twins, chosen, features, tail)
        if node.is_category:
            target = logits[:, [columns[node.id]]]
            kernel, bias = _least_squares(made, target, _LOGIT_RIDGE)
            branch.get_layer(logit).set_weights([kernel, bias])
        for child in node.children:
            start(child, made, channels, done)

    for root in tree.roots:
        start(root, features, every, 0)
    return network


def _checked(plain: keras.Model, parts: Parts, tree: Hierarchy, images) -> np.ndarray:
    """The images as an array, once all fits together."""
    if parts.branches or parts.banks:
        raise ValueError(
            f"{plain.name!r} is a SeqPar network: it has branches. from_plain takes a network of "
            "build_plain."
        )
    if sorted(tree.categories) != sorted(parts.hierarchy.categories):
        raise ValueError(
            f"The hierarchy has the categories {', '.join(tree.categories)}, but {plain.name!r} "
            f"was trained on {', '.join(parts.hierarchy.categories)}. Give the same ones."
        )
    if not isinstance(images, np.ndarray):
        images = keras.ops.convert_to_numpy(images)
    shape, least = images.shape, 2 * len(tree.categories)
    wanted = plain.input_shape[1:]
    fits = len(shape) == 4 and all(b in (None, a) for a, b in zip(shape[1:], wanted, strict=True))
    if not fits or shape[0] < least:
        raise ValueError(
            f"images must be an array (n, height, width, channels) of {least} images or more, 2 "
            f"per category, of the shape {wanted}; got an array of the shape {shape}."
        )
    odd = [i for i, image in enumerate(images) if not np.isfinite(image).all()]
    if odd:
        raise ValueError(
            f"{len(odd)} of the {len(images)} images have NaN or infinite values, the first one is "
            f"images[{odd[0]}]. Leave them out."
        )
    if (images == images[0]).all():
        raise ValueError("All images are the same. Give different ones of every category.")
    return images


class _Channels:
    """Channels that several layers share, because they are added or filtered one by one.

    Args:
        count: their number.
        chosen: which channels of the plain network they are, once that is known.
    """

    def __init__(self, count: int, chosen: Sequence[int] | None = None):
        self.count, self.chosen = count, chosen
        self.importance: np.ndarray | float = 0.0
        self._same: _Channels | None = None

    def root(self) -> "_Channels":
        return self if self._same is None else self._same.root()

    def join(self, other: "_Channels") -> "_Channels":
        """Makes both the same channels."""
        a, b = self.root(), other.root()
        if a is b:
            return a
        if a.chosen is None:
            a, b = b, a
        a.importance = a.importance + b.importance
        b._same = a
        return a

    def choose(self) -> Sequence[int]:
        """The channels that matter most, in their order."""
        if self.chosen is None:
            ranks = np.argsort(-np.asarray(self.importance), kind="stable")
            self.chosen = sorted(ranks[: self.count].tolist())
        return self.chosen


_Chosen = Mapping[str, tuple[Sequence[int], Sequence[int]]]


def _choose(
    branch: keras.Model,
    logit: str,
    twins: Mapping[str, keras.layers.Layer],
    importance: Mapping[str, np.ndarray],
    channels: Sequence[int],
) -> tuple[_Chosen, Sequence[int]]:
    """Chooses the channels of a branch.

    Args:
        branch: the branch.
        logit: name of the layer that gives its logit, if it has one.
        twins: layer of the branch -> layer of the plain network.
        importance: layer of the plain network -> what its channels matter.
        channels: which channels of the plain network the branch gets as features.

    Returns:
        Layer of the branch -> which channels of its twin go in and out; and those of the branch.
    """
    filled: dict[str, tuple[_Channels, _Channels]] = {}

    def call(layer, *args, **kwargs):
        first, *others = keras.tree.flatten(args)
        if layer.name == logit:
            return first
        out = first
        for other in others:
            out = out.join(other)
        if isinstance(layer, _MIXING):
            out = _Channels(layer.output.shape[-1])
        if layer.weights:
            filled[layer.name] = first, out
        if (twin := twins.get(layer.name)) is not None and twin.name in importance:
            out.root().importance = out.root().importance + importance[twin.name]
        return out

    end = replay(branch, _Channels(len(channels), channels), call).root()
    chosen = {
        name: (first.root().choose(), out.root().choose()) for name, (first, out) in filled.items()
    }
    return chosen, end.choose()


def _fill(
    branch: keras.Model,
    logit: str,
    twins: Mapping[str, keras.layers.Layer],
    chosen: _Chosen,
    features: np.ndarray,
    tail: Tail,
) -> np.ndarray:
    """Gives the layers of a branch their weights, in turn.

    Returns:
        What the logit gets; without one, what the branch gives.
    """

    def call(layer, *args, **kwargs):
        if layer.name == logit:
            return args[0]
        if layer.weights:
            twin, (inputs, outputs) = twins[layer.name], chosen[layer.name]
            layer.set_weights([_part(w, layer, inputs, outputs) for w in twin.get_weights()])
            if is_1x1(layer):
                x = keras.ops.convert_to_numpy(args[0])
                _fit(layer, x, tail.outputs[twin.name][..., outputs])
            elif isinstance(layer, layers.BatchNormalization):
                x = keras.ops.convert_to_numpy(args[0])
                _match(layer, x, *(each[outputs] for each in tail.moments[twin.name]))
        return layer(*args, **kwargs)

    end = replay(branch, keras.ops.convert_to_tensor(features), call)
    return keras.ops.convert_to_numpy(end)


def _part(weight: np.ndarray, layer: keras.layers.Layer, inputs, outputs) -> np.ndarray:
    """The part of a weight between some channels."""
    if isinstance(layer, layers.DepthwiseConv2D):
        return np.take(weight, outputs, axis=min(2, weight.ndim - 1))
    weight = np.take(weight, outputs, axis=-1)
    return np.take(weight, inputs, axis=-2) if weight.ndim > 1 else weight


def _fit(layer: keras.layers.Conv2D, inputs: np.ndarray, outputs: np.ndarray) -> None:
    """Fits a 1x1 convolution, with as little change as is needed.

    What it should add to all positions is left to the normalization.
    """
    rows, columns = layer.strides
    x = inputs[:, ::rows, ::columns].reshape(-1, inputs.shape[-1])
    before = keras.ops.convert_to_numpy(layer.kernel)[0, 0]
    change, _ = _least_squares(x, outputs.reshape(-1, outputs.shape[-1]) - x @ before, _RIDGE)
    layer.kernel.assign((before + change)[None, None])


def _match(
    layer: keras.layers.BatchNormalization, inputs: np.ndarray, mean: np.ndarray, std: np.ndarray
) -> None:
    """Makes a normalization give the mean and deviation that it gave before, also in training.

    Args:
        layer: with the scale, offset and statistics that it had before.
        inputs: what it gets now, `(images, height, width, channels)`.
        mean: of what it got before.
        std: deviation of what it got before.
    """
    gamma, beta, moving_mean, moving_variance = layer.get_weights()
    scale = gamma / np.sqrt(moving_variance + layer.epsilon)
    beta = beta + scale * (mean - moving_mean)
    new_mean, new_std = moments(inputs)
    made = new_std / np.sqrt(new_std**2 + layer.epsilon)  # the deviation of a scale of 1
    gamma = scale * std / np.where(made > 0, made, 1)
    layer.set_weights([gamma, beta, new_mean, new_std**2])


def _least_squares(
    inputs: np.ndarray, outputs: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `(inputs, outputs)` and offset of ridge regression, `(n, ...)` to `(n, ...)`."""
    center, offset = inputs.mean(0, dtype="float64"), outputs.mean(0, dtype="float64")
    x = inputs - center
    gram = x.T @ x
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    kernel = np.linalg.solve(gram, x.T @ (outputs - offset))
    return kernel, offset - center @ kernel
