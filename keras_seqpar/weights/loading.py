"""Weights from one string, as command lines give them."""

import os
from pathlib import Path

import keras

from keras_seqpar.networks.loading import load_model
from keras_seqpar.weights.copies import copy_weights, named_weights
from keras_seqpar.weights.filling import Filled
from keras_seqpar.weights.keras_applications import from_keras_applications
from keras_seqpar.weights.timm import from_timm


def load(model: keras.Model, source: str | os.PathLike, *, classifier: bool = True) -> Filled:
    """Fills a network with what a string says.

    Args:
        model: a network of this package.
        source: `"timm:NAME"` or `"timm:PATH"` (see `from_timm`), `"keras:NAME"` (see
            `from_keras_applications`), or the path of a `.keras` file with a network of this
            package, of which everything is taken that has the same name and shape.
        classifier: whether timm and Keras fill the layer `logits` of a plain network.

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        TypeError: `model` is no Keras model, or `source` no string or path.
        ValueError: what is given is not readable or does not fit.
        ImportError: something that reading needs is not installed.

    Example:

    >>> print(load(build_phl(["cat", "dog"]), "timm:resnet50.a1_in1k"))
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a string or a path, got {source!r:.60}.")
    text = os.fspath(source)
    origin, separator, rest = text.partition(":")
    if separator and origin == "timm":
        return from_timm(model, rest, classifier=classifier)
    if separator and origin == "keras":
        return from_keras_applications(model, rest, classifier=classifier)
    if Path(text).suffix != ".keras":
        raise ValueError(
            f"Cannot tell what {text!r} is. Give timm:NAME, timm:PATH, keras:NAME, or the path "
            "of a .keras file."
        )
    named_weights(model)  # refuses what is no model before a file is read
    saved = load_model(text)
    names = copy_weights(saved, model, strict=False)
    kept = tuple(name for name in named_weights(model) if name not in set(names))
    ignored = tuple(name for name in named_weights(saved) if name not in set(names))
    return Filled(text, tuple(names), kept, ignored)
