"""The nodes of a hierarchy: made from plain data, with distinct ids."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from keras_seqpar.utils.names import distinct_ids, make_id, same_form


@dataclasses.dataclass(frozen=True)
class Node:
    """One node of a hierarchy.

    Args:
        label: free text, shown to users; kept in Unicode NFC, without spaces around it.
        children: the nodes below; empty for a category.
        id: the name used for layers, `[a-z][a-z0-9_]*`; made from the label when not given.

    Raises:
        TypeError: the label is no string.
        ValueError: the id has another form, or the text can be no label (it is empty, or has a
            line break or another character that cannot be shown).

    Example:

    >>> Node("French horn").id
    'french_horn'
    """

    label: str
    children: tuple["Node", ...] = ()
    id: str = ""

    def __post_init__(self):
        if not self.id or not isinstance(self.label, str):
            object.__setattr__(self, "id", make_id(self.label))
        object.__setattr__(self, "label", same_form(self.label))
        if not re.fullmatch("[a-z][a-z0-9_]*", self.id):
            raise ValueError(
                f"The node id {self.id!r} of {self.label!r} is used in layer names: it must "
                "consist of a-z, 0-9 and underscores and begin with a letter. Leave it out to "
                "have one made from the label."
            )

    @property
    def is_category(self) -> bool:
        """Whether the node is a leaf."""
        return not self.children

    def walk(self) -> Iterator["Node"]:
        """Yields this node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


def refuse_set(names) -> None:
    """Refuses sets.

    Raises:
        TypeError: a set was given.
    """
    if isinstance(names, (set, frozenset)):
        raise TypeError(f"A set has no order, but the logits have: give a list, got {names!r}.")


def read_nodes(source, above: tuple[int, ...]) -> list[Node]:
    """Reads a list or mapping into nodes.

    Args:
        source: as for `Hierarchy.of`.
        above: the containers on the way down to it, by `id`.

    Raises:
        TypeError: something else, or a set.
        ValueError: a superclass without children, or a source that contains itself.
    """
    if id(source) in above:  # a YAML anchor or a Python reference can do that
        raise ValueError("The hierarchy contains itself: a superclass is its own descendant.")
    above = (*above, id(source))
    refuse_set(source)
    if isinstance(source, Mapping):
        return [
            Node(label) if below is None else Node(label, _children(label, below, above))
            for label, below in source.items()
        ]
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes)):
        nodes = []
        for item in source:
            nodes.extend(read_nodes(item, above) if isinstance(item, Mapping) else [Node(item)])
        return nodes
    raise TypeError(
        "A hierarchy is a list of labels or a mapping from superclasses to what is below them, "
        f"got {source!r} of type {type(source).__name__}."
    )


def _children(label: str, below, above: tuple[int, ...]) -> tuple[Node, ...]:
    children = tuple(read_nodes(below, above))
    if not children:
        raise ValueError(
            f"The superclass {label!r} has no children. Give it categories, or None to make it "
            "a category itself."
        )
    return children


def told_apart(roots: Sequence[Node]) -> tuple[Node, ...]:
    """The same nodes, with distinct ids where different labels would get the same one."""
    nodes = [node for root in roots for node in root.walk()]
    if len({node.id for node in nodes}) == len(nodes):
        return tuple(roots)
    made = [node.label for node in nodes if node.id == make_id(node.label)]
    given = {node.id for node in nodes} - {make_id(label) for label in made}
    ids = dict(zip(made, distinct_ids(made, given), strict=True))
    return tuple(
        with_ids(root, lambda node: ids[node.label] if node.label in ids else node.id)
        for root in roots
    )


def with_ids(node: Node, id_of: Callable[[Node], str]) -> Node:
    """The node and all below it, with other ids."""
    children = tuple(with_ids(child, id_of) for child in node.children)
    return dataclasses.replace(node, id=id_of(node), children=children)


def unique_ids(nodes: Sequence[Node]) -> dict[str, Node]:
    """The nodes by id.

    Raises:
        ValueError: two have the same id.
    """
    by_id: dict[str, Node] = {}
    for node in nodes:
        if node.id not in by_id:
            by_id[node.id] = node
            continue
        other = by_id[node.id]
        if other.label == node.label:
            raise ValueError(named_twice([other, node]))
        raise ValueError(
            f"The nodes {other.label!r} and {node.label!r} have the same id {node.id!r}. Give one "
            "of them another id, or leave the ids out to have them made from the labels."
        )
    return by_id


def named_twice(nodes: Sequence[Node]) -> str:
    """The message for two nodes of the same name."""
    kinds = {node.is_category for node in nodes}
    what = "both a superclass and a category" if len(kinds) == 2 else "named twice"
    return f"{nodes[0].label!r} is {what}. Every name may be used once in a tree."


def paths(node: Node, above: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """Yields, for a node and all below it, the nodes from the trunk down to it."""
    path = (*above, node)
    yield path
    for child in node.children:
        yield from paths(child, path)
