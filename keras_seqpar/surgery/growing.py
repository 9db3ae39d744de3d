"""Growing a network by a new category, or by the branches of another network.

Nothing here changes the network it is given.
"""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_seqpar.families.base import Initializers
from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.networks.bank.joining import feeder, parent_ids
from keras_seqpar.networks.bank.layers import TEMPLATE, Bank
from keras_seqpar.networks.bank.templates import clone_branch, kind_of, template_of
from keras_seqpar.networks.build_config import MERGED, BuildConfig
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.parts import find_parts, rebuild
from keras_seqpar.networks.quantized import refuse_quantized
from keras_seqpar.surgery.cutout import with_own_weights
from keras_seqpar.weights.copies import named_weights
from keras_seqpar.weights.differences import function_differences, function_layers


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
    """Adds a branch with initial weights to a network; all other logits stay the same.

    Args:
        model: a SeqPar network, fused or not.
        category: label of the new category; its logit comes last.
        parent: the superclass to put it under; by default directly under the trunk.
        like: the category whose branch the new one is built like; by default the first one
            that hangs at the same level.
        freeze_others: make every other layer non-trainable, so that training touches the
            new branch alone. The result then has weights of its own: Keras stores with a weight
            whether it is trained, so shared weights would be frozen in `model` too.
        seed: makes the initial weights repeatable: they equal those of a network built with
            this seed and category.
        name: name of the new model.

    Returns:
        A network with one category more. Without `freeze_others` it shares all other weights
        with `model`; but a bank that the new branch joins is a copy. With `freeze_others` the new
        branch of a fused network gets a bank of its own, and so it does under a superclass of
        another bank than the one above `like`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: no SeqPar network, one that Keras has quantized, a name that is taken, an
            unknown `parent` or `like`, or no category at that level that could be `like`.

    Example:

    >>> bigger = add_category(model, "bus", freeze_others=True)
    >>> bigger.compile("adam", "categorical_crossentropy")
    """
    parts = find_parts(model, allow_fused=True)
    refuse_quantized(model, "Add the category to the original network.")
    hierarchy = parts.hierarchy.add(category, parent)
    node = hierarchy.find(category)
    twin = _twin(parts.hierarchy, hierarchy.level(node), like)
    made: dict = {"hierarchy": hierarchy, "name": name or model.name}
    if parts.banks:
        bank = next(bank for bank in parts.banks if twin.id in bank.nodes)
        branch = _new_branch(bank.template, TEMPLATE, node.id, Initializers(seed))
        made["banks"] = _grown(parts.banks, bank, branch, node.id, hierarchy, alone=freeze_others)
    else:
        branch = _new_branch(parts.branches[twin.id], twin.id, node.id, Initializers(seed))
        made["branches"] = {**parts.branches, node.id: branch}
    grown = rebuild(parts, **made)
    if freeze_others:
        grown = with_own_weights(grown)
        own = find_parts(grown, allow_fused=True)
        old: list = [bank for bank in own.banks if node.id not in bank.nodes]
        old += [own.branches[id_] for id_ in parts.branches]
        for part in (own.trunk, *old):
            part.trainable = False
    return grown


def _grown(
    banks: Sequence[Bank],
    bank: Bank,
    branch: keras.Model,
    node: str,
    hierarchy: Hierarchy,
    *,
    alone: bool,
) -> list[Bank]:
    """Banks and a branch more: in `bank` if it is fed and trained as the branches there."""
    above: dict = parent_ids(hierarchy)
    feeding = next((one for one in banks if above[node] in one.nodes), None)
    place = feeding.nodes.index(above[node]) if feeding else None
    template = template_of(branch, node)
    same = bank.trainable and kind_of(template, TEMPLATE) == kind_of(bank.template, TEMPLATE)
    if same and not alone and feeder(bank, banks, hierarchy) is feeding:
        new = bank.grown(branch, node, place)
        return [new if one is bank else one for one in banks]
    parents = None if place is None else [place]
    name = f"bank_{1 + max(int(one.name.rpartition('_')[2]) for one in banks)}"
    return [*banks, Bank(template, [node], parents, name=name, dtype=bank.dtype_policy)]


