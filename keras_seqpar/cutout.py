"""Cutouts: the same network with only chosen categories, and the parts it is made of."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras

from keras_seqpar.builders import assemble
from keras_seqpar.hierarchy import Hierarchy
from keras_seqpar.layers import CategoryScores
from keras_seqpar.weights import copy_weights

SAME = "same"  # keep the source's classifier activation


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a SeqPar network is made of.

    Args:
        trunk: the sub-model before the first split-point.
        branches: node id -> sub-model, in `hierarchy.nodes` order; empty for a plain network.
        hierarchy: the hierarchy.
        classifier_activation: the activation over the logits.
    """

    trunk: keras.Model
    branches: Mapping[str, keras.Model]
    hierarchy: Hierarchy
    classifier_activation: str | None


def find_parts(model: keras.Model, *, allow_plain: bool = False) -> Parts:
    """Finds trunk, branches and hierarchy in a network of this package.

    Args:
        model: a network from `build_phl`, a cutout, or such a network reloaded.
        allow_plain: also accept a network from `build_plain`.

    Returns:
        The parts.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no SeqPar network.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, got {model!r} of type {type(model).__name__}.")
    scores = model.layers[-1] if model.layers else None
    if not isinstance(scores, CategoryScores):
        raise ValueError(
            f"The model {model.name!r} is no SeqPar network: it does not end in a `categories` "
            "layer. Build one with keras_seqpar.build_phl, or load a file that holds one."
        )
    layers = {layer.name: layer for layer in model.layers}
    nodes = scores.hierarchy.nodes
    branches = {n.id: layers[f"branch_{n.id}"] for n in nodes if f"branch_{n.id}" in layers}
    if len(branches) < len(nodes) and (branches or not allow_plain):
        raise ValueError(
            f"The model {model.name!r} is a plain network: its categories share all layers, so "
            "it has no branches. Build a SeqPar network with keras_seqpar.build_phl."
        )
    return Parts(layers["trunk"], branches, scores.hierarchy, scores.classifier_activation)


def rebuild(
    parts: Parts,
    *,
    hierarchy: Hierarchy | None = None,
    branches: Mapping[str, keras.Model] | None = None,
    classifier_activation: str | None = SAME,
    name: str,
) -> keras.Model:
    """Assembles parts again, with some of them replaced; weights are shared."""
    activation = classifier_activation
    return assemble(
        parts.trunk,
        parts.branches if branches is None else branches,
        parts.hierarchy if hierarchy is None else hierarchy,
        parts.classifier_activation if activation == SAME else activation,
        name=name,
    )


def cutout(
    model: keras.Model,
    categories: Sequence[str],
    *,
    classifier_activation: str | None = SAME,
    copy: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Cuts chosen categories out of a SeqPar network: same weights, no retraining.

    The logits equal the same columns of the source's logits; the scores are the activation
    over the kept logits (equation 3 of arXiv 2308.05128). The source stays as it is. The
    result is not compiled.

    Args:
        model: a SeqPar network, or a cutout of one.
        categories: labels or node ids, in the order wanted; a superclass stands for its
            categories. Superclass branches without a kept category disappear.
        classifier_activation: `"same"` as the source, or another activation; `None` for
            logits.
        copy: give the cutout weights of its own; by default both share theirs.
        name: name of the new model.

    Returns:
        A network from `(batch, height, width, channels)` to `(batch, len(categories))`.

    Raises:
        TypeError: `model` is no Keras model, or `categories` no sequence of names.
        ValueError: no SeqPar network; no category, an unknown or a repeated one.

    Example:

    >>> model = build_phl(["cat", "dog", "car"], family="resnet18", width=0.125)
    >>> cutout(model, ["car", "cat"]).output_shape
    (None, 2)
    """
    parts = find_parts(model)
    new = rebuild(
        parts,
        hierarchy=parts.hierarchy.prune(categories),
        classifier_activation=classifier_activation,
        name=name or f"{model.name}_cutout",
    )
    return _with_own_weights(new) if copy else new


def with_activation(model: keras.Model, classifier_activation: str | None) -> keras.Model:
    """The same network, plain ones included, with another activation over its logits.

    Args:
        model: a network of this package.
        classifier_activation: a Keras activation, or `None` for logits.

    Returns:
        A network that shares all weights with `model`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package.

    Example:

    >>> logits = with_activation(build_plain("resnet18", 10, width=0.125), None)
    """
    parts = find_parts(model, allow_plain=True)
    if parts.branches:
        return rebuild(parts, classifier_activation=classifier_activation, name=model.name)
    scores = CategoryScores(
        parts.hierarchy, classifier_activation, dtype="float32", name="categories"
    )
    return keras.Model(model.inputs[0], scores(model.layers[-1].input), name=model.name)


def _with_own_weights(model: keras.Model) -> keras.Model:
    clone = keras.models.clone_model(model)  # re-initialises every layer
    copy_weights(model, clone)
    return clone
