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
    """Stores in a network below which score an image shows none of its categories.

    The scores do not change. The threshold is saved with the network, and converted files get an
    output `none_of_these`. It is valid for the network's logits only, so a cutout of fewer
    categories, `attend`, `attention_input`, `add_category` and `merge` drop it: fit it after them.
    Fit it again after further training.

    Args:
        model: a network of this package, plain ones included.
        threshold: from `fit_threshold`; `None` removes the one that is stored.

    Returns:
        A network that shares all weights with `model`.

    Raises:
        TypeError: `model` is no Keras model, or `threshold` no threshold.
        ValueError: it is no network of this package.

    Example:

    >>> logits = keras.ops.convert_to_numpy(with_activation(pets, None)(images))
    >>> careful = with_threshold(pets, fit_threshold(logits))
    """
    parts = find_parts(model, allow_plain=True)
    return with_scores(model, parts.classifier_activation, Threshold.of(threshold))


def threshold_of(model: keras.Model) -> Threshold | None:
    """Reads the threshold that `with_threshold` stored in a network.

    Args:
        model: a network of this package.

    Returns:
        The threshold, or `None` if it stores none.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package.

    Example:

    >>> from keras_seqpar.surgery.unknowns import Threshold
    >>> threshold_of(with_threshold(pets, Threshold(1.5))).value
    1.5
    """
    return find_parts(model, allow_plain=True).threshold


@one_at_a_time
def none_of_these(model: keras.Model) -> keras.Model:
    """Adds the decision "none of these" as a second output, to use or to export.

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

    >>> logits = keras.ops.convert_to_numpy(with_activation(pets, None)(images))
    >>> careful = with_threshold(pets, fit_threshold(logits))
    >>> scores, none = none_of_these(careful)(images)
    >>> tuple(scores.shape), tuple(none.shape)
    ((60, 2), (60, 1))
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
