"""What must hold for hierarchies of any source."""

import json

from keras_seqpar.hierarchy.tree import Hierarchy


def check(hierarchy: Hierarchy, labels, depth: int = 4) -> None:
    """What must hold for every hierarchy that a source makes of `labels`."""
    assert hierarchy.categories == tuple(labels)
    assert 1 <= hierarchy.depth <= depth
    ids = [node.id for node in hierarchy.nodes]
    assert len(ids) == len(set(ids)) == len({node.label for node in hierarchy.nodes})
    assert all(len(node.children) != 1 for node in hierarchy.superclasses)
    assert len(hierarchy.roots) > 1 or hierarchy.depth == 1
    assert Hierarchy.from_config(json.loads(json.dumps(hierarchy.get_config()))) == hierarchy
    kept = labels[::-2]
    assert hierarchy.prune(kept).categories == tuple(kept)


def groups(hierarchy: Hierarchy) -> set[frozenset[str]]:
    """The categories below each superclass."""
    return {
        frozenset(n.label for n in node.walk() if n.is_category) for node in hierarchy.superclasses
    }
