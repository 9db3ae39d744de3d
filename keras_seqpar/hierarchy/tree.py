"""The hierarchy of a SeqPar network: an ordered tree of superclasses and categories.

A category is a leaf: one final branch, one logit. A superclass is an inner node: a
branch without a logit, shared by its categories. A flat hierarchy (depth 1) describes
a PHL network, a hierarchy of depth k a network with k split-points (NkHL), in the words
of Kelm et al., arXiv 2308.05128, section 3.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from keras_seqpar.hierarchy.nodes import (
    Node,
    named_twice,
    paths,
    read_nodes,
    refuse_set,
    told_apart,
    unique_ids,
    with_ids,
)
from keras_seqpar.utils.names import distinct_ids, same_form, unknown_name
from keras_seqpar.utils.output import printable

__all__ = ["Hierarchy", "Node"]


class Hierarchy:
    """An immutable, validated tree of superclasses and categories.

    Every node has a label, which users see, and an id, which layers are named after. Ids are made
    from the labels; two labels that would get the same id, such as "C3" and "3", get different
    ones.

    Args:
        roots: the nodes directly under the trunk.
        categories: ids of all leaves in the order of the logits; by default the order
            in which the tree names them.

    Raises:
        ValueError: the tree is empty, two nodes have the same label, or two have the same id.

    Example:

    >>> tree = Hierarchy.of({"pets": ["cat", "dog"], "car": None})
    >>> tree.depth, tree.categories
    (2, ('cat', 'dog', 'car'))
    """

    def __init__(self, roots: Sequence[Node], categories: Sequence[str] | None = None):
        self.roots = tuple(roots) if categories is not None else told_apart(roots)
        self.nodes = tuple(node for root in self.roots for node in root.walk())
        if not self.nodes:
            raise ValueError("A hierarchy needs at least one category, got none.")
        self._by_id = unique_ids(self.nodes)
        self._by_label: dict[str, list[Node]] = {}
        for node in self.nodes:
            self._by_label.setdefault(node.label, []).append(node)
        self._paths = {path[-1].id: path for root in self.roots for path in paths(root, ())}
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
        return source if isinstance(source, Hierarchy) else cls(read_nodes(source, ()))

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
            name: a label, or else an id. Labels are compared in Unicode NFC and without the spaces
                around them.

        Returns:
            The node.

        Raises:
            ValueError: no node has that name (the message lists the valid ones), or several
                nodes have that label.
        """
        same = self._by_label.get(same_form(name), []) if isinstance(name, str) else []
        if len(same) == 1:
            return same[0]
        if isinstance(name, str) and name in self._by_id:
            return self._by_id[name]
        if same:
            raise ValueError(
                f"The label {name!r} means several nodes. Choose an id: "
                f"{', '.join(node.id for node in same)}."
            )
        labels = [node.label for node in self.nodes]
        raise ValueError(unknown_name("category or superclass", name, labels))

    def node(self, id_: str) -> Node:
        """The node of an id.

        Raises:
            KeyError: no node has it.
        """
        return self._by_id[id_]

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
        return self.subtree(self.select(names))

    def subtree(self, category_ids: Sequence[str]) -> "Hierarchy":
        """Keeps only categories of which the ids are given, and the superclasses above them.

        Args:
            category_ids: ids of categories, as `select` returns them.

        Returns:
            A new hierarchy, categories in the order given.
        """
        chosen = tuple(category_ids)

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
        new = Node(label, id=distinct_ids([label], self._by_id)[0])
        if new.label in self._by_label:
            raise ValueError(named_twice([self._by_label[new.label][0], new]))
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
        other = other.renamed(self.new_ids(other))

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

    def new_ids(self, other: "Hierarchy") -> dict[str, str]:
        """The ids that the nodes of another hierarchy get when it is merged into this one.

        They stay, except where this one has the node under another id, or uses the id for a
        category of another label.

        Args:
            other: the other hierarchy.

        Returns:
            Id in `other` -> id in the merged hierarchy.
        """
        new: dict[str, str] = {}
        for node in other.nodes:
            id_, twin = node.id, self._by_id.get(node.id)
            if same := self._by_label.get(node.label):
                id_ = id_ if twin in same else same[0].id
            elif twin and (twin.is_category or node.is_category):
                taken = (*self._by_id, *other._by_id, *new.values())
                id_ = distinct_ids([node.label], taken)[0]
            new[node.id] = id_
        return new

    def renamed(self, ids: Mapping[str, str]) -> "Hierarchy":
        """The same tree with other ids.

        Args:
            ids: id of a node -> its new id; other nodes keep theirs.

        Returns:
            A new hierarchy.

        Raises:
            ValueError: two nodes would have the same id, or an id has another form.
        """
        roots = [with_ids(root, lambda node: ids.get(node.id, node.id)) for root in self.roots]
        return Hierarchy(roots, [ids.get(id_, id_) for id_ in self.category_ids])

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
        return printable("\n".join(lines))


def _as_names(names, what: str) -> list:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(
            f"{what} must be a sequence of names, got {names!r}. "
            + (f"Write [{names!r}] for one." if isinstance(names, str) else "")
        )
    refuse_set(names)
    return list(names)
