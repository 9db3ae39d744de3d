"""Images of a data set as a network takes them: to calibrate on, and to compare a file on."""

import os

import keras
import numpy as np

from keras_seqpar.data.loading import Dataset, load
from keras_seqpar.mobile.network import from_pixels, labels_of
from keras_seqpar.utils.names import match_labels

SEED = 0  # for choosing images at random


def load_dataset(
    spec: str, model: keras.Model, *, data_dir: str | os.PathLike | None = None
) -> Dataset:
    """Loads a data set in the image size of a network.

    Args:
        spec: as for `keras_seqpar.data.load`.
        model: a network for square images.
        data_dir: where tensorflow-datasets keeps its data.

    Returns:
        The data set.

    Raises:
        ValueError: the network's images are not square, or of no fixed size; and as for
            `keras_seqpar.data.load`.

    Example:

    >>> load_dataset("digits", model).train.read([0]).shape
    (1, 32, 32, 3)
    """
    height, width = model.inputs[0].shape[1:3]
    if height is None or height != width:
        raise ValueError(f"The network takes images of {height} x {width}; wanted is a square.")
    return load(spec, image_size=height, data_dir=data_dir)


def images_of(
    dataset: Dataset, split: str, model: keras.Model, limit: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The images of a network's categories, and for each image the index of its category's output.

    Args:
        dataset: the data set.
        split: `"train"` or `"validation"`.
        model: a network of this package.
        limit: how many images to choose at random, always the same ones; 0 for all.

    Returns:
        `(n, height, width, 3)` images as the network takes them, and `(n,)` indices of its outputs.

    Raises:
        ValueError: the network has no labels, or one that the data set does not have.
    """
    labels = labels_of(model)
    if labels is None:
        raise ValueError(
            f"The model {model.name!r} has no labels, which say what the images should show: it is "
            "no network of this package. Give one, as recipes/train.py writes it, or a preset."
        )
    of_data = match_labels(labels, dataset.categories)
    if unknown := [label for label, i in zip(labels, of_data, strict=True) if i is None]:
        raise ValueError(
            f"The network's categories {', '.join(unknown)} are not in the data set "
            f"{dataset.name!r}, which has {', '.join(dataset.categories)}."
        )
    output_of = {of_data[i]: i for i in range(len(labels))}
    columns = np.array([output_of.get(i, -1) for i in range(len(dataset.categories))])
    outputs = columns[dataset.splits[split].labels]
    rows = np.flatnonzero(outputs >= 0)
    if limit and limit < len(rows):
        rows = np.sort(np.random.default_rng(SEED).choice(rows, limit, replace=False))
    return from_pixels(model, dataset.splits[split].read(rows.tolist())), outputs[rows]
