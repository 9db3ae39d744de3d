"""Cues of top-down attention on many images, put together from few runs.

A category's logit depends on the gains of its own branch and of the superclasses above it only.
So one run with a gain on all nodes of a level gives every column as it is where that column's own
node alone has the gain, and any cue is a choice, image by image and column by column, between
such a run and one without gains.
"""

import keras
import numpy as np

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.mobile.network import from_pixels
from keras_seqpar.networks.graph import behind
from keras_seqpar.networks.parts import find_parts

MOST_CUES = 100  # with more wrong cues than that, each image gets one of them, drawn

# What a run gives gains to: (layer that they act after or None for the plan's place, level of the
# superclasses that have it or None for the categories, gain).
Setting = tuple[str | None, int | None, float]


def steerable(network: keras.Model, after: str | None) -> keras.Model:
    """The network from the trunk's features on, with gains as its second input.

    Args:
        network: a SeqPar network that returns logits.
        after: the layer that the gains of the categories act after; `None` for the plan's place.
    """
    if after is not None:
        categories = find_parts(network).hierarchy.category_ids
        network = sp.attend(network, dict.fromkeys(categories, 1.0), after=after)
    network = sp.attention_input(network)
    return behind(network, network.get_layer("trunk"))


def run(
    network: keras.Model, split: data.Split, settings: list[Setting], batch_size: int
) -> dict[Setting, np.ndarray]:
    """Runs images once through the trunk, and through the branches once per setting.

    Args:
        network: a SeqPar network that returns logits, its gains neutral.
        split: the images.
        settings: what to run.
        batch_size: images per step.

    Returns:
        The logits of each setting, `(images, categories)`.
    """
    tree, trunk = find_parts(network).hierarchy, network.get_layer("trunk")
    nets = {after: steerable(network, after) for after in dict.fromkeys(s[0] for s in settings)}
    rows = {}
    for setting in settings:
        _, level, gain = setting
        having = set(nodes_at(tree, level)) - {None}
        row = [gain if node.id in having else 1.0 for node in tree.nodes]
        rows[setting] = np.tile(np.array(row, "float32"), (batch_size, 1))
    found = {setting: [] for setting in settings}
    for start in range(0, len(split), batch_size):  # the last batch is filled up: one size for all
        chosen = np.minimum(np.arange(start, start + batch_size), len(split) - 1)
        features = trunk.predict_on_batch(from_pixels(network, split.read(chosen)))
        for setting in settings:
            logits = nets[setting[0]].predict_on_batch([features, rows[setting]])
            found[setting].append(logits)
    return {setting: np.concatenate(parts)[: len(split)] for setting, parts in found.items()}


def nodes_at(tree: sp.Hierarchy, level: int | None) -> list[str | None]:
    """The node of every category that has the gain: itself, or its superclass at a level.

    Args:
        tree: the hierarchy.
        level: 1 for the superclasses directly under the trunk, and so on; `None` for categories.

    Returns:
        Node ids in the order of the logits; `None` for a category without such a superclass.
    """
    if level is None:
        return list(tree.category_ids)
    paths = [tree.path(tree.find(id_)) for id_ in tree.category_ids]
    return [path[level - 1].id if level < len(path) else None for path in paths]


def right_cue(neutral, changed, nodes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether each image is named rightly when its own node has the gain, `(images,)`.

    Args:
        neutral: logits without gains, `(images, categories)`.
        changed: logits where all nodes have the gain.
        nodes: the number of each category's node, -1 for none, `(categories,)`.
        truth: the true category of each image.
    """
    own = nodes[truth]
    cued = (nodes == own[:, None]) & (nodes >= 0)
    return (np.where(cued, changed, neutral).argmax(-1) == truth).astype("float64")


def wrong_cue(neutral, changed, nodes: np.ndarray, truth: np.ndarray, seed: int) -> np.ndarray:
    """How often each image is named rightly when another node has the gain, `(images,)`.

    The mean over all other nodes, or one drawn by `seed` if there are more than 100; NaN where
    there is no other one. Arguments as for `right_cue`.
    """
    own = nodes[truth]
    cues = np.unique(nodes[nodes >= 0])
    if len(cues) > MOST_CUES:
        places = np.random.default_rng(seed).integers(len(cues) - 1, size=len(truth))
        at = np.searchsorted(cues, own)  # skip the own one, if it has one
        drawn = cues[places + ((own >= 0) & (places >= at))]
        said = np.where(nodes == drawn[:, None], changed, neutral).argmax(-1)
        return (said == truth).astype("float64")
    right, count = np.zeros(len(truth)), np.zeros(len(truth))
    for cue in cues:
        other = own != cue
        said = np.where(nodes == cue, changed, neutral).argmax(-1)
        right += other & (said == truth)
        count += other
    return np.divide(right, count, out=np.full(len(truth), np.nan), where=count > 0)


def inhibited(neutral, changed, truth: np.ndarray, absent: int, seed: int) -> np.ndarray:
    """Whether each image is named rightly when `absent` others are inhibited, `(images,)`."""
    draw = np.random.default_rng(seed).random(neutral.shape)
    draw[np.arange(len(truth)), truth] = 2  # drawn last
    cued = draw.argsort(-1).argsort(-1) < absent
    return (np.where(cued, changed, neutral).argmax(-1) == truth).astype("float64")
