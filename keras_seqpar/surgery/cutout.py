"""Cutouts: the same network with only chosen categories."""

import re
from collections.abc import Sequence

import keras

from keras_seqpar.hierarchy.subsets import labels_if_subset
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.graph import hold_weakly, inner_layers, one_at_a_time
from keras_seqpar.networks.layers import make_scores
from keras_seqpar.networks.parts import SAME, Parts, find_parts, rebuild
from keras_seqpar.surgery.fusing import fuse, kept_rows, unfuse
from keras_seqpar.utils.progress import note


def cutout(
    model: keras.Model,
    categories: Sequence[str] | str,
    *,
    classifier_activation: str | None = SAME,
    copy: bool = False,
    fused: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    """Cuts chosen categories out of a network: same weights, no retraining.

    The logits equal the same columns of the source's logits; the scores are the activation
    over the kept logits (equation 3 of arXiv 2308.05128). The source stays as it is. The
    result is not compiled. A threshold for "none of these" (`with_threshold`) was fitted on all
    logits of the source, so a cutout with fewer of them has none: fit it anew.

    A plain network can be cut too, but its categories share all layers: only its classifier gets
    smaller, and a note says so. The kept part of the classifier is a copy.

    Args:
        model: a network of this package: a SeqPar network, a plain one, or a cutout.
        categories: labels or node ids, in the order wanted; a superclass stands for its
            categories. Superclass branches without a kept category disappear. Or the name of a
            subset of ImageNet, for example `"meow"` (the five domestic cats).
        classifier_activation: `"same"` as the source, or another activation; `None` for
            logits.
        copy: give the cutout weights of its own; by default both share theirs. Keras cannot load
            a file of one model that contains several networks with shared weights, so saving such
            a model is refused: there, all of these networks but one need a copy.
        fused: whether the cutout's branches are computed together (see `fuse`); by default as the
            source's. Where source or cutout is fused, the kept branches are copies.
        name: name of the new model; by default the source's with `_cutout`, and with a number
            from the second cutout on.

    Returns:
        A network from `(batch, height, width, channels)` to `(batch, len(categories))`.

    Raises:
        TypeError: `model` is no Keras model, or `categories` no sequence of names.
        ValueError: no network of this package; no category, an unknown or a repeated one.

    Example:

    >>> cutout(model, ["car", "cat"]).output_shape
    (None, 2)
    """
    parts = find_parts(model, allow_plain=True)
    kept = parts.hierarchy.prune(labels_if_subset(categories))
    name = name or _new_name(model.name)
    options: dict = {
        "hierarchy": kept,
        "classifier_activation": classifier_activation,
        "name": name,
    }
    if parts.banks:
        banks = [bank.sliced(rows, places) for bank, rows, places in kept_rows(parts.banks, kept)]
        new = rebuild(parts, banks=banks, **options)
        new = unfuse(new) if fused is False else new
    elif parts.branches:
        new = rebuild(parts, **options)
        new = fuse(new) if fused else new
    else:
        if classifier_activation == SAME:
            classifier_activation = parts.classifier_activation
        new = _with_part_of_classifier(model, parts, kept, classifier_activation, name)
    return with_own_weights(new) if copy else new


@one_at_a_time
def _with_part_of_classifier(
    model: keras.Model, parts: Parts, kept: Hierarchy, activation: str | None, name: str
) -> keras.Model:
    """A plain network with the classifier of some of its categories."""
    ids = parts.hierarchy.category_ids
    columns = [ids.index(id_) for id_ in kept.category_ids]
    old = model.get_layer("logits")
    new = keras.layers.Dense(len(columns), dtype=old.dtype_policy, name="logits")
    threshold = parts.threshold if sorted(kept.category_ids) == sorted(ids) else None
    scores = make_scores(kept, activation, threshold, build=parts.build)
    cut = hold_weakly(keras.Model(model.inputs[0], scores(new(old.input)), name=name))
    for mine, theirs in zip(new.weights, old.weights, strict=True):
        mine.assign(keras.ops.take(theirs, columns, axis=-1))
    less = old.count_params() - new.count_params()
    note(
        f"{model.name!r} is a plain network: only its classifier got smaller, by {less:,} of "
        f"{model.count_params():,} parameters. SeqPar networks lose the branches too."
    )
    return cut


def _new_name(source: str) -> str:
    """A name for a cutout that no other one has: one model can contain several of a network."""
    name = f"{re.sub(r'_cutout(_[0-9]+)?$', '', source)}_cutout"
    number = keras.backend.get_uid(name) - 1
    return f"{name}_{number}" if number else name


def with_own_weights(model: keras.Model) -> keras.Model:
    """The same network with a copy of all weights."""
    clone = keras.models.clone_model(model)  # re-initializes every layer
    # Not by name: KerasHub's MobileNet renames a block. Not in the order of `weights`: a layer
    # that is built quantized (float8) has another order than one that was quantized later.
    for theirs, mine in zip(inner_layers(model), inner_layers(clone), strict=True):
        values: dict = {}
        theirs.save_own_variables(values)
        # On JAX both would hold one array, and `fit` frees that of the network it trains.
        mine.load_own_variables({key: keras.ops.copy(value) for key, value in values.items()})
    return clone
