"""Weights from one string, as command lines give them."""

import os
from pathlib import Path

import keras

from keras_seqpar.networks.loading import load_model
from keras_seqpar.weights.copies import named_weights
from keras_seqpar.weights.keras_applications import from_keras_applications
from keras_seqpar.weights.keras_cv import from_keras_cv
from keras_seqpar.weights.networks import from_network
from keras_seqpar.weights.packages import NAME as IMAGENET
from keras_seqpar.weights.packages import from_package
from keras_seqpar.weights.reports import Filled
from keras_seqpar.weights.timm import from_timm


def load(
    model: keras.Model,
    source: str | os.PathLike,
    *,
    classifier: bool = True,
    partial: bool = False,
    ema: bool = False,
) -> Filled:
    """Fills a network from the source that a string names.

    All that the trunk of the network needs is filled, from a source of the same function, or
    nothing.

    Args:
        model: a network of this package.
        source: `"imagenet"` (weights of a Python package, see `from_package`), `"timm:NAME"` or
            `"timm:PATH"` (see `from_timm`), `"keras:NAME"` (see
            `from_keras_applications`), `"keras_cv:NAME"` (see `from_keras_cv`), or the path of a
            `.keras` file with a network of this package (see `from_network`).
        classifier: whether timm and Keras fill the layer `logits` of a plain network. ImageNet's
            weights fill it where the categories are ImageNet's, whatever this says.
        partial: fill every layer that fits and leave the others as they are; the report lists
            those of the trunk.
        ema: take the averaged weights of a timm checkpoint (see `from_timm`).

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        TypeError: `model` is no Keras model, or `source` no string or path.
        ValueError: the source is not readable or does not fit; the message lists how.
        ImportError: a library that reading needs is not installed.

    Example:

    >>> print(load(add_category(pets, "bus"), "model.keras"))
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a string or a path, got {source!r:.60}.")
    text = os.fspath(source)
    origin, separator, rest = text.partition(":")
    if separator and origin == "timm":
        return from_timm(model, rest, classifier=classifier, partial=partial, ema=ema)
    if ema:
        raise ValueError(f"ema=True is for checkpoints of timm, timm:PATH, not for {text!r}.")
    if text == IMAGENET:
        return from_package(model, partial=partial)
    if separator and origin == "keras":
        return from_keras_applications(model, rest, classifier=classifier, partial=partial)
    if separator and origin == "keras_cv":
        return from_keras_cv(model, rest, partial=partial)
    if Path(text).suffix != ".keras":
        raise ValueError(
            f"Cannot tell what {text!r} is. Give imagenet, timm:NAME, timm:PATH, keras:NAME, "
            "keras_cv:NAME, or the path of a .keras file."
        )
    named_weights(model)  # refuses what is no model before a file is read
    return from_network(model, load_model(text), name=text, partial=partial)
