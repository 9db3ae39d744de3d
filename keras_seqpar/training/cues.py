"""Cues of top-down attention, measured on many images with few runs of the network.

A category's logit depends only on the gains of its own branch and of the superclasses above it.
So one run with a gain on all nodes of a level gives each column of the logits the values that it
has when only its own node has the gain. The logits under any cue are then put together, image by
image and column by column, from that run and a run without gains.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_seqpar.data.datasets import Split
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.graph import behind
from keras_seqpar.networks.inputs import from_pixels
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.attention import attend, attention_input

MOST_CUES = 100  # with more wrong cues, each image gets one of them at random


class GainSetting(NamedTuple):
    """Which nodes have a gain in one run.

    Args:
        after: the layer that the gain acts after; `None` for the layer of the plan.
        level: the level of the superclasses that have the gain; `None` for the categories.
        gain: the factor.
    """

    after: str | None = None
    level: int | None = None
    gain: float = 1.0


def steerable(network: keras.Model, after: str | None) -> keras.Model:
    """The part of the network after the trunk, with the gains as its second input.

    Args:
        network: a SeqPar network that returns logits.
        after: the layer that the gains of the categories act after; `None` for the layer of the
            plan.
    """
    if after is not None:
        categories = find_parts(network).hierarchy.category_ids
        network = attend(network, dict.fromkeys(categories, 1.0), after=after)
    network = attention_input(network)
    return behind(network, network.get_layer("trunk"))


def run_settings(
    network: keras.Model, split: Split, settings: Sequence[GainSetting], batch_size: int
) -> dict[GainSetting, np.ndarray]:
    """Runs images once through the trunk, and once per setting through the branches.

    Args:
        network: a SeqPar network that returns logits, its gains neutral.
        split: the images.
        settings: the gains of each run.
        batch_size: images per step.

    Returns:
        The logits of each setting, `(images, categories)`.
    """
    hierarchy, trunk = find_parts(network).hierarchy, network.get_layer("trunk")
    networks = {after: steerable(network, after) for after in {s.after: None for s in settings}}
    gains = {}
    for setting in settings:
        steered = set(nodes_at(hierarchy, setting.level)) - {None}
        row = [setting.gain if node.id in steered else 1.0 for node in hierarchy.nodes]
        gains[setting] = np.tile(np.array(row, "float32"), (batch_size, 1))
    batches: dict[GainSetting, list[np.ndarray]] = {setting: [] for setting in settings}
    for start in range(0, len(split), batch_size):
        # The last batch repeats the last image, so that all batches have one size.
        numbers = np.minimum(np.arange(start, start + batch_size), len(split) - 1)
        features = trunk.predict_on_batch(from_pixels(network, split.read(numbers)))
        for setting in settings:
            logits = networks[setting.after].predict_on_batch([features, gains[setting]])
            batches[setting].append(logits)
    return {setting: np.concatenate(parts)[: len(split)] for setting, parts in batches.items()}


def nodes_at(hierarchy: Hierarchy, level: int | None) -> list[str | None]:
    """The node of every category at a level: the category itself, or its superclass.

    Args:
        hierarchy: the hierarchy.
        level: 1 for the superclasses directly under the trunk, and so on; `None` for categories.

    Returns:
        Node ids in the order of the logits; `None` for a category without such a superclass.
    """
    if level is None:
        return list(hierarchy.category_ids)
    paths = [hierarchy.path(hierarchy.node(id_)) for id_ in hierarchy.category_ids]
    return [path[level - 1].id if level < len(path) else None for path in paths]


def right_cue_hits(
    neutral: np.ndarray, steered: np.ndarray, nodes: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """1 for each image that is classified correctly if its true node has the gain, else 0.

    Args:
        neutral: logits without gains, `(images, categories)`.
        steered: logits where all nodes have the gain.
        nodes: index of each category's node, -1 for none, `(categories,)`.
        truth: the true category of each image.
    """
    true_node = nodes[truth]
    cued = (nodes == true_node[:, None]) & (nodes >= 0)
    return (np.where(cued, steered, neutral).argmax(-1) == truth).astype("float64")


def wrong_cue_hits(
    neutral: np.ndarray, steered: np.ndarray, nodes: np.ndarray, truth: np.ndarray, seed: int
) -> np.ndarray:
    """How often each image is classified correctly if a wrong node has the gain, 0 to 1.

    The mean over all wrong nodes; with more than 100 nodes, the result of one that is drawn by
    `seed`. NaN for images without a wrong node. Arguments as for `right_cue_hits`.
    """
    true_node = nodes[truth]
    cues = np.unique(nodes[nodes >= 0])
    if len(cues) > MOST_CUES:
        draws = np.random.default_rng(seed).integers(len(cues) - 1, size=len(truth))
        own = np.searchsorted(cues, true_node)  # skipped if the image has a node
        drawn = cues[draws + ((true_node >= 0) & (draws >= own))]
        predicted = np.where(nodes == drawn[:, None], steered, neutral).argmax(-1)
        return (predicted == truth).astype("float64")
    hits, count = np.zeros(len(truth)), np.zeros(len(truth))
    for cue in cues:
        wrong = true_node != cue
        predicted = np.where(nodes == cue, steered, neutral).argmax(-1)
        hits += wrong & (predicted == truth)
        count += wrong
    return np.divide(hits, count, out=np.full(len(truth), np.nan), where=count > 0)


def inhibition_hits(
    neutral: np.ndarray, steered: np.ndarray, truth: np.ndarray, absent: int, seed: int
) -> np.ndarray:
    """1 for each image that is classified correctly if `absent` other categories are inhibited.

    Arguments as for `right_cue_hits`; the inhibited categories are drawn by `seed`.
    """
    ranks = np.random.default_rng(seed).random(neutral.shape)
    ranks[np.arange(len(truth)), truth] = 2  # the true category is drawn last
    cued = ranks.argsort(-1).argsort(-1) < absent
    return (np.where(cued, steered, neutral).argmax(-1) == truth).astype("float64")
