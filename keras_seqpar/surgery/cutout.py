"""Cutouts: the same network with only chosen categories, and the parts it is made of.

And the ways back: a network grows by a category (`add_category`) or by another network's
branches (`merge`). Nothing here changes the network it is given.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_seqpar.families.base import Initializers
from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.networks.assembly import assemble, make_scores
from keras_seqpar.networks.graph import leaf_layers, replay
from keras_seqpar.networks.layers import CategoryScores
from keras_seqpar.networks.thresholds import Threshold
from keras_seqpar.weights import copy_weights, named_weights

SAME = "same"  # keep the source's classifier activation


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a SeqPar network is made of.

    Args:
        trunk: the sub-model before the first split-point.
        branches: node id -> sub-model, in `hierarchy.nodes` order; empty for a plain network.
        hierarchy: the hierarchy.
        classifier_activation: the activation over the logits.
        threshold: where "none of these" begins, if the network stores it.
    """

    trunk: keras.Model
    branches: Mapping[str, keras.Model]
    hierarchy: Hierarchy
    classifier_activation: str | None
    threshold: Threshold | None = None


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
    return Parts(
        layers["trunk"],
        branches,
        scores.hierarchy,
        scores.classifier_activation,
        scores.threshold,
    )


def rebuild(
    parts: Parts,
    *,
    hierarchy: Hierarchy | None = None,
    branches: Mapping[str, keras.Model] | None = None,
    classifier_activation: str | None = SAME,
    name: str,
) -> keras.Model:
    """Assembles parts again, with some of them replaced; weights are shared.

    A stored threshold is kept only where all logits stay what they were: it was fitted on them.
    """
    activation = classifier_activation
    tree = parts.hierarchy if hierarchy is None else hierarchy
    same = branches is None and sorted(tree.category_ids) == sorted(parts.hierarchy.category_ids)
    return assemble(
        parts.trunk,
        parts.branches if branches is None else branches,
        tree,
        parts.classifier_activation if activation == SAME else activation,
        threshold=parts.threshold if same else None,
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
    result is not compiled. A threshold for "none of these" (`with_threshold`) was fitted on all
    logits of the source, so a cutout with fewer of them has none: fit it anew.

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
    return with_scores(model, classifier_activation, find_parts(model, allow_plain=True).threshold)


def with_scores(
    model: keras.Model, classifier_activation: str | None, threshold: Threshold | None
) -> keras.Model:
    """The same network, plain ones included, with another layer `categories`."""
    parts = find_parts(model, allow_plain=True)
    if parts.branches:
        changed = dataclasses.replace(
            parts, classifier_activation=classifier_activation, threshold=threshold
        )
        return rebuild(changed, name=model.name)
    scores = make_scores(parts.hierarchy, classifier_activation, threshold)
    return keras.Model(model.inputs[0], scores(model.layers[-1].input), name=model.name)


def add_category(
    model: keras.Model,
    category: str,
    *,
    parent: str | None = None,
    like: str | None = None,
    freeze_others: bool = False,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Plugs a new, freshly initialized branch into a network; all other logits stay the same.

    Args:
        model: a SeqPar network.
        category: label of the new category; its logit comes last.
        parent: the superclass to put it under; by default directly under the trunk.
        like: the category whose branch the new one is built like; by default the first one
            that hangs at the same level.
        freeze_others: make every other layer non-trainable, so that training touches the
            new branch alone. The layers are shared, so this freezes them in `model` too.
        seed: makes the initial weights repeatable: they equal those of a network built with
            this seed and category.
        name: name of the new model.

    Returns:
        A network with one category more, which shares all other weights with `model`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: no SeqPar network, a name that is taken, an unknown parent or model
            branch, or no category at that level to build like.

    Example:

    >>> bigger = add_category(model, "bus", freeze_others=True)
    >>> bigger.compile("adam", "categorical_crossentropy")
    """
    parts = find_parts(model)
    hierarchy = parts.hierarchy.add(category, parent)
    node = hierarchy.find(category)
    twin = _twin(parts.hierarchy, hierarchy.level(node), like)
    if freeze_others:
        for part in (parts.trunk, *parts.branches.values()):
            part.trainable = False
    branch = _new_branch(parts.branches[twin.id], twin.id, node.id, Initializers(seed))
    branches = {**parts.branches, node.id: branch}
    return rebuild(parts, hierarchy=hierarchy, branches=branches, name=name or model.name)


def merge(model_a: keras.Model, model_b: keras.Model, *, name: str | None = None) -> keras.Model:
    """Joins the branches of two networks that grew on the same trunk.

    Args:
        model_a: a SeqPar network; its categories come first and its activation is kept.
        model_b: another with an equal trunk; superclasses that both have must be equal too.
        name: name of the new model.

    Returns:
        A network with the categories of both. Trunk and common superclasses are
        `model_a`'s, the other branches are shared with the networks they come from.

    Raises:
        TypeError: one is no Keras model.
        ValueError: one is no SeqPar network, the trunks or common superclass branches
            differ, or both have a category of the same name.

    Example:

    >>> both = merge(pets_net, vehicles_net)
    """
    a, b = find_parts(model_a), find_parts(model_b)
    if len(model_a.inputs) != len(model_b.inputs):
        raise ValueError("One of the networks has a gains input, the other has none.")
    hierarchy = a.hierarchy.merge(b.hierarchy)
    _same_weights("trunks", a.trunk, b.trunk)
    for id_ in [id_ for id_ in b.branches if id_ in a.branches]:
        _same_weights(f"branches of {id_!r}", a.branches[id_], b.branches[id_])
    return rebuild(
        a, hierarchy=hierarchy, branches={**b.branches, **a.branches}, name=name or model_a.name
    )


def _with_own_weights(model: keras.Model) -> keras.Model:
    clone = keras.models.clone_model(model)  # re-initializes every layer
    copy_weights(model, clone)
    return clone


def _twin(hierarchy: Hierarchy, level: int, like: str | None) -> Node:
    """The category whose branch a new one at this level is built like."""
    at_level = [n for n in hierarchy.nodes if n.is_category and hierarchy.level(n) == level]
    if like is not None and (twin := hierarchy.find(like)) in at_level:
        return twin
    if like is None and at_level:
        return at_level[0]
    names = ", ".join(node.label for node in at_level) or "none"
    raise ValueError(
        f"The new category hangs at level {level}, so it must be built like a category there. "
        f"Categories at that level: {names}. Choose another parent{' or like' if like else ''}."
    )


def _new_branch(twin: keras.Model, old: str, new: str, init: Initializers) -> keras.Model:
    """A branch built like `twin`, with names and initial weights of its own."""

    def renamed(name: str) -> str:
        return new + name.removeprefix(old)

    def call(layer, *args, **kwargs):
        config = layer.get_config()
        config.update(name=renamed(layer.name), trainable=True)
        if "gain" in config:
            config["gain"] = 1.0
        for item in (config, *(v["config"] for v in config.values() if _is_initializer(v))):
            if "seed" in item:
                item["seed"] = init.seed_of(config["name"])
        return type(layer).from_config(config)(*args, **kwargs)

    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=renamed(x.name)) for x in twin.inputs]
    inputs = inputs if len(inputs) > 1 else inputs[0]
    return keras.Model(inputs, replay(twin, inputs, call), name=f"branch_{new}")


def _is_initializer(value) -> bool:
    return isinstance(value, dict) and isinstance(value.get("config"), dict)


def _same_weights(what: str, a: keras.Model, b: keras.Model) -> None:
    ours, theirs = named_weights(a), named_weights(b)
    differing = [key for key in {**ours, **theirs} if key not in ours or key not in theirs]
    differing += [key for key in ours if key in theirs and not _equal(ours[key], theirs[key])]
    layers = [[(x.name, type(x), *traits(x)) for x in leaf_layers(m)] for m in (a, b)]
    if layers[0] == layers[1] and not differing:
        return
    shown = ", ".join(differing[:5]) or "their layers"
    raise ValueError(
        f"The {what} differ ({shown}{', ...' if len(differing) > 5 else ''}): only networks that "
        "grew on the same one can be merged. Cut both from one net, or train with a frozen trunk."
    )


def traits(layer: keras.layers.Layer) -> list[str]:
    """What a layer does beside its weights, where two nets of this package can differ."""
    return [str(getattr(layer, key, None)) for key in ("strides", "gain", "scale", "offset")]


def _equal(a, b) -> bool:
    return a is b or np.array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
