"""Hierarchies from WordNet."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_seqpar.hierarchy import corpora, wordnet
from keras_seqpar.hierarchy.subsets import subset_labels
from keras_seqpar.hierarchy.wordnet import from_wordnet
from tests.hierarchy.checks import check
from tests.hierarchy.small_wordnet import write_wordnet


@pytest.fixture(scope="module")
def small_wordnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet") / "dict"
    return folder, write_wordnet(folder)


def test_meanings_are_chosen_as_documented(small_wordnet):
    folder, wnids = small_wordnet
    corpus = corpora.open_corpus(folder)

    def found(names):
        return [synset.id for synset in wordnet.look_up(names, corpus).values()]

    assert found(["jack"]) == [wnids[10]]  # the first meaning is no physical thing
    assert found(["abstraction"]) == [wnids[2]]  # there is no physical one
    assert found({"my jack": wnids[9], "b": "cur"}) == [wnids[9], wnids[6]]
    assert list(wordnet.look_up([wnids[9], wnids[10], "cur"], corpus)) == [
        *("jack (abstraction)", "jack (physical entity)", "cur")
    ]


def test_labels_of_other_scripts_are_grouped_by_their_nouns():
    names = {"猫": "tabby", "C++": "beagle", "C#": "whippet", "cafe\u0301": "lion"}
    tree = from_wordnet(names)
    assert tree.categories == ("猫", "C++", "C#", "caf\u00e9")
    assert [node.label for node in tree.superclasses] == ["feline", "hound"]


def test_nouns_are_looked_up_in_one_unicode_form():
    asked = []
    corpus = dataclasses.replace(
        corpora.open_corpus(), senses=lambda noun: asked.append(noun) or ["n02123045"]
    )
    assert from_wordnet(["cafe\u0301 x", "beagle"], corpus=corpus).categories[0] == "caf\u00e9 x"
    from_wordnet({"a": "cafe\u0301 x", "beagle": "beagle"}, corpus=corpus)
    assert asked == ["caf\u00e9 x"] * 2


def test_names_of_superclasses_keep_clear_of_categories(small_wordnet):
    folder, _ = small_wordnet

    def superclasses(names):
        made = from_wordnet(names, corpus=folder)
        check(made, names)
        return [node.label for node in made.superclasses]

    assert superclasses(["lapdog", "cur", "tom", "blue cat"]) == ["dog", "cat"]
    assert superclasses(["dog", "lapdog", "cur", "tom"]) == ["domestic dog"]
    own = from_wordnet(
        {"dog": "cur", "domestic dog": "lapdog", "cat": "tom", "True Cat": "blue cat"},
        corpus=folder,
    )
    assert [n.label for n in own.superclasses] == ["dog (superclass)", "cat (superclass)"]
    some = ["lapdog", "cur", "rache", "sleuth", "blue cat"]
    assert superclasses([*some, "tom"]) == ["dog (other)", "hound", "cat"]
    own = {**{name: name for name in some}, "dog other": "tom"}
    made = from_wordnet(own, corpus=folder)
    assert [n.label for n in made.superclasses] == ["dog (other 2)", "hound", "cat"]


@pytest.mark.parametrize(
    ("names", "options", "kind", "message"),
    [
        (["bagle"], {}, ValueError, "has no noun 'bagle'. Did you mean 'beagle'.* corpora of nltk"),
        (["n00000001"], {}, ValueError, "has no synset 'n00000001'. All of WordNet"),
        (["dog", "n02084071"], {}, ValueError, "'dog.*' is named twice"),
        (["dog", "dog"], {}, ValueError, "'dog' is named twice"),
        ([], {}, ValueError, "at least one category"),
        ("dog", {}, TypeError, "got 'dog' of type str"),
        ([3], {}, TypeError, "A label must be a string, got 3"),
        ({"a": 3}, {}, TypeError, "must be a noun or an id of WordNet, got 3"),
        ({"a": ["cat"]}, {}, TypeError, "must be a noun or an id of WordNet"),
        (["dog"], {"levels": 5}, ValueError, "2 to 4, got 5"),
        (["dog"], {"levels": True}, TypeError, "must be an integer, got True"),
        (["dog"], {"corpus": "/nowhere"}, ValueError, "no WordNet at '/nowhere'.*wn library"),
        (["dog"], {"corpus": __file__}, ValueError, "no WordNet at .*not a zip file"),
    ],
)
def test_bad_input_for_wordnet_is_refused(names, options, kind, message):
    with pytest.raises(kind, match=message):
        from_wordnet(names, **options)


@st.composite
def hanging(draw):
    """Things that hang in a random tree: for each the nodes from the root down."""
    parents = [None, *(draw(st.integers(0, i)) for i in range(draw(st.integers(1, 6))))]
    paths = []
    for i in range(len(parents)):
        path = [i]
        while parents[path[0]] is not None:
            path.insert(0, parents[path[0]])
        paths.append([str(x) for x in path])
    return draw(st.lists(st.sampled_from(paths), min_size=2, max_size=9))


def price(paths, assignment, target: int) -> float:
    """What a division costs, straight from its definition; infinite for one not allowed."""
    total = 0
    for id_ in set(assignment) - {None}:
        size = assignment.count(id_)
        if size < 2 or size == len(paths):
            return np.inf
        remainder = size < sum(id_ in path for path in paths)
        total += 2 * size**2 + (3 if remainder else 2) * target**2
    return total + assignment.count(None) * (2 + 2 * target**2)


@settings(max_examples=150)
@given(paths=hanging(), target=st.integers(2, 5))
def test_a_division_is_the_cheapest_of_all(paths, target):
    nodes = sorted({node for path in paths for node in path})
    best = np.inf
    for count in range(len(nodes) + 1):
        for chosen in itertools.combinations(nodes, count):
            nearest = [next((x for x in path[::-1] if x in chosen), None) for path in paths]
            if set(nearest) - {None} == set(chosen):
                best = min(best, price(paths, nearest, target))
    assert price(paths, wordnet.partition(paths, target), target) == best


@settings(max_examples=30)
@given(data=st.data())
def test_any_part_of_imagenet_can_be_grouped(data):
    labels = subset_labels("imagenet1k")
    some = data.draw(st.lists(st.sampled_from(labels), min_size=2, max_size=60, unique=True))
    levels = data.draw(st.integers(2, 4))
    made = from_wordnet(some, levels=levels)
    check(made, some, levels)
    assert made == from_wordnet(some, levels=levels)
    again = from_wordnet(sorted(some), levels=levels)
    assert len(again.superclasses) == len(made.superclasses)
