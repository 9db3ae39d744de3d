"""Hierarchies from the similarity of categories to a trained network, and two controls.

All three functions keep the caller's order of the labels for the logits, number superclasses by
their position in the tree ("superclass 2.1") and leave out superclasses with a single child.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from keras_seqpar.hierarchy.nesting import check_labels, check_levels, nest
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.utils.names import match_labels

METHODS = ("average", "complete", "single", "weighted", "ward")


def from_similarity(
    labels: Sequence[str],
    *,
    confusion=None,
    features=None,
    superclasses: int | None = None,
    levels: int = 2,
    method: str = "average",
) -> Hierarchy:
    """Groups categories that a network confuses, or whose features are similar.

    Hierarchical clustering (scipy.cluster.hierarchy.linkage), cut where it has the wanted number
    of superclasses. Give one of:

    - `confusion`: the distance of two categories is 1 minus the mean of two shares: the share of
      images of the one that are predicted as the other, and the reverse.
    - `features`: the distance is Euclidean, between the categories' mean features after
      subtracting the mean over all categories and scaling to length 1. It grows with the angle
      between them.

    Args:
        labels: the categories, in the order of the logits.
        confusion: array `(categories, categories)` of counts or shares, rows the true
            categories, columns the predicted ones.
        features: array `(categories, dimensions)`, the mean feature vector of each.
        superclasses: number of clusters at the first split-point; by default
            `categories ** (1 / levels)`, rounded. A cluster of one category stays a category.
        levels: number of split-points, 2 to 4. The number of nodes grows by the same ratio from
            level to level.
        method: how linkage measures the distance of clusters: "average", "complete",
            "single", "weighted" or, for features only, "ward". "ward" and "complete" give the
            most even clusters.

    Returns:
        The hierarchy.

    Raises:
        TypeError: arguments of the wrong type.
        ValueError: none or both of the arrays are given; the array has the wrong shape,
            negative or infinite values, or a category without images; or the numbers of
            superclasses and levels do not fit the number of categories.

    Example:

    >>> confusion = [[8, 0, 2, 0], [0, 9, 0, 1], [1, 0, 9, 0], [0, 2, 0, 8]]
    >>> print(from_similarity(["cat", "car", "dog", "bus"], confusion=confusion))
    2 split-points, 4 categories
    ├── superclass 1
    │   ├── cat
    │   └── dog
    └── superclass 2
        ├── car
        └── bus
    """
    labels = check_labels(labels)
    counts = superclass_counts(len(labels), superclasses, levels)
    clusters = _cut(_linkage(labels, confusion, features, method), len(labels), counts)
    return _numbered(labels, list(zip(*clusters, strict=True)))


def from_dissimilarity(
    labels: Sequence[str],
    *,
    confusion=None,
    features=None,
    hierarchy: Hierarchy | None = None,
    superclasses: int | None = None,
    levels: int = 2,
) -> Hierarchy:
    """Groups categories that are dissimilar: a control for `from_similarity`.

    The categories are sorted so that similar ones are neighbors, and then dealt to the
    superclasses in turn, so that the sizes of superclasses differ by one at most.

    Args:
        labels: the categories, in the order of the logits.
        confusion: as for `from_similarity`; categories are sorted by its clusters.
        features: as for `from_similarity`.
        hierarchy: instead of these a hierarchy of the same categories (from WordNet, for
            example); categories are sorted by its tree.
        superclasses: as for `from_similarity`.
        levels: as for `from_similarity`.

    Returns:
        The hierarchy.

    Raises:
        TypeError: arguments of the wrong type.
        ValueError: as for `from_similarity`, or `hierarchy` has other categories.

    Example:

    >>> pairs = Hierarchy.of({"pets": ["cat", "dog"], "vehicles": ["car", "bus"]})
    >>> print(from_dissimilarity(["cat", "dog", "car", "bus"], hierarchy=pairs))
    2 split-points, 4 categories
    ├── superclass 1
    │   ├── cat
    │   └── car
    └── superclass 2
        ├── dog
        └── bus
    """
    labels = check_labels(labels)
    counts = superclass_counts(len(labels), superclasses, levels)
    if hierarchy is None:
        from scipy.cluster.hierarchy import leaves_list

        order = leaves_list(_linkage(labels, confusion, features, "average")).tolist()
    else:
        order = _tree_order(labels, hierarchy, confusion, features)
    return _numbered(labels, _deal_out(order, counts))


def random_hierarchy(
    labels: Sequence[str], *, superclasses: int | None = None, levels: int = 2, seed: int
) -> Hierarchy:
    """Groups categories at random: a control for `from_similarity`.

    Args:
        labels: the categories, in the order of the logits.
        superclasses: as for `from_similarity`; their sizes differ by one at most.
        levels: as for `from_similarity`.
        seed: makes the result repeatable.

    Returns:
        The hierarchy.

    Raises:
        TypeError: arguments of the wrong type.
        ValueError: labels that are repeated or nested, or numbers of superclasses and levels
            that do not fit the number of categories.

    Example:

    >>> random_hierarchy(["cat", "dog", "car", "bus"], seed=0).depth
    2
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be an integer, got {seed!r}.")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")
    labels = check_labels(labels)
    counts = superclass_counts(len(labels), superclasses, levels)
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    return _numbered(labels, _deal_out(order, counts))


