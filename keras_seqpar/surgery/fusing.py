"""Networks of named branches as networks of banks, and back."""

from collections.abc import Sequence

import keras

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.assembly import assemble
from keras_seqpar.networks.bank.joining import assemble_banks, grouped, parent_ids
from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.bank.templates import branch_of, gain_of, kind_of, template_of
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.quantized import refuse_quantized
from keras_seqpar.surgery.attention import attention_input


def fuse(model: keras.Model, *, name: str | None = None) -> keras.Model:
    """Computes the equal branches of each level of a network together, in banks.

    A network of many categories has tens of thousands of layers. In the fused network each layer
    of a branch is one operation for all branches of its level, with their weights stacked. It
    gives the same scores, up to rounding, and is built and run faster, above all with dozens of
    categories and more. Branches are equal where they differ in names, weights and gains only;
    others get a bank of their own.

    Args:
        model: a SeqPar network. One with a gains input is refused: fuse first.
        name: name of the new model; by default the same.

    Returns:
        A fused network with copies of the branches' weights. It shares the trunk with `model`.
        `cutout`, `attend`, `attention_input`, `add_category`, `cost`, `with_activation`,
        `SubsetPredictor`, `fit` and saving work as before; for all else, `unfuse` it.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: no SeqPar network, one that is fused already, was quantized by Keras or has a
            gains input, or a branch with a layer that a bank cannot compute.

    Example:

    >>> fused = fuse(model)
    >>> scores = fused.predict_on_batch(images)
    >>> np.allclose(scores, model.predict_on_batch(images), atol=1e-5)
    True
    """
    parts = find_parts(model, allow_fused=True)
    if parts.banks:
        raise ValueError(f"The model {model.name!r} is fused already.")
    if parts.gains:
        raise ValueError(
            f"The model {model.name!r} has a gains input. Fuse the network without it, and add it "
            "to the result with keras_seqpar.attention_input."
        )
    refuse_quantized(model, "Fuse the original network.")
    kinds = {id_: kind_of(branch, id_) for id_, branch in parts.branches.items()}
    banks: list[Bank] = []
    for ids, parents in grouped(parts.hierarchy, kinds):
        branches = [parts.branches[id_] for id_ in ids]
        template = template_of(branches[0], ids[0])
        bank = Bank(
            template,
            ids,
            parents,
            [gain_of(branch) for branch in branches],
            name=f"bank_{len(banks) + 1}",
            dtype=branches[0].layers[-1].dtype_policy,
        )
        weights = [[w for layer in one.layers for w in layer.weights] for one in branches]
        for mine, theirs in zip(bank.stacked, zip(*weights, strict=True), strict=True):
            mine.assign(keras.ops.stack([w.value for w in theirs]))
        banks.append(bank)
    return assemble_banks(
        parts.trunk,
        banks,
        parts.hierarchy,
        parts.classifier_activation,
        threshold=parts.threshold,
        build=parts.build,
        name=name or model.name,
    )


def unfuse(model: keras.Model, *, name: str | None = None) -> keras.Model:
    """Gives a fused network named branches again, the exact inverse of `fuse`.

    Args:
        model: a fused network. Every branch becomes layers of its own, which takes about 20 ms for
            each: of a large network cut out what is needed, with
            `cutout(model, categories, fused=False)`.
        name: name of the new model; by default the same.

    Returns:
        A network with a sub-model for each branch, with copies of their weights. It shares the
        trunk with `model`, and has a gains input if `model` has one.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no fused network.

    Example:

    >>> again = unfuse(fuse(model))
    >>> all(np.array_equal(a, b) for a, b in zip(again.get_weights(), model.get_weights()))
    True
    """
    parts = find_parts(model, allow_plain=True)
    if not parts.banks:
        raise ValueError(f"The model {model.name!r} is not fused.")
    branches = {id_: branch_of(bank, id_) for bank in parts.banks for id_ in bank.nodes}
    named = assemble(
        parts.trunk,
        {node.id: branches[node.id] for node in parts.hierarchy.nodes},
        parts.hierarchy,
        parts.classifier_activation,
        threshold=parts.threshold,
        build=parts.build,
        name=name or model.name,
    )
    return attention_input(named) if parts.gains else named


def kept_rows(banks: Sequence[Bank], kept: Hierarchy) -> list[tuple[Bank, list[int], list | None]]:
    """Which branches of banks a smaller hierarchy needs.

    Returns:
        Each bank that is needed, the rows of its branches, and for each of these the place of its
        parent among the kept rows of the bank that feeds it; `None` where the trunk does.
        Categories are in the order of their logits in `kept`.
    """
    above: dict = parent_ids(kept)
    order = [*kept.category_ids, *(node.id for node in kept.superclasses)]
    found: list[tuple[Bank, list[int], list | None]] = []
    places: dict[str, int] = {}
    for bank in banks:
        row_of = {id_: i for i, id_ in enumerate(bank.nodes)}
        ids = [id_ for id_ in order if id_ in row_of]
        if ids:
            places |= {id_: i for i, id_ in enumerate(ids)}
            parents = None if bank.parents is None else [places[above[id_]] for id_ in ids]
            found.append((bank, [row_of[id_] for id_ in ids], parents))
    return found
