"""Cues put together from columns, against networks that are really attended."""

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.training import cues
from tests import harness

SIZE = 16
NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}
AFTER = "stage5_block1_relu"


@pytest.fixture(scope="module")
def network():
    return harness.network(NESTED, include_preprocessing=True)


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, SIZE, SIZE, 3)).astype("uint8")
    return data.Split(tuple("abcdefghi"), np.arange(9) % 6, pixels)


def test_columns_are_those_of_attended_networks(network, split):
    settings = [cues.GainSetting()]
    for after, level in ((None, None), (None, 1), (None, 2), (AFTER, None)):
        settings.append(cues.GainSetting(after, level, 2.0))
    found = cues.run_settings(sp.with_activation(network, None), split, settings, batch_size=4)
    x = split.pixels.astype("float32")
    tree = network.get_layer("categories").hierarchy
    neutral = found[settings[0]]
    assert neutral.shape == (9, 6)
    assert harness.error(neutral, harness.logits(network, x)) < 1e-6
    for setting in settings[1:]:
        after, level, gain = setting
        nodes = cues.nodes_at(tree, level)
        for node in set(nodes) - {None}:  # one node alone has the gain
            cued = np.array([other == node for other in nodes])
            attended = sp.attend(network, {node: gain}, after=after)
            together = np.where(cued, found[setting], neutral)
            assert harness.error(together, harness.logits(attended, x)) < 1e-6
    # and every image another cue, through the gains input
    ids = [node.id for node in tree.nodes]
    gains = np.ones((9, len(ids)), "float32")
    for image, category in enumerate(split.labels):
        gains[image, ids.index(tree.category_ids[category])] = 2
    cued = np.arange(6) == split.labels[:, None]
    together = np.where(cued, found[settings[1]], neutral)
    assert harness.error(together, harness.logits(sp.attention_input(network), x, gains)) < 1e-6


def test_superclasses_of_categories():
    tree = sp.Hierarchy.of(NESTED)
    pets, road = ["pets"] * 2, ["road"] * 2
    assert cues.nodes_at(tree, None) == list(tree.category_ids)
    assert cues.nodes_at(tree, 1) == [*pets, *["vehicles"] * 3, None]
    assert cues.nodes_at(tree, 2) == [None, None, *road, None, None]


def test_one_wrong_cue_is_drawn_where_there_are_many(monkeypatch):
    truth, numbers = np.random.default_rng(1).integers(5, size=40), np.arange(5)
    monkeypatch.setattr(cues, "MOST_CUES", 4)
    lowered, raised = np.full((40, 5), -9.0), np.full((40, 5), 9.0)
    drawn = [cues.wrong_cue_hits(lowered, raised, numbers, truth, seed) for seed in range(20)]
    assert not np.any(drawn)  # the cue is never the true category, and always another one
    numbers = np.array([0, 1, 2, 3, -1])
    monkeypatch.setattr(cues, "MOST_CUES", 3)
    drawn = [cues.wrong_cue_hits(lowered, raised, numbers, truth, seed) for seed in range(20)]
    assert not np.any(drawn)
