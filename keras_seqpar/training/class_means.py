"""Mean features or predictions of each category, by which similar categories are grouped."""

import keras
import numpy as np

from keras_seqpar.data.datasets import Dataset
from keras_seqpar.networks.inputs import from_pixels
from keras_seqpar.networks.parts import find_parts, with_activation
from keras_seqpar.networks.prediction import predict
from keras_seqpar.utils.names import match_labels, unknown_name

BY = ("features", "confusion", "scores")


def class_means(
    model: keras.Model,
    dataset: Dataset,
    by: str,
    *,
    split: str = "validation",
    batch_size: int = 64,
) -> tuple[np.ndarray, float | None]:
    """Averages a network's features or predictions over the images of each category.

    Args:
        model: a network of this package; its categories are those of the data.
        dataset: the images.
        by: `"features"` of the trunk, averaged over positions; `"confusion"`, the shares of
            images that are classified as each category; or `"scores"`, the mean scores.
        split: which split of the data to average over.
        batch_size: images per step.

    Returns:
        `(categories, features or categories)` in the network's order, as
        `keras_seqpar.hierarchy.from_similarity` takes them; and top-1 on these images, or `None`
        where `by` is `"features"`.

    Raises:
        ValueError: no network of this package, or one of other categories than the data.
    """
    if by not in BY:
        raise ValueError(unknown_name("kind of comparison", by, BY))
    parts = find_parts(model, allow_plain=True)
    labels = parts.hierarchy.categories
    found = match_labels(dataset.categories, labels)
    if None in found or len(found) != len(labels):
        odd = sorted(set(dataset.categories) ^ set(labels))
        raise ValueError(
            f"The network and {dataset.name} have different categories; only one of them has "
            f"{', '.join(odd[:10])}{', ...' if len(odd) > 10 else ''}."
        )
    images = dataset.splits[split]
    truth = np.array(found)[images.labels]
    if by == "features":
        network = keras.Sequential([parts.trunk, keras.layers.GlobalAveragePooling2D()])
    else:
        network = with_activation(model, "softmax")
    outputs = predict(
        network,
        images,
        batch_size=batch_size,
        prepare=lambda pixels: from_pixels(model, pixels).astype("float32"),
    )
    values = outputs.astype("float64")
    top1 = None if by == "features" else float(np.mean(values.argmax(-1) == truth))
    if by == "confusion":
        values = np.eye(len(labels))[values.argmax(-1)]
    return np.stack([values[truth == i].mean(0) for i in range(len(labels))]), top1
