"""The networks to train: from flags to a network in training, and its twin to save."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.hierarchy.files import from_file
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.builders import build_nhl, build_one_branch, build_phl, build_plain
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.cutout import cutout
from keras_seqpar.surgery.slimming import from_plain
from keras_seqpar.training import balance
from keras_seqpar.training.config import (
    ONE_BRANCH,
    PLAIN,
    SEQPAR,
    ClassificationConfig,
    NetworkConfig,
)
from keras_seqpar.training.distribution import Devices
from keras_seqpar.utils.names import match_labels
from keras_seqpar.weights.copies import copy_weights
from keras_seqpar.weights.loading import load as load_weights

FROM_PLAIN = "plain:"  # an --init that fills branches, too
_SAMPLES = 400  # images that say which channels matter


def start_network(
    config: ClassificationConfig, dataset: Dataset, devices: Devices
) -> tuple[keras.Model, Callable[[], keras.Model]]:
    """Builds the network with its initial weights, and prints what it is and on what it trains.

    Args:
        config: what to train.
        dataset: both splits.
        devices: the devices that train.

    Returns:
        As `make_network`.

    Raises:
        ValueError: no such network, or initial weights that do not fit.
    """
    step, network_config = config.step, config.network
    print(
        f"{config.data.dataset}: {len(dataset.categories)} categories, {len(dataset.train)} images "
        f"to train on, {len(dataset.validation)} to validate on, {config.data.image_size} pixels."
    )
    keras.utils.set_random_seed(step.seed)
    with devices.scope():
        network, snapshot = make_network(
            network_config,
            dataset.categories,
            image_size=config.data.image_size,
            seed=step.seed,
            mixed_precision=step.mixed_precision,
        )
    init = network_config.init or ""
    if init.startswith(FROM_PLAIN):
        start_from_plain(network, network_config, dataset.train, seed=step.seed)
    elif init:
        partial = network_config.partial_init
        print(f"Initial weights: {load_weights(network, init, classifier=False, partial=partial)}")
    has_plan = network_config.network == SEQPAR
    plan = network_config.plan if has_plan else network_config.network
    print(
        f"{network_config.family}, {plan}, width {network_config.width:g}: "
        f"{sum(np.prod(v.shape) for v in network.trainable_variables):,} parameters to train. "
        f"Backend: {keras.backend.backend()}."
    )
    for name, split in (("training", dataset.train), ("validation", dataset.validation)):
        found = balance.counts_of(split.labels, len(dataset.categories))
        weight, sampling = config.balance.class_weight, config.balance.sampling
        note = balance.unbalanced_note(name, dataset.categories, found, weight, sampling)
        if note and devices.first:
            print(note)
    return network, snapshot


def make_network(
    config: NetworkConfig,
    categories: Sequence[str],
    *,
    image_size: int,
    seed: int,
    mixed_precision: str,
) -> tuple[keras.Model, Callable[[], keras.Model]]:
    """Builds the network to train, and a twin of it to save.

    Args:
        config: the network.
        categories: labels, in the order of the logits.
        image_size: side of the images in pixels.
        seed: of the initial weights.
        mixed_precision: type of the features, or "off".

    Returns:
        The network, which gives logits, in the given precision; and a function that returns the
        same network in float32 with its weights, which gives scores.
    """
    saved = build(config, categories, "softmax", image_size=image_size, seed=seed)
    precision = keras.config.dtype_policy()
    if mixed_precision != "off":
        keras.config.set_dtype_policy(f"mixed_{mixed_precision}")
    try:
        network = build(config, categories, None, image_size=image_size, seed=seed)
    finally:
        keras.config.set_dtype_policy(precision)

    def snapshot() -> keras.Model:
        copy_weights(network, saved)
        saved.layers[-1].build_config = network.layers[-1].build_config  # origin and license
        return saved

    return network, snapshot


def build(
    config: NetworkConfig,
    categories: Sequence[str],
    classifier_activation: str | None,
    *,
    image_size: int,
    seed: int,
) -> keras.Model:
    """Builds a network that takes pixels of 0 to 255.

    Args:
        config: the network.
        categories: labels, in the order of the logits.
        classifier_activation: "softmax", or `None` for logits.
        image_size: side of the images in pixels.
        seed: of the initial weights.
    """
    options: dict[str, Any] = {
        "input_shape": (image_size, image_size, 3),
        "width": config.width,
        "stem": config.stem,
        "classifier_activation": classifier_activation,
        "include_preprocessing": True,
        "drop_path_rate": config.drop_path_rate,
        "seed": seed,
    }
    options["family"] = config.family
    if config.network == PLAIN:
        return build_plain(categories, **options)
    options["plan"] = config.plan
    if config.network == ONE_BRANCH:
        return build_one_branch(categories, **options)
    options["fused"] = config.fused
    if config.hierarchy:
        return build_nhl(read_hierarchy(config.hierarchy, categories), **options)
    return build_phl(categories, **options)


def start_from_plain(
    network: keras.Model, config: NetworkConfig, split: Split, *, seed: int
) -> None:
    """Fills a network with the parts of a trained plain one.

    Args:
        network: the network to fill.
        config: how it was built; its `init` is `plain:FILE.keras`.
        split: training images, some of which say which channels matter.
        seed: chooses them.

    Raises:
        ValueError: the file holds no plain network that fits, or one without some categories.
    """
    if config.network != SEQPAR:
        raise ValueError(
            f"--init {config.init} fills branches, but --network {config.network} has none. Give "
            f"--network {SEQPAR}, or --init with the file alone."
        )
    plain = load_network((config.init or "").removeprefix(FROM_PLAIN))
    categories = find_parts(network, allow_fused=True).hierarchy.categories
    known = find_parts(plain, allow_plain=True).hierarchy.categories
    places = match_labels(categories, known)
    if missing := [x for x, i in zip(categories, places, strict=True) if i is None]:
        raise ValueError(
            f"--init {config.init} does not know {', '.join(missing)}; it was trained on "
            f"{', '.join(known)}. Give a plain network that was trained on all categories of the "
            "data, or --categories that it knows."
        )
    plain = plain if len(known) == len(categories) else cutout(plain, categories)
    count = min(len(split), max(_SAMPLES, 4 * len(categories)))
    rows = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    images = keras.ops.cast(split.read(rows), "float32")
    size = network.input_shape[1:3]
    images = keras.ops.image.resize(images, size, antialias=True, data_format="channels_last")
    tree = read_hierarchy(config.hierarchy, categories) if config.hierarchy else None
    images = keras.ops.convert_to_numpy(images)
    filled = from_plain(plain, images, plan=config.plan, hierarchy=tree)
    copy_weights(cutout(filled, categories, fused=config.fused), network)  # in their order
    print(f"Initial weights: parts of {plain.name!r}, by what matters on {count} images.")


def read_hierarchy(path: str, categories: Sequence[str]) -> Hierarchy:
    """Reads a hierarchy and puts its categories into the order of the data.

    Args:
        path: a .json or .yaml file.
        categories: labels of the data's categories.

    Raises:
        ValueError: the file holds no hierarchy, or one over other categories.
    """
    tree = from_file(path)
    order = match_labels(categories, tree.categories)
    if None in order or len(order) != len(tree.categories):
        raise ValueError(
            f"The hierarchy {path} is not over the categories of the data.\n"
            f"  In the file: {', '.join(tree.categories)}.\n"
            f"  In the data: {', '.join(categories)}."
        )
    return Hierarchy(tree.roots, [tree.category_ids[i] for i in order if i is not None])
