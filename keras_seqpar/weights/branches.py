"""Branches that two networks have in common, of named branches or of banks."""

import dataclasses
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from keras_seqpar.networks.bank.layers import TEMPLATE
from keras_seqpar.networks.parts import Parts
from keras_seqpar.weights.differences import function_differences, function_layers, shape_of


@dataclasses.dataclass(frozen=True)
class Branch:
    """The weights of a node, wherever they are.

    Args:
        layers: what it computes: the name of a layer behind the node's id -> layer.
        weights: name behind the node's id -> variable, of a bank that of all its branches.
        row: its place in the bank; `None` outside of one.
    """

    layers: Mapping[str, keras.layers.Layer]
    weights: Mapping[str, keras.Variable]
    row: int | None = None

    @property
    def shapes(self) -> dict[str, tuple]:
        """The shape of each of its weights."""
        first = 0 if self.row is None else 1
        return {name: shape_of(weight)[first:] for name, weight in self.weights.items()}


def branches_of(parts: Parts) -> dict[str, Branch]:
    """Node id -> its branch, superclasses before what is below them; empty for a plain network."""
    found = {}
    for id_, branch in parts.branches.items():
        weights = {f"{x.name}/{w.name}": w for x in branch.layers for w in x.weights}
        found[id_] = Branch(_without(id_, function_layers(branch)), _without(id_, weights))
    for bank in parts.banks:
        layers = _without(TEMPLATE, function_layers(bank.template))
        names = [f"{layer.name}/{weight.name}" for layer, weight in bank.template_weights]
        weights = _without(TEMPLATE, dict(zip(names, bank.stacked, strict=True)))
        found |= {id_: Branch(layers, weights, row) for row, id_ in enumerate(bank.nodes)}
    return {node.id: found[node.id] for node in parts.hierarchy.nodes if node.id in found}


def names_in_branches(parts: Parts, named: Iterable[str]) -> list[str]:
    """Names of weights, those of a bank as in a network of named branches."""
    banks = {bank.name for bank in parts.banks}
    outside = [name for name in named if name.partition("/")[0] not in banks]
    inside = branches_of(parts) if banks else {}
    return [*outside, *(f"{id_}{name}" for id_, one in inside.items() for name in one.weights)]


def _without(prefix: str, named: Mapping) -> dict:
    return {name.removeprefix(prefix): value for name, value in named.items()}


def common(ours: Parts, theirs: Parts) -> list[str]:
    """Nodes with equal branches and superclasses in two networks of the same trunk.

    Returns:
        Their ids, superclasses before what is below them.
    """
    mine, given = branches_of(ours), branches_of(theirs)
    paths = [
        {n.id: [x.id for x in p.hierarchy.path(n)] for n in p.hierarchy.nodes}
        for p in (ours, theirs)
    ]
    equal: dict[tuple[int, int], bool] = {}  # the branches of two banks are compared once
    found: dict[str, None] = {}
    for id_, branch in mine.items():
        path, other = paths[0][id_], given.get(id_)
        if other is None or path != paths[1][id_] or not found.keys() >= {*path[:-1]}:
            continue
        key = id(branch.layers), id(other.layers)
        if key not in equal:
            same = branch.shapes == other.shapes
            equal[key] = same and not function_differences(other.layers, branch.layers)
        if equal[key]:
            found[id_] = None
    return [*found]


def copy_branches(ours: Parts, theirs: Parts, ids: list[str]) -> None:
    """Copies branches of the second network into the first, each bank at once."""
    mine, given = branches_of(ours), branches_of(theirs)
    pairs: dict[int, list[tuple[Branch, Branch]]] = {}
    for id_ in ids:
        pairs.setdefault(id(mine[id_].weights), []).append((mine[id_], given[id_]))
    for group in pairs.values():
        for name, target in group[0][0].weights.items():
            sources = {id(other.weights): other.weights[name] for _, other in group}
            read = {key: keras.ops.convert_to_numpy(value) for key, value in sources.items()}
            value = np.array(keras.ops.convert_to_numpy(target))
            for branch, other in group:
                new = read[id(other.weights)]
                value[() if branch.row is None else branch.row] = (
                    new if other.row is None else new[other.row]
                )
            target.assign(value)
