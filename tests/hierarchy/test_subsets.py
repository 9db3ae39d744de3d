"""ImageNet-1k and its well-known subsets."""

import gzip

import pytest

from keras_seqpar.hierarchy import corpora, wordnet
from keras_seqpar.hierarchy.subsets import from_subset, subset_labels, subset_wnids
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.hierarchy.wordnet import from_wordnet
from keras_seqpar.utils.names import make_id
from tests.hierarchy.checks import check


def test_the_tables_are_whole_and_made_by_the_stated_rule():
    rows = list(corpora.table("imagenet1k.tsv"))
    labels = [row[1] for row in rows]
    assert len(rows) == len({make_id(label) for label in labels}) == 1000
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)  # ImageNet's order
    corpus = corpora.open_corpus()
    paths = [corpus.path(row[0]) for row in rows]
    assert [" > ".join(s.lemmas[0] for s in path) for path in paths] == [row[2] for row in rows]
    assert {path[0].lemmas for path in paths} == {("entity",)}
    for levels, column in ((2, 3), (3, 4), (4, 5)):
        above = wordnet.superclasses(labels, paths, levels)
        assert [" > ".join(names) for names in above] == [row[column] for row in rows]
    used = {synset.id for path in paths for synset in path}
    assert used == {row[0] for row in corpora.table("wordnet_nouns.tsv")}


def test_the_tables_are_small_and_carry_their_license(root):
    tables = root / "keras_seqpar" / "hierarchy" / "tables"
    assert sum(len(gzip.compress(p.read_bytes())) for p in tables.iterdir()) < 300_000
    license = (tables / "WORDNET_LICENSE.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in license
    for name in ("imagenet1k.tsv", "wordnet_nouns.tsv"):
        assert "WORDNET_LICENSE.txt" in (tables / name).read_text().split("\n")[1]


@pytest.mark.parametrize(
    ("name", "wnid"),
    [
        ("mouse", "n03793489"),  # a label of ImageNet-1k: the computer's
        ("seal", "n02076196"),  # the ninth meaning, but ImageNet-1k has sea lions
        ("Golden Retriever", "n02099601"),
        ("domestic dog", "n02084071"),
        ("crane", "n03126707"),  # the lifting device is the more usual of the two
    ],
)
def test_nouns_mean_what_imagenet_shows(name, wnid):
    assert [s.id for s in wordnet.look_up([name], corpora.open_corpus()).values()] == [wnid]


def test_known_categories_have_known_ids():
    labels = subset_labels("imagenet1k")
    index = dict(zip(subset_wnids("imagenet1k"), labels, strict=True))
    for wnid, label in {
        "n01440764": "tench",
        "n02123045": "tabby",
        "n02012849": "crane (wading bird)",
        "n03126707": "crane (lifting device)",
        "n02113186": "Cardigan (corgi)",
        "n02963159": "cardigan (sweater)",
        "n03710637": "maillot (tights)",
        "n03710721": "maillot (swimsuit)",
        "n15075141": "toilet tissue",
    }.items():
        assert index[wnid] == label
    assert labels.index("Egyptian cat") == 285  # as in Keras and timm
    assert subset_labels("imagenette")[:2] == ("tench", "English springer")
    assert subset_wnids("imagewoof")[-1] == "n02115641"
    assert [len(subset_labels(n)) for n in ("imagenette", "imagewoof", "meow")] == [10, 10, 5]
    hundred = [subset_wnids(name) for name in ("imagenet100", "miniimagenet")]
    assert [len(set(wnids)) for wnids in hundred] == [100, 100]
    assert {"n01532829", "n13133613"} < {*hundred[1]}  # house finch, the first, and ear, the last


@pytest.mark.parametrize("levels", [2, 3, 4])
@pytest.mark.parametrize("name", ["imagenette", "imagewoof", "imagenet1k", "meow"])
def test_ready_hierarchies_are_those_of_wordnet(name, levels):
    made = from_subset(name, levels=levels)
    labels = subset_labels(name)
    check(made, labels, levels)
    assert made == from_wordnet(labels, levels=levels)
    assert made == from_wordnet(subset_wnids(name), levels=levels)
    assert made.depth == {"imagenet1k": levels, "meow": 1}.get(name, min(levels, 3))
    assert from_subset(name, levels=1) == Hierarchy.of(labels)


def test_imagenet_is_grouped_evenly_and_with_sense():
    for levels, counts in ((2, [32]), (3, [11, 99]), (4, [5, 29, 175])):
        made = from_subset("imagenet1k", levels=levels)
        at = [made.level(node) for node in made.superclasses]
        assert [at.count(level) for level in range(1, levels)] == counts
        for node in made.superclasses:
            children = len(node.children)
            assert 2 <= children <= 4 * 1000 ** (1 / levels)
    three = from_subset("imagenet1k", levels=3)
    cats = subset_labels("meow")
    assert three.prune(cats).superclasses[-1].label == "feline"
    for label, superclass in {
        "beagle": "hound",
        "monarch": "butterfly",
        "French horn": "wind instrument",
        "banana": "edible fruit",
        "ambulance": "car",
    }.items():
        assert three.path(three.find(label))[-2].label == superclass


@pytest.mark.parametrize("function", [subset_labels, subset_wnids, from_subset])
def test_unknown_subsets_and_levels_are_refused(function):
    with pytest.raises(ValueError, match=r"Did you mean 'imagewoof'\? Valid: imagenette, imagew"):
        function("imagewoofs")
    with pytest.raises(ValueError, match="Unknown subset 3"):
        function(3)
    for levels, message in ((0, "1 to 4, got 0"), (5, "1 to 4, got 5")):
        with pytest.raises(ValueError, match=message):
            from_subset("meow", levels=levels)
