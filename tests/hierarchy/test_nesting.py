"""Hierarchies from the superclasses above each category."""

import pytest
from hypothesis import given

from keras_seqpar.hierarchy.nesting import nest
from tests import harness
from tests.hierarchy.checks import check, groups


@given(tree=harness.trees())
def test_nesting_gives_back_trees_without_lone_children(tree):
    leaves = [tree.find(id_) for id_ in tree.category_ids]
    above = [[n.label for n in tree.path(leaf)[:-1]] for leaf in leaves]
    made = nest(tree.categories, above)
    check(made, tree.categories)
    all_of_them = frozenset(tree.categories)
    assert groups(made) == {g for g in groups(tree) if 1 < len(g) < len(all_of_them)}


def test_nesting_refuses_names_that_stand_twice():
    with pytest.raises(ValueError, match="'a' is named twice"):
        nest(["a", "a"], [["s"], ["s"]])
    with pytest.raises(ValueError, match="both a superclass and a category"):
        nest(["a", "b", "c"], [["b"], [], ["b"]])
