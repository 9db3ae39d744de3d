"""Cutouts: the same network with only chosen categories."""

import re
from collections.abc import Sequence

import keras

from keras_seqpar.networks.parts import SAME, find_parts, rebuild
from keras_seqpar.weights.copies import copy_weights


def cutout(
    model: keras.Model,
    categories: Sequence[str],
    *,
    classifier_activation: str | None = SAME,
    copy: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Cuts chosen categories out of a SeqPar network: same weights, no retraining.

    The logits equal the same columns of the source's logits; the scores are the activation
    over the kept logits (equation 3 of arXiv 2308.05128). The source stays as it is. The
    result is not compiled. A threshold for "none of these" (`with_threshold`) was fitted on all
    logits of the source, so a cutout with fewer of them has none: fit it anew.

    Args:
        model: a SeqPar network, or a cutout of one.
        categories: labels or node ids, in the order wanted; a superclass stands for its
            categories. Superclass branches without a kept category disappear.
        classifier_activation: `"same"` as the source, or another activation; `None` for
            logits.
        copy: give the cutout weights of its own; by default both share theirs. Keras cannot load
            a file of one model that contains several networks with shared weights, so saving such
            a model is refused: there, all of these networks but one need a copy.
        name: name of the new model; by default the source's with `_cutout`, and from the second
            on a number.

    Returns:
        A network from `(batch, height, width, channels)` to `(batch, len(categories))`.

    Raises:
        TypeError: `model` is no Keras model, or `categories` no sequence of names.
        ValueError: no SeqPar network; no category, an unknown or a repeated one.

    Example:

    >>> model = build_phl(["cat", "dog", "car"], family="resnet18", width=0.125)
    >>> cutout(model, ["car", "cat"]).output_shape
    (None, 2)
    """
    parts = find_parts(model)
    new = rebuild(
        parts,
        hierarchy=parts.hierarchy.prune(categories),
        classifier_activation=classifier_activation,
        name=name or _new_name(model.name),
    )
    return with_own_weights(new) if copy else new


def _new_name(source: str) -> str:
    """A name for a cutout that no other one has: one model can contain several of a network."""
    name = f"{re.sub(r'_cutout(_[0-9]+)?$', '', source)}_cutout"
    number = keras.backend.get_uid(name) - 1
    return f"{name}_{number}" if number else name


def with_own_weights(model: keras.Model) -> keras.Model:
    """The same network with a copy of all weights."""
    clone = keras.models.clone_model(model)  # re-initializes every layer
    copy_weights(model, clone)
    return clone
