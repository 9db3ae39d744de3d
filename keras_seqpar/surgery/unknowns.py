"""None of these: a decision on images of categories that a network does not have.

A cutout also gets images of the categories that it dropped, and its softmax names one of the kept
ones for them. A threshold on a score of the logits tells these images apart. It is fitted on
validation images (`fit_threshold`) and stored with the network (`with_threshold`). The decision is
an output beside the scores (`none_of_these`), in converted files too.
"""

import keras

from keras_seqpar.networks.graph import hold_weakly, one_at_a_time
from keras_seqpar.networks.layers import NoneOfThese
from keras_seqpar.networks.parts import find_parts, with_scores
from keras_seqpar.networks.thresholds import (
    KEEP,
    SCORES,
    Roc,
    Threshold,
    fit_threshold,
    known_score,
    roc,
)

__all__ = [
    "KEEP",
    "SCORES",
    "Roc",
    "Threshold",
    "fit_threshold",
    "known_score",
    "none_of_these",
    "roc",
    "threshold_of",
    "with_threshold",
]


def with_threshold(model: keras.Model, threshold: Threshold | None) -> keras.Model:
    """The same network, plain ones included, that stores where "none of these" begins.

    The scores do not change. The threshold is saved with the network, and converted files get an
    output `none_of_these`. It is valid for the network's logits only, so a cutout of fewer
    categories, `attend`, `attention_input`, `add_category` and `merge` drop it: fit it after them.
    Fit it again after further training.

    Args:
        model: a network of this package.
        threshold: from `fit_threshold`; `None` removes the one that is stored.

    Returns:
        A network that shares all weights with `model`.

    Raises:
        TypeError: `model` is no Keras model, or `threshold` no threshold.
        ValueError: it is no network of this package.

    Example:

    >>> pets = cutout(model, ["cat", "dog"])
    >>> logits = with_activation(pets, None).predict(images)
    >>> pets = with_threshold(pets, fit_threshold(logits))
    """
    parts = find_parts(model, allow_plain=True)
    return with_scores(model, parts.classifier_activation, Threshold.of(threshold))


def threshold_of(model: keras.Model) -> Threshold | None:
    """Returns the threshold that a network stores, or `None`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package.
    """
    return find_parts(model, allow_plain=True).threshold


@one_at_a_time
def none_of_these(model: keras.Model) -> keras.Model:
    """A network with the decision beside the scores, to use or to export.

    Args:
        model: a network of this package that stores a threshold.

    Returns:
        A network with two outputs: the scores `(batch, categories)` as before, and `(batch, 1)`
        float32, 1 where the image shows none of the categories, else 0. It shares all weights
        with `model`. It cannot be cut or attended: do that before.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package, or stores no threshold.

    Example:

    >>> scores, none = none_of_these(pets)(images)
    """
    threshold = threshold_of(model)
    if threshold is None:
        raise ValueError(
            f"The model {model.name!r} stores no threshold for none of these. Fit one with "
            "keras_seqpar.fit_threshold and store it with keras_seqpar.with_threshold."
        )
    decision = NoneOfThese(threshold, dtype="float32", name="none_of_these")
    outputs = [model.outputs[0], decision(model.layers[-1].input)]
    inputs = model.inputs if len(model.inputs) > 1 else model.inputs[0]
    return hold_weakly(keras.Model(inputs, outputs, name=model.name))
