"""Builds a hierarchy from the superclasses above each category; all sources use it."""

from collections.abc import Sequence

from keras_seqpar.hierarchy.tree import Hierarchy, Node


def nest(labels: Sequence[str], above: Sequence[Sequence[str]]) -> Hierarchy:
    """Makes a hierarchy from the superclasses above each category.

    A superclass with a single child is left out, because nothing splits there. For the same reason
    a superclass above all categories is left out.

    Args:
        labels: the categories, in the order of the logits.
        above: for each category the labels of its superclasses, from the trunk down.

    Returns:
        The hierarchy. Its tree has superclasses in the order of their first category.

    Raises:
        ValueError: a name is used twice.

    Example:

    >>> print(nest(["cat", "car", "dog"], [["pets"], [], ["pets"]]))
    2 split-points, 3 categories
    ├── pets
    │   ├── cat
    │   └── dog
    └── car
    """
    tree: dict = {}  # superclass -> such a dictionary; (category,) -> None
    for label, superclasses in zip(labels, above, strict=True):
        below = tree
        for superclass in superclasses:
            below = below.setdefault(superclass, {})
        if (label,) in below:
            raise ValueError(f"The category {label!r} is named twice.")
        below[(label,)] = None
    roots = _nodes(tree)
    while len(roots) == 1 and roots[0].children:
        roots = roots[0].children
    made = Hierarchy(roots)
    return Hierarchy(made.roots, made.select(labels))


def check_labels(labels) -> tuple[str, ...]:
    """Returns flat labels as a tuple.

    Raises:
        TypeError: no sequence of strings.
        ValueError: there is no label, or one is nested, repeated or can be no label.
    """
    flat = Hierarchy.of(labels)
    if flat.depth > 1:
        raise ValueError("labels must be a flat list of categories, got a nested hierarchy.")
    return flat.categories


def check_levels(levels, least: int = 2, most: int = 4) -> None:
    """Checks a number of split-points.

    Raises:
        TypeError: no integer.
        ValueError: out of range.
    """
    if isinstance(levels, bool) or not isinstance(levels, int):
        raise TypeError(f"levels must be an integer, got {levels!r}.")
    if not least <= levels <= most:
        raise ValueError(f"levels is the number of split-points, {least} to {most}, got {levels}.")


def _nodes(tree: dict) -> tuple[Node, ...]:
    nodes = []
    for key, below in tree.items():
        if below is None:
            nodes.append(Node(key[0]))
            continue
        children = _nodes(below)
        nodes.append(children[0] if len(children) == 1 else Node(key, children))
    return tuple(nodes)
