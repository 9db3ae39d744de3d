"""Networks of banks: grouping equal branches, and joining a trunk and banks to a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.bank.layers import Bank, Columns
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.graph import build_model, input_like, one_at_a_time
from keras_seqpar.networks.layers import make_scores
from keras_seqpar.networks.thresholds import Threshold


def parent_ids(hierarchy: Hierarchy) -> dict[str, str | None]:
    """Node id -> id of the superclass above it, `None` directly under the trunk."""
    return {
        **{root.id: None for root in hierarchy.roots},
        **{child.id: node.id for node in hierarchy.nodes for child in node.children},
    }


def grouped(hierarchy: Hierarchy, kinds: Mapping[str, str]) -> list[tuple[list[str], list | None]]:
    """Groups nodes whose branches are of one kind and are fed by one group, or by the trunk.

    Categories are in the order of their logits.

    Args:
        hierarchy: the hierarchy.
        kinds: node id -> anything that is the same for equal branches.

    Returns:
        For each group the ids of its nodes, and for each of them the place of its parent in its
        group; `None` where the trunk feeds them. Groups come after those that feed them.
    """
    above: dict = parent_ids(hierarchy)
    order = {id_: i for i, id_ in enumerate(hierarchy.category_ids)}
    nodes = sorted(
        hierarchy.nodes, key=lambda node: (hierarchy.level(node), order.get(node.id, -1))
    )
    groups: dict[tuple, list[str]] = {}
    group_of: dict[str | None, tuple | None] = {None: None}
    for node in nodes:
        key = group_of[above[node.id]], kinds[node.id]
        groups.setdefault(key, []).append(node.id)
        group_of[node.id] = key
    found = []
    for (feeder, _), ids in groups.items():
        places = None if feeder is None else [groups[feeder].index(above[id_]) for id_ in ids]
        found.append((ids, places))
    return found


def feeder(bank: Bank, banks: Sequence[Bank], hierarchy: Hierarchy) -> Bank | None:
    """The bank that feeds another one; `None` for the trunk."""
    above = parent_ids(hierarchy)[bank.nodes[0]]
    return next((one for one in banks if above in one.nodes), None)


@one_at_a_time
def assemble_banks(
    trunk: keras.Model,
    banks: Sequence[Bank],
    hierarchy: Hierarchy,
    classifier_activation: str | None,
    *,
    gains: bool = False,
    threshold: Threshold | None = None,
    build: BuildConfig | None,
    name: str,
) -> keras.Model:
    """Joins a trunk and banks to a network that shares their weights.

    Args:
        trunk: the trunk.
        banks: banks of all nodes, each after the one that feeds it.
        hierarchy: the hierarchy.
        classifier_activation: what to apply to the joined logits.
        gains: give the network a second input `gains`, `(batch, nodes)`.
        threshold: where "none of these" begins, if that is known.
        build: how the network was built, if that is known.
        name: name of the model.
    """
    inputs = [input_like(trunk)]
    ids = [node.id for node in hierarchy.nodes]
    if gains:
        inputs.append(keras.Input((len(ids),), name="gains"))
    features: dict[Bank | None, Any] = {None: trunk(inputs[0])}
    logits: list = []
    columns: list[str] = []
    for bank in banks:
        x, given = features[feeder(bank, banks, hierarchy)], {}
        if gains:
            order = [ids.index(id_) for id_ in bank.nodes]
            given["gains"] = Columns(order, name=f"{bank.name}_gains")(inputs[1])
        features[bank] = bank(x, **given)
        if bank.of_categories:
            logits.append(features[bank])
            columns += bank.nodes
    scores = make_scores(hierarchy, classifier_activation, threshold, build=build)
    if columns != [*hierarchy.category_ids]:
        order = [columns.index(id_) for id_ in hierarchy.category_ids]
        logits = [Columns(order, name="logits_in_order")(logits)]
    return build_model(inputs if gains else inputs[0], scores(logits), name=name)