def superclass_counts(categories: int, superclasses: int | None, levels: int) -> list[int]:
    """How many superclasses each level gets.

    Args:
        categories: number of categories.
        superclasses: superclasses at the first split-point, or `None` for
            `categories ** (1 / levels)`, so that all nodes have about as many children.
        levels: number of split-points; the last one feeds the categories.

    Returns:
        `levels - 1` numbers; each is the same factor larger than the one before.

    Raises:
        TypeError: a number that is no integer.
        ValueError: the numbers do not fit each other.
    """
    check_levels(levels)
    if superclasses is None:
        superclasses = max(2, round(categories ** (1 / levels)))
    if isinstance(superclasses, bool) or not isinstance(superclasses, int):
        raise TypeError(f"superclasses must be an integer or None, got {superclasses!r}.")
    ratio = categories / superclasses if superclasses > 0 else 0
    counts = [round(superclasses * ratio ** (i / (levels - 1))) for i in range(levels)]
    if superclasses < 2 or any(a >= b for a, b in itertools.pairwise(counts)):
        raise ValueError(
            f"{categories} categories cannot be nested over {levels} split-points with "
            f"{superclasses} superclasses at the first (nodes per level: {counts}). Each level "
            "needs more nodes than the one before, and the first at least 2."
        )
    return counts[:-1]


def _linkage(labels: Sequence[str], confusion, features, method: str) -> np.ndarray:
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if (confusion is None) == (features is None):
        raise ValueError("Give either confusion or features.")
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}. Valid: {', '.join(METHODS)}.")
    if features is not None:
        x = _array("features", features, labels)
        x = x - x.mean(0)
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        return linkage(x, method)
    if method == "ward":
        raise ValueError('"ward" needs points in space: give features instead of confusion.')
    x = _array("confusion", confusion, labels)
    if x.shape[0] != x.shape[1] or (x < 0).any():
        raise ValueError(
            "confusion must be square with values of 0 or more, got shape "
            f"{x.shape} and values from {x.min():g}."
        )
    if empty := [label for label, total in zip(labels, x.sum(1), strict=True) if total == 0]:
        raise ValueError(f"confusion has no images of {', '.join(empty)}.")
    shares = x / x.sum(1, keepdims=True)
    distances = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distances, 0)
    return linkage(squareform(distances, checks=False), method)


def _array(name: str, values, labels: Sequence[str]) -> np.ndarray:
    x = np.asarray(values, "float64")
    if x.ndim != 2 or len(x) != len(labels) or not x.size:
        raise ValueError(
            f"{name} must have two dimensions and a row for each of the {len(labels)} labels, "
            f"got shape {x.shape}."
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, but has NaN or infinite values.")
    return x


def _cut(merges: np.ndarray, count: int, clusters: Sequence[int]) -> list[list[int]]:
    """Numbers of clusters per level: merges until the wanted number of clusters is left."""
    levels = []
    for wanted in clusters:
        members = {i: [i] for i in range(count)}
        for step, (a, b) in enumerate(merges[: count - wanted, :2].astype(int)):
            members[count + step] = members.pop(a) + members.pop(b)
        of = {i: cluster for cluster, inside in members.items() for i in inside}
        levels.append([of[i] for i in range(count)])
    return levels


def _tree_order(labels: Sequence[str], hierarchy, confusion, features) -> list[int]:
    """The categories as numbers in `labels`, in the order of the leaves of a tree."""
    if confusion is not None or features is not None:
        raise ValueError("Give one of confusion, features and hierarchy.")
    if not isinstance(hierarchy, Hierarchy):
        raise TypeError(f"hierarchy must be a Hierarchy, got {hierarchy!r}.")
    leaves = [node.label for node in hierarchy.nodes if node.is_category]
    order = match_labels(leaves, labels)
    if None in order or len(order) != len(labels):
        odd = sorted(set(leaves) ^ set(labels))
        raise ValueError(
            "hierarchy must have the same categories as labels; only one of them has "
            f"{', '.join(odd[:10])}{', ...' if len(odd) > 10 else ''}."
        )
    return [i for i in order if i is not None]


def _deal_out(order: Sequence[int], counts: Sequence[int]) -> list[tuple[int, ...]]:
    """Deals categories out in turn, level after level; returns each one's superclasses."""
    chains: dict[int, tuple[int, ...]] = {}

    def deal(inside: Sequence[int], counts: Sequence[int], chain: tuple[int, ...]) -> None:
        if not counts:
            chains.update(dict.fromkeys(inside, chain))
            return
        for part in range(counts[0]):
            rest = [max(1, round(count / counts[0])) for count in counts[1:]]
            deal(inside[part :: counts[0]], rest, (*chain, part))

    deal(order, counts, ())
    return [chains[i] for i in range(len(order))]


def _numbered(labels: Sequence[str], chains: Sequence[Sequence[int]]) -> Hierarchy:
    """Names superclasses by number, in the order of their first category, and nests them."""
    numbers: dict[tuple, dict] = {}
    above = []
    for chain in chains:
        position: list[str] = []
        names = []
        for level, cluster in enumerate(chain):
            here = numbers.setdefault(tuple(chain[:level]), {})
            position.append(str(here.setdefault(cluster, len(here) + 1)))
            names.append(f"superclass {'.'.join(position)}")
        above.append(names)
    return nest(labels, above)
