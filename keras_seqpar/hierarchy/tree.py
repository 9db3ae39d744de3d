"""The hierarchy of a SeqPar network: an ordered tree of superclasses and categories.

A category is a leaf: one final branch, one logit. A superclass is an inner node: a
branch without a logit, shared by its categories. A flat hierarchy (depth 1) describes
a PHL network, a hierarchy of depth k a network with k split-points (NkHL), in the words
of Kelm et al., arXiv 2308.05128, section 3.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from keras_seqpar.utils.names import make_id, unknown_name


@dataclasses.dataclass(frozen=True)
class Node:
    """One node of a hierarchy.

    Args:
        label: free text, shown to users.
        children: the nodes below; empty for a category.
        id: the name used for layers, `[a-z][a-z0-9_]*`; made from the label when not given.

    Raises:
        TypeError: the label is no string.
        ValueError: the id has another form, or the label cannot become an id.
    """

    label: str
    children: tuple["Node", ...] = ()
    id: str = ""

    def __post_init__(self):
        if not self.id or not isinstance(self.label, str):
            object.__setattr__(self, "id", make_id(self.label))
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


class Hierarchy:
    """An immutable, validated tree of superclasses and categories.

    Args:
        roots: the nodes directly under the trunk.
        categories: ids of all leaves in the order of the logits; by default the order
            in which the tree names them.

    Raises:
        ValueError: the tree is empty, or two nodes have the same id.

    Example:

    >>> tree = Hierarchy.of({"pets": ["cat", "dog"], "car": None})
    >>> tree.depth, tree.categories
    (2, ('cat', 'dog', 'car'))
    """

    def __init__(self, roots: Sequence[Node], categories: Sequence[str] | None = None):
        self.roots = tuple(roots)
        self.nodes = tuple(node for root in self.roots for node in root.walk())
        if not self.nodes:
            raise ValueError("A hierarchy needs at least one category, got none.")
        self._by_id = _unique_ids(self.nodes)
        self._by_name = {**{node.label: node for node in self.nodes}, **self._by_id}
        self._paths = {path[-1].id: path for root in self.roots for path in _paths(root, ())}
        leaves = [node.id for node in self.nodes if node.is_category]
        self.category_ids = tuple(leaves if categories is None else categories)
        if sorted(self.category_ids) != sorted(leaves):
            raise ValueError(
                f"The category order {list(self.category_ids)} is no reordering of the tree's "
                f"leaves {leaves}."
            )
        if len(leaves) == len(self.nodes):  # flat: the order is the tree's
            self.roots = self.nodes = tuple(self._by_id[id_] for id_ in self.category_ids)

    @classmethod
    def of(cls, source) -> "Hierarchy":
        """Makes a hierarchy from plain Python data.

        Args:
            source: a `Hierarchy` (returned as it is), a sequence of labels (flat), or a
                mapping from superclass labels to their children: a sequence, another
                mapping, or `None` for a category beside superclasses. A sequence may hold
                labels and mappings.

        Returns:
            The hierarchy, categories in the order of `source`.

        Raises:
            TypeError: something else was given.
            ValueError: there is no category, a name is repeated, a superclass has no children,
                or the tree contains itself.

        Example:

        >>> print(Hierarchy.of({"pets": ["cat", "dog"], "car": None}))
        2 split-points, 3 categories
        ├── pets
        │   ├── cat
        │   └── dog
        └── car
        """
        return source if isinstance(source, Hierarchy) else cls(_read(source, ()))

    @property
    def categories(self) -> tuple[str, ...]:
        """Labels of the categories, in the order of the logits."""
        return tuple(self._by_id[id_].label for id_ in self.category_ids)

    @property
    def superclasses(self) -> tuple[Node, ...]:
        """The inner nodes, parents first."""
        return tuple(node for node in self.nodes if not node.is_category)

    @property
    def depth(self) -> int:
        """The number of split-points on the longest way down: 1 for a flat hierarchy."""
        return max(map(len, self._paths.values()))

    def level(self, node: Node) -> int:
        """The depth of a node: 1 directly under the trunk."""
        return len(self._paths[node.id])

    def path(self, node: Node) -> tuple[Node, ...]:
        """The nodes from below the trunk down to `node`, itself included."""
        return self._paths[node.id]

    def find(self, name: str) -> Node:
        """Looks up a node by label or id.

        Args:
            name: a label or an id.

        Returns:
            The node.

        Raises:
            ValueError: no node has that name (the message lists the valid ones), or several
                nodes have that label.
        """
        if not isinstance(name, str) or name not in self._by_name:
            labels = [node.label for node in self.nodes]
            raise ValueError(unknown_name("category or superclass", name, labels))
        same = [node.id for node in self.nodes if node.label == name]
        if len(same) > 1 and name not in self._by_id:
            raise ValueError(
                f"The label {name!r} means several nodes. Choose an id: {', '.join(same)}."
            )
        return self._by_name[name]

    def select(self, names: Sequence[str]) -> tuple[str, ...]:
        """Resolves names to category ids, in the order given.

        Args:
            names: labels or ids of categories; a superclass stands for its categories.

        Returns:
            Ids of the categories.

        Raises:
            TypeError: a string or something that cannot be iterated was given.
            ValueError: there is no name, one is unknown, or a category is named twice.
        """
        names = _as_names(names, "categories")
        chosen: list[str] = []
        for name in names:
            node = self.find(name)
            below = {n.id for n in node.walk()}
            for id_ in (i for i in self.category_ids if i in below):
                if id_ in chosen:
                    raise ValueError(
                        f"The category {self._by_id[id_].label!r} is chosen twice (last by "
                        f"{name!r}). Name each category once."
                    )
                chosen.append(id_)
        if not chosen:
            raise ValueError(f"Choose at least one category. Valid: {', '.join(self.categories)}.")
        return tuple(chosen)

    def prune(self, names: Sequence[str]) -> "Hierarchy":
        """Keeps only the categories that are named, and the superclasses above them.

        Args:
            names: as for `select`.

        Returns:
            A new hierarchy, categories in the order given.
        """
        chosen = self.select(names)

        def keep(node: Node) -> Node | None:
            if node.is_category:
                return node if node.id in chosen else None
            children = tuple(kept for child in node.children if (kept := keep(child)))
            return dataclasses.replace(node, children=children) if children else None

        return Hierarchy([kept for root in self.roots if (kept := keep(root))], chosen)

    def add(self, label: str, parent: str | None = None) -> "Hierarchy":
        """Adds a category, last in the order of the logits.

        Args:
            label: the new category.
            parent: label or id of the superclass to put it under; `None` puts it directly
                under the trunk.

        Returns:
            A new hierarchy.

        Raises:
            ValueError: the name is taken, or the parent is unknown or a category.
        """
        new = Node(label)
        order = (*self.category_ids, new.id)
        if parent is None:
            return Hierarchy([*self.roots, new], order)
        above = self.find(parent)
        if above.is_category:
            raise ValueError(
                f"{above.label!r} is a category and cannot hold {label!r}. Superclasses: "
                f"{', '.join(node.label for node in self.superclasses) or 'none'}."
            )

        def grow(node: Node) -> Node:
            children = tuple(map(grow, node.children)) + ((new,) if node.id == above.id else ())
            return dataclasses.replace(node, children=children)

        return Hierarchy([grow(root) for root in self.roots], order)

    def merge(self, other: "Hierarchy") -> "Hierarchy":
        """Joins two hierarchies; a superclass of both gets the children of both.

        Args:
            other: its categories come after this one's.

        Returns:
            A new hierarchy.

        Raises:
            ValueError: both have a category of the same name, or a name is a category in one
                and a superclass in the other.
        """

        def join(ours: Sequence[Node], theirs: Sequence[Node]) -> tuple[Node, ...]:
            by_id = {node.id: node for node in theirs}
            joined = []
            for node in ours:
                twin = by_id.pop(node.id, None)
                if twin and not node.is_category and not twin.is_category:
                    node = dataclasses.replace(node, children=join(node.children, twin.children))
                elif twin:
                    joined.append(twin)  # refused below, by name
                joined.append(node)
            return (*joined, *by_id.values())

        order = (*self.category_ids, *other.category_ids)
        return Hierarchy(join(self.roots, other.roots), order)

    def get_config(self) -> dict:
        """Returns the hierarchy as JSON-ready data for `from_config`."""

        def config(node: Node) -> dict:
            children = [config(child) for child in node.children]
            return {
                "id": node.id,
                "label": node.label,
                **({"children": children} if children else {}),
            }

        return {
            "tree": [config(root) for root in self.roots],
            "categories": list(self.category_ids),
        }

    @classmethod
    def from_config(cls, config: Mapping) -> "Hierarchy":
        """Rebuilds a hierarchy from `get_config`'s data."""

        def node(item: Mapping) -> Node:
            return Node(item["label"], tuple(map(node, item.get("children", ()))), item["id"])

        return cls([node(item) for item in config["tree"]], config["categories"])

    def __eq__(self, other) -> bool:
        return isinstance(other, Hierarchy) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.roots, self.category_ids))

    def __repr__(self) -> str:
        return f"<Hierarchy: depth {self.depth}, categories {', '.join(self.categories)}>"

    def __str__(self) -> str:
        points = "1 split-point" if self.depth == 1 else f"{self.depth} split-points"
        leaves = len(self.category_ids)
        lines = [f"{points}, {leaves} categor{'y' if leaves == 1 else 'ies'}"]

        def draw(nodes: tuple[Node, ...], indent: str) -> None:
            for node in nodes:
                last = node is nodes[-1]
                lines.append(f"{indent}{'└── ' if last else '├── '}{node.label}")
                draw(node.children, indent + ("    " if last else "│   "))

        draw(self.roots, "")
        return "\n".join(lines)