def merge(model_a: keras.Model, model_b: keras.Model, *, name: str | None = None) -> keras.Model:
    """Joins the branches of two networks that grew on the same trunk.

    Args:
        model_a: a SeqPar network; its categories come first and its activation is kept.
        model_b: another with an equal trunk; superclasses that both have must be equal too.
        name: name of the new model.

    Returns:
        A network with the categories of both. Trunk and common superclasses are
        `model_a`'s, the other branches are shared with the networks they come from. Where
        categories of different labels have the same id ("C3" in one network, "3" in the other),
        the one of `model_b` gets another id and a copy of its branch.

    Raises:
        TypeError: one is no Keras model.
        ValueError: one is no SeqPar network, the trunks or common superclass branches
            differ, or both have a category of the same name.

    Example:

    >>> both = merge(pets, cutout(model, ["car"]))
    >>> both.output_shape
    (None, 3)
    """
    a, b = find_parts(model_a), find_parts(model_b)
    if len(model_a.inputs) != len(model_b.inputs):
        raise ValueError("One of the networks has a gains input, the other has none.")
    hierarchy, new = a.hierarchy.merge(b.hierarchy), a.hierarchy.new_ids(b.hierarchy)
    others = {new[id_]: _with_id(branch, id_, new[id_]) for id_, branch in b.branches.items()}
    _same_network("trunks", a.trunk, b.trunk)
    for id_ in [id_ for id_ in others if id_ in a.branches]:
        _same_network(f"branches of {id_!r}", a.branches[id_], others[id_])
    joined = dataclasses.replace(a, build=_joined_build(a.build, b.build))
    return rebuild(
        joined,
        hierarchy=hierarchy,
        branches={**others, **a.branches},
        name=name or model_a.name,
    )


def _joined_build(a: BuildConfig | None, b: BuildConfig | None) -> BuildConfig | None:
    """How both networks were built; where that differs, no builder makes the joined one again."""
    if a is None or b is None:
        return None
    return a if a == b else dataclasses.replace(a, builder=MERGED, plan=None, split_points=None)


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

    def initial(config: dict) -> None:
        config["trainable"] = True
        if "gain" in config:
            config["gain"] = 1.0
        for item in (config, *(v["config"] for v in config.values() if _is_initializer(v))):
            if "seed" in item:
                item["seed"] = init.seed_of(config["name"])

    return clone_branch(twin, old, new, initial)


def _with_id(branch: keras.Model, old: str, new: str) -> keras.Model:
    """A branch under another id, with a copy of its weights; itself where the id stays."""
    if old == new:
        return branch
    clone = clone_branch(branch, old, new, lambda config: None)
    for weight, value in zip(clone.weights, branch.weights, strict=True):
        weight.assign(ops.copy(value))
    return clone


def _is_initializer(value) -> bool:
    return isinstance(value, dict) and isinstance(value.get("config"), dict)


def _same_network(what: str, a: keras.Model, b: keras.Model) -> None:
    """Refuses two parts that differ in weights, in a gain, or in what a layer computes."""
    ours, theirs = named_weights(a), named_weights(b)
    differing = [key for key in {**ours, **theirs} if key not in ours or key not in theirs]
    differing += [key for key in ours if key in theirs and not _equal(ours[key], theirs[key])]
    layers = [[(x.name, type(x), getattr(x, "gain", None)) for x in leaf_layers(m)] for m in (a, b)]
    functions = function_differences(function_layers(a), function_layers(b))
    if layers[0] == layers[1] and not differing and not functions:
        return
    differing = differing or [line.partition(":")[0] for line in functions]
    shown = ", ".join(differing[:5]) or "their layers"
    raise ValueError(
        f"The {what} differ ({shown}{', ...' if len(differing) > 5 else ''}): only networks that "
        "grew on the same one can be merged. Cut both from one net, or train with a frozen trunk."
    )


def _equal(a, b) -> bool:
    return a is b or np.array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
