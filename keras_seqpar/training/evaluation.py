"""Measuring a trained network, and cutouts of it, on labeled images."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.costs.counting import cost
from keras_seqpar.data import loading
from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.networks.inputs import from_pixels
from keras_seqpar.networks.parts import find_parts, with_activation
from keras_seqpar.networks.prediction import predict
from keras_seqpar.training.balance import balanced_accuracy
from keras_seqpar.utils.names import match_labels


def size_of(network: keras.Model, expected: int | None) -> int:
    """The side of the images that a network takes.

    Args:
        network: the network.
        expected: the side that is asked for, or `None` for the network's own.

    Raises:
        ValueError: the network takes another size, does not take squares, or takes any size and
            none is asked for.
    """
    height, width = network.inputs[0].shape[1:3]
    if height != width:
        raise ValueError(f"The network takes {height} x {width} pixels; only squares are read.")
    if height is None and expected is None:
        raise ValueError("The network takes images of any size. Choose one: --image_size.")
    if expected is not None and height not in (None, expected):
        raise ValueError(f"The network takes {height} pixels, --image_size says {expected}.")
    return expected or height


def load_split(
    network: keras.Model,
    dataset: str,
    *,
    split: str = "validation",
    image_size: int | None = None,
    data_dir: str | None = None,
    skip_unreadable: bool = False,
    categories: Sequence[str] | None = None,
    memory_limit: int = loading.MEMORY_LIMIT,
) -> Dataset:
    """Loads the split that a network is measured on, and prints which images it leaves out.

    Args:
        network: the network to measure.
        dataset: a spec of `keras_seqpar.data.load`.
        split: which split.
        image_size: side of the images; `None` for what the network takes.
        data_dir: where tensorflow-datasets keeps its data.
        skip_unreadable: leave out images that cannot be decoded.
        categories: labels to load, as `keras_seqpar.data.load` takes them; `None` for all.
        memory_limit: largest number of bytes of decoded images to keep in memory.

    Raises:
        ValueError: the network takes images of another size, or they cannot be loaded.
    """
    loaded = loading.load(
        dataset,
        image_size=size_of(network, image_size),
        data_dir=data_dir,
        skip_unreadable=skip_unreadable,
        splits=[split],
        categories=categories,
        memory_limit=memory_limit,
    )
    if loaded.skipped:
        print(f"Left out {len(loaded.skipped)} unreadable images: {', '.join(loaded.skipped)}.")
    return loaded


def match(network: keras.Model, dataset: Dataset) -> np.ndarray:
    """Finds the data set's categories in the network.

    Args:
        network: the network.
        dataset: the data.

    Returns:
        For each category of the data the index of its logit, or -1 if the network lacks it.

    Raises:
        ValueError: a category of the network is not in the data.
    """
    known = find_parts(network, allow_plain=True).hierarchy.categories
    of_data = match_labels(known, dataset.categories)
    if missing := [label for label, i in zip(known, of_data, strict=True) if i is None]:
        raise ValueError(
            f"The data set has no images of {', '.join(missing)}.\n"
            f"  The network knows: {', '.join(known)}.\n"
            f"  The data set has: {', '.join(dataset.categories)}.\n"
            "Evaluate on the data it was made for, or cut the network to what the data has."
        )
    logits = {of_data[i]: i for i in range(len(known))}
    return np.array([logits.get(i, -1) for i in range(len(dataset.categories))])


def logits_of(network: keras.Model, split: Split, batch_size: int = 64) -> np.ndarray:
    """Runs a network on a split.

    Args:
        network: a network of this package.
        split: the images.
        batch_size: images per step.

    Returns:
        The logits, `(images, categories)`.
    """
    prepare = functools.partial(from_pixels, network)
    model = with_activation(network, None)
    return predict(model, split, batch_size=batch_size, prepare=prepare, label="Evaluating")


def measure(network: keras.Model, dataset: Dataset, split: str, batch_size: int) -> dict[str, Any]:
    """Measures a network on a split.

    Args:
        network: a full network, a cutout, or a plain network.
        dataset: the data.
        split: which split of it.
        batch_size: images per step.

    Returns:
        JSON-ready data. `in_distribution`: images of the network's categories, with top-1 accuracy
        and mean confidence (the highest score), over all and per category, and with the balanced
        accuracy: the mean top-1 of the categories. `out_of_distribution`,
        if there are such images: for each other category the shares of its images that are
        classified as each category of the network, and the mean confidence.
    """
    images = dataset.splits[split]
    parts = find_parts(network, allow_plain=True)
    labels = parts.hierarchy.categories
    of_data = match(network, dataset)
    logits = logits_of(network, images, batch_size)
    scores = keras.activations.get(parts.classifier_activation)(logits)
    confidence = np.max(keras.ops.convert_to_numpy(scores), axis=-1)
    predicted, truth = np.argmax(logits, axis=-1), of_data[images.labels]
    known = truth >= 0

    def figures(rows: np.ndarray) -> dict[str, Any]:
        if not rows.any():
            return {"images": 0, "top1": None, "confidence": None}
        return {
            "images": int(rows.sum()),
            "top1": float(np.mean(predicted[rows] == truth[rows])),
            "confidence": float(np.mean(confidence[rows])),
        }

    per_category = {name: figures(truth == i) for i, name in enumerate(labels)}
    balanced = balanced_accuracy([found["top1"] for found in per_category.values()])
    report: dict[str, Any] = {
        "categories": list(labels),
        "parameters": cost(network, images.read([0]).shape[1:]).params,
        "in_distribution": figures(known)
        | {"balanced_accuracy": balanced, "per_category": per_category},
    }
    if not known.all():
        shares, means = {}, {}
        for i in np.flatnonzero(of_data < 0):
            if (here := images.labels == i).any():
                counts = np.bincount(predicted[here], minlength=len(labels)) / here.sum()
                shares[dataset.categories[i]] = dict(zip(labels, counts.tolist(), strict=True))
                means[dataset.categories[i]] = float(np.mean(confidence[here]))
        report["out_of_distribution"] = {
            "images": int((~known).sum()),
            "confidence": float(np.mean(confidence[~known])),
            "confidence_per_category": means,
            "shares": shares,
        }
    return report


def accuracy_table(labels: Sequence[str], reports: Mapping[str, Mapping[str, Any]]) -> str:
    """A text table of several networks: top-1 per category, over all their images, and balanced.

    The balanced accuracy is the mean over the categories.

    Args:
        labels: the categories, one line each.
        reports: title of a column -> report of `measure`.
    """
    width = max(len("category"), *map(len, labels))
    columns = {}
    for title, report in reports.items():
        found = [report["in_distribution"]["per_category"][label] for label in labels]
        right = sum(f["images"] * f["top1"] for f in found if f["images"])
        columns[title] = (
            [f["top1"] for f in found],
            right / max(1, sum(f["images"] for f in found)),
            balanced_accuracy([f["top1"] for f in found]),
        )
    counts = [f["images"] for f in found]
    lines = [f"  {'category':{width}}  images" + "".join(f"{title:>12}" for title in columns)]
    for i, (label, count) in enumerate(zip(labels, counts, strict=True)):
        cells = ["-" if top1[i] is None else f"{top1[i]:.2%}" for top1, *_ in columns.values()]
        lines.append(f"  {label:{width}}  {count:8}" + "".join(f"{cell:>12}" for cell in cells))
    cells = "".join(f"{f'{mean:.2%}':>12}" for _, mean, _ in columns.values())
    lines.append(f"  {'all':{width}}  {sum(counts):8}{cells}")
    balanced = ["-" if mean is None else f"{mean:.2%}" for *_, mean in columns.values()]
    cells = "".join(f"{cell:>12}" for cell in balanced)
    return "\n".join([*lines, f"  {'balanced':{width}}  {'':8}{cells}"])


def missed_categories(report: Mapping[str, Any]) -> list[str]:
    """The categories of a report of `measure` of which no image is classified right."""
    found = report["in_distribution"]["per_category"].items()
    return [label for label, figures in found if figures["top1"] == 0]


def others_table(report: Mapping[str, Any], most: int = 3) -> str:
    """A text table of how images of other categories are classified.

    Args:
        report: from `measure`, with `out_of_distribution`.
        most: how many of the network's categories to show for each.
    """
    others, own = report["out_of_distribution"], report["in_distribution"]
    width = max(len("category"), *map(len, others["shares"]))
    lines = [f"  {'category':{width}}  confidence  predicted as"]
    for label, shares in others["shares"].items():
        ranked = sorted(shares.items(), key=lambda item: -item[1])[:most]
        predicted = ", ".join(f"{name} {share:.0%}" for name, share in ranked if share)
        mean = others["confidence_per_category"][label]
        lines.append(f"  {label:{width}}  {mean:10.2f}  {predicted}")
    mean = "-" if own["confidence"] is None else f"{own['confidence']:.2f}"
    lines.append(f"  {'all':{width}}  {others['confidence']:10.2f}  (in-distribution: {mean})")
    return "\n".join(lines)