def _unique_ids(nodes: Sequence[Node]) -> dict[str, Node]:
    by_id: dict[str, Node] = {}
    for node in nodes:
        if node.id not in by_id:
            by_id[node.id] = node
            continue
        other = by_id[node.id]
        if other.label == node.label:
            kinds = {other.is_category, node.is_category}
            what = "both a superclass and a category" if len(kinds) == 2 else "named twice"
            raise ValueError(f"{node.label!r} is {what}. Every name may be used once in a tree.")
        raise ValueError(
            f"The labels {other.label!r} and {node.label!r} both become the id {node.id!r}. "
            "Rename one of them."
        )
    return by_id


def _paths(node: Node, above: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    path = (*above, node)
    yield path
    for child in node.children:
        yield from _paths(child, path)


def _as_names(names, what: str) -> list:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(
            f"{what} must be a sequence of names, got {names!r}. "
            + (f"Write [{names!r}] for one." if isinstance(names, str) else "")
        )
    _refuse_set(names)
    return list(names)


def _refuse_set(names) -> None:
    if isinstance(names, (set, frozenset)):
        raise TypeError(f"A set has no order, but the logits have: give a list, got {names!r}.")


def _read(source, above: tuple[int, ...]) -> list[Node]:
    """Reads a list or mapping into nodes; `above` holds the containers on the way down."""
    if id(source) in above:  # a YAML anchor or a Python reference can do that
        raise ValueError("The hierarchy contains itself: a superclass is its own descendant.")
    above = (*above, id(source))
    _refuse_set(source)
    if isinstance(source, Mapping):
        return [
            Node(label) if below is None else Node(label, _children(label, below, above))
            for label, below in source.items()
        ]
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes)):
        nodes = []
        for item in source:
            nodes.extend(_read(item, above) if isinstance(item, Mapping) else [Node(item)])
        return nodes
    raise TypeError(
        "A hierarchy is a list of labels or a mapping from superclasses to what is below them, "
        f"got {source!r} of type {type(source).__name__}."
    )


def _children(label: str, below, above: tuple[int, ...]) -> tuple[Node, ...]:
    children = tuple(_read(below, above))
    if not children:
        raise ValueError(
            f"The superclass {label!r} has no children. Give it categories, or None to make it "
            "a category itself."
        )
    return children
