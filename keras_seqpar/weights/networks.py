"""Filling a network from another network of this package."""

import keras
from keras import layers as kl

from keras_seqpar.networks.parts import find_parts
from keras_seqpar.weights.branches import (
    branches_of,
    common,
    copy_branches,
    names_in_branches,
)
from keras_seqpar.weights.copies import assign, fitting, named_weights
from keras_seqpar.weights.differences import (
    build_differences,
    function_differences,
    function_layers,
    refuse_difference,
)
from keras_seqpar.weights.filling import find_target
from keras_seqpar.weights.reports import Filled


def from_network(
    model: keras.Model, source: keras.Model, *, name: str | None = None, partial: bool = False
) -> Filled:
    """Fills the trunk of a network, and the branches that both have, from another network.

    The trunk is filled whole or not at all: the source must begin with the same layers, of the
    same shapes and the same function (see `copy_weights`). A branch is filled where the source
    has one of the same node id, with the same superclasses above it and the same layers. The
    classifier of a plain network is filled where both have the same categories in the same
    order. One of the two may be fused, or both: a branch of a bank is a branch, and is called as in
    a network that is not fused.

    Args:
        model: a network of this package, or its sub-model `trunk` alone.
        source: a network of this package, or a trunk.
        name: what the report calls the source; by default the source's name.
        partial: fill every layer that fits and leave the others as they are.

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        TypeError: one of the two is no Keras model.
        ValueError: the trunk does not fit (the message lists how), or, with `partial`, no layer
            fits; or one of the two is no network of this package.

    Example:

    >>> print(from_network(add_category(pets, "bus"), model))
    """
    target, given = find_target(model), find_target(source)
    have, want = named_weights(source), named_weights(model)
    trunk = named_weights(target.trunk)
    fits = fitting(source, model)
    if not partial or not fits:
        layers, first = function_layers(target.trunk), _beginning(given.trunk, target.trunk)
        refuse_difference(
            {key: value for key, value in have.items() if key.partition("/")[0] in first},
            trunk,
            f"The weights of {name or repr(source.name)} do not fit {model.name!r}.",
            builds=build_differences(source, model),
            functions=function_differences(first, layers),
        )
    alone = model is target.trunk or source is given.trunk
    ours, theirs = (None if alone else find_parts(x, allow_plain=True) for x in (model, source))
    if ours is None or theirs is None or (partial and not (ours.banks or theirs.banks)):
        names = fits
        assign(have, want, names)
        keys = [*have], [*want]
    else:
        names = [key for key in fits if key in trunk] if partial else [*trunk]
        same_end = [*function_layers(ours.trunk)][-1] == [*function_layers(theirs.trunk)][-1]
        mine = branches_of(ours)
        if same_end and not mine and not branches_of(theirs):
            names += _head(model, set(fits))
        assign(have, want, names)
        ids = common(ours, theirs) if same_end else []
        copy_branches(ours, theirs, ids)
        names += [f"{id_}{name}" for id_ in ids for name in mine[id_].weights]
        keys = names_in_branches(theirs, have), names_in_branches(ours, want)
    filled = set(names)
    return Filled(
        name or repr(source.name),
        tuple(names),
        kept=tuple(key for key in keys[1] if key not in filled),
        ignored=tuple(key for key in keys[0] if key not in filled),
        unfilled=tuple(key for key in trunk if key not in filled),
    )


def _beginning(source: keras.Model, wanted: keras.Model) -> dict[str, kl.Layer]:
    """The layers of a trunk up to the one that ends the wanted trunk; all if it has none."""
    layers = function_layers(source)
    last = [*function_layers(wanted)][-1]
    names = [*layers]
    return {k: layers[k] for k in names[: names.index(last) + 1]} if last in layers else layers


def _head(model: keras.Model, fits: set[str]) -> list[str]:
    """The weights behind the trunk of a plain network that can be filled: whole layers."""
    behind = [_keys(part) for part in model.layers if part.name != "trunk"]
    return [key for keys in behind if fits.issuperset(keys) for key in keys]


def _keys(part: kl.Layer) -> list[str]:
    if isinstance(part, keras.Model):
        return [*named_weights(part)]
    return [f"{part.name}/{weight.name}" for weight in part.weights]
