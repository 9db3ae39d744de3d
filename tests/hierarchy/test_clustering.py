"""Hierarchies from similarity, and the controls."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_seqpar.hierarchy.clustering import (
    METHODS,
    from_dissimilarity,
    from_similarity,
    random_hierarchy,
    superclass_counts,
)
from keras_seqpar.hierarchy.tree import Hierarchy
from tests.hierarchy.checks import check, groups


def planted(seed: int, clusters: int = 4, size: int = 5):
    """Labels, features and confusions in which categories i and j with i = j mod clusters go
    together."""
    rng = np.random.default_rng(seed)
    of = np.arange(clusters * size) % clusters
    labels = [f"cat {i}" for i in range(len(of))]
    features = 3 * rng.normal(size=(clusters, 12))[of] + 0.3 * rng.normal(size=(len(of), 12)) + 7
    confusion = rng.uniform(0, 0.5, (len(of), len(of))) + 5 * (of[:, None] == of)
    np.fill_diagonal(confusion, 200)
    wanted = {
        frozenset(label for label, c in zip(labels, of, strict=True) if c == k) for k in set(of)
    }
    return labels, features, confusion, wanted


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 1000))
def test_similarity_finds_planted_groups(method, seed):
    labels, features, confusion, wanted = planted(seed)
    options = {"superclasses": 4, "method": method}
    made = from_similarity(labels, features=features, **options)
    check(made, labels, 2)
    assert groups(made) == wanted
    if method != "ward":
        assert groups(from_similarity(labels, confusion=confusion, **options)) == wanted
        counts = confusion * np.arange(1, 21)[:, None]  # more images of some categories
        assert groups(from_similarity(labels, confusion=counts, **options)) == wanted


@given(seed=st.integers(0, 1000), levels=st.integers(2, 4))
def test_similarity_does_not_depend_on_order_scale_or_offset(seed, levels):
    labels, features, confusion, _ = planted(seed, clusters=6, size=4)
    made = from_similarity(labels, features=features, levels=levels)
    check(made, labels, levels)
    order = np.random.default_rng(seed).permutation(len(labels))
    mixed = [labels[i] for i in order]
    again = from_similarity(mixed, features=9 * features[order] - 5, levels=levels)
    check(again, mixed, levels)
    assert groups(again) == groups(made)
    a = from_similarity(labels, confusion=confusion, levels=levels)
    b = from_similarity(mixed, confusion=confusion[order][:, order], levels=levels)
    assert groups(a) == groups(b)


def test_clusters_have_the_count_that_was_asked_for():
    labels, features, _, _ = planted(0, clusters=10, size=4)
    for wanted in range(2, 40):
        made = from_similarity(labels, features=features, superclasses=wanted)
        assert len(made.roots) == wanted  # categories that are clusters by themselves included


def test_superclasses_are_numbered_by_place():
    made = from_similarity(
        ["a", "b", "c", "d", "e", "f"],
        features=[[0, 0], [9, 0], [0, 1], [9, 1], [0, 9], [9, 9]],
        superclasses=2,
        levels=3,
        method="complete",
    )
    labels = [node.label for node in made.superclasses]
    assert labels[0] == "superclass 1"
    assert all(re.fullmatch(r"superclass \d(\.\d)?", label) for label in labels)


def distance_within(hierarchy: Hierarchy, points: np.ndarray) -> float:
    """Mean distance of two categories with the same parent, weighted by pairs."""
    place = {label: i for i, label in enumerate(hierarchy.categories)}
    found = []
    for node in hierarchy.superclasses:
        inside = [points[place[n.label]] for n in node.walk() if n.is_category]
        found += [np.linalg.norm(a - b) for a, b in itertools.combinations(inside, 2)]
    return float(np.mean(found))


@given(seed=st.integers(0, 1000))
def test_controls_are_less_alike_than_groups_and_chance(seed):
    labels, features, confusion, wanted = planted(seed)
    unit = features - features.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    alike = from_similarity(labels, features=features, superclasses=4)
    tree = Hierarchy.of({f"group {i}": sorted(group) for i, group in enumerate(wanted)})
    chance = [
        distance_within(random_hierarchy(labels, superclasses=4, seed=s), unit) for s in range(5)
    ]
    for source in ({"features": features}, {"confusion": confusion}, {"hierarchy": tree}):
        apart = from_dissimilarity(labels, superclasses=4, **source)
        check(apart, labels, 2)
        assert sorted(len(group) for group in groups(apart)) == [5, 5, 5, 5]
        # 5 categories dealt from 4 groups of 5: at most one pair of each group comes together
        for group in groups(apart):
            assert max(len(group & inside) for inside in wanted) <= 2
        assert distance_within(alike, unit) < np.mean(chance) < distance_within(apart, unit)


@given(
    count=st.integers(6, 40),
    levels=st.integers(2, 3),
    seed=st.integers(0, 2**40),
    data=st.data(),
)
def test_chance_is_even_and_repeatable(count, levels, seed, data):
    labels = [f"cat {i}" for i in range(count)]
    superclasses = data.draw(st.integers(2, max(2, count // 2 if levels == 2 else count // 4)))
    options = {"superclasses": superclasses, "levels": levels}
    made = random_hierarchy(labels, seed=seed, **options)
    check(made, labels, levels)
    assert made == random_hierarchy(labels, seed=seed, **options)
    sizes = [sum(n.is_category for n in root.walk()) for root in made.roots]
    assert len(sizes) == superclasses and max(sizes) - min(sizes) <= 1


def test_chance_depends_on_the_seed():
    labels = [f"cat {i}" for i in range(20)]
    made = {str(random_hierarchy(labels, seed=seed)) for seed in range(20)}
    assert len(made) == 20


@pytest.mark.parametrize(
    ("categories", "superclasses", "levels", "counts"),
    [
        (100, None, 2, [10]),
        (1000, None, 3, [10, 100]),
        (1000, 8, 2, [8]),
        (1000, 10, 4, [10, 46, 215]),
        (10, None, 3, [2, 4]),
        (3, None, 2, [2]),
    ],
)
def test_levels_grow_by_equal_ratios(categories, superclasses, levels, counts):
    assert superclass_counts(categories, superclasses, levels) == counts


FOUR = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("function", "options", "kind", "message"),
    [
        (from_similarity, {}, ValueError, "either confusion or features"),
        (
            from_similarity,
            {"confusion": 1, "features": 1},
            ValueError,
            "either confusion or feat",
        ),
        (
            from_similarity,
            {"features": np.zeros((3, 2))},
            ValueError,
            r"4 labels, got shape \(3, 2\)",
        ),
        (from_similarity, {"features": np.zeros((4, 0))}, ValueError, r"got shape \(4, 0\)"),
        (from_similarity, {"features": np.full((4, 2), np.nan)}, ValueError, "must be finite"),
        (from_similarity, {"features": [["x"]]}, ValueError, "could not convert"),
        (
            from_similarity,
            {"confusion": np.ones((4, 5))},
            ValueError,
            "square .* shape \\(4, 5\\)",
        ),
        (from_similarity, {"confusion": -np.eye(4)}, ValueError, "0 or more, .* values from -1"),
        (from_similarity, {"confusion": np.diag([1, 0, 1, 0])}, ValueError, "no images of b, d"),
        (
            from_similarity,
            {"features": np.eye(4), "method": "x"},
            ValueError,
            "'x'. Valid: average",
        ),
        (
            from_similarity,
            {"confusion": np.eye(4), "method": "ward"},
            ValueError,
            "give features",
        ),
        (from_similarity, {"features": np.eye(4), "superclasses": 1}, ValueError, "at least 2"),
        (
            from_similarity,
            {"features": np.eye(4), "superclasses": 4},
            ValueError,
            "cannot be nested",
        ),
        (
            from_similarity,
            {"features": np.eye(4), "superclasses": 2.0},
            TypeError,
            "integer or None",
        ),
        (
            from_similarity,
            {"features": np.eye(4), "levels": 4},
            ValueError,
            "over 4 split-points",
        ),
        (from_similarity, {"features": np.eye(4), "levels": 1}, ValueError, "2 to 4, got 1"),
        (from_dissimilarity, {}, ValueError, "either confusion or features"),
        (from_dissimilarity, {"hierarchy": FOUR}, TypeError, "must be a Hierarchy"),
        (
            from_dissimilarity,
            {"hierarchy": Hierarchy.of(["a", "x"])},
            ValueError,
            "has b, c, d, x",
        ),
        (
            from_dissimilarity,
            {"hierarchy": Hierarchy.of(FOUR), "features": np.eye(4)},
            ValueError,
            "one of confusion, features and hierarchy",
        ),
        (random_hierarchy, {"seed": 1.5}, TypeError, "seed must be an integer, got 1.5"),
        (random_hierarchy, {"seed": True}, TypeError, "seed must be an integer"),
        (random_hierarchy, {"seed": -1}, ValueError, "0 or more, got -1"),
        (random_hierarchy, {"seed": 0, "superclasses": 0}, ValueError, "with 0 superclasses"),
    ],
)
def test_bad_input_for_clusters_is_refused(function, options, kind, message):
    with pytest.raises(kind, match=message):
        function(FOUR, **options)


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        ("abc", TypeError, "got 'abc' of type str"),
        (["a", " a"], ValueError, "'a' is named twice"),
        ({"a": ["b", "c"]}, ValueError, "must be a flat list"),
        ({"a", "b", "c"}, TypeError, "A set has no order"),
        (["superclass 1", "b", "c", "d"], ValueError, "'superclass 1' is both a superclass"),
    ],
)
def test_bad_labels_are_refused(labels, kind, message):
    with pytest.raises(kind, match=message):
        random_hierarchy(labels, seed=0)
