"""Serving many subsets of one network's categories: all weights loaded, few branches run."""

import collections
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_seqpar.hierarchy.subsets import labels_if_subset
from keras_seqpar.networks.bank.joining import feeder
from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.graph import build_model, one_at_a_time
from keras_seqpar.networks.parts import SAME, find_parts
from keras_seqpar.surgery.fusing import kept_rows

_ABSENT = -1e9  # the logit of no category: its score in a softmax is 0


class SubsetPredictor:
    """Predicts any subset of a fused network's categories, and computes no other branches.

    All weights stay loaded. Which branches run is data, so another subset of the same size needs
    no tracing and no compilation: the branches' weights are picked out of the banks.

    What is compiled, a *form*, is for a number of images and of branches in each bank. The number
    of branches is rounded up to a power of two, or to all of the bank, so that few forms occur;
    what that adds is computed in vain. The first use of a form compiles, which takes seconds.

    Threads may share a predictor; they take turns, because a backend uses all cores for one call.
    On JAX, do not run the network itself in another thread meanwhile: Keras takes the weights out
    of it for the time of a prediction.

    Args:
        model: a fused network without a gains input; see `fuse`. The predictor uses its weights,
            also after they have changed.
        classifier_activation: `"same"` as the network, or another activation over the logits that
            are asked for; `None` for logits.
        most: how many compiled forms to keep; the one that was unused for longest goes first.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no fused network or has a gains input, or `most` is below 1.

    Example:

    >>> predictor = SubsetPredictor(fuse(model))
    >>> predictor.predict(images[:2], ["car", "cat"]).shape
    (2, 2)
    >>> predictor.predict(images[:2], ["dog", "cat"]).shape  # nothing is compiled
    (2, 2)
    >>> [scores.shape for scores in predictor.predict(images[:2], [["car", "cat"], ["dog"]])]
    [(2,), (1,)]
    """

    def __init__(
        self, model: keras.Model, *, classifier_activation: str | None = SAME, most: int = 64
    ):
        parts = find_parts(model, allow_plain=True)
        if not parts.banks:
            raise ValueError(
                f"The model {model.name!r} is not fused. Give SubsetPredictor what "
                "keras_seqpar.fuse(model) returns."
            )
        if parts.gains:
            raise ValueError(
                f"The model {model.name!r} has a gains input, which SubsetPredictor does not take. "
                "Give the network without it; constant gains of keras_seqpar.attend are kept."
            )
        if most < 1:
            raise ValueError(f"most must be 1 or more, got {most}.")
        same = classifier_activation == SAME
        self._activation = parts.classifier_activation if same else classifier_activation
        self._parts = parts
        self._feeders = {bank: feeder(bank, parts.banks, parts.hierarchy) for bank in parts.banks}
        self._input = model.inputs[0]
        self._most = most
        self._forms: collections.OrderedDict[tuple, keras.Model] = collections.OrderedDict()
        self._lock = threading.Lock()

    def predict(self, images, categories) -> Any:
        """Scores of some categories, the activation taken over these alone.

        Args:
            images: one batch `(n, height, width, channels)` as the network takes it. Give batches
                of few sizes: each is compiled.
            categories: as for `cutout`; or for each image a sequence of its own. Then a branch
                computes the images that ask for it, no others, and the number of images is rounded
                up as that of the branches is.

        Returns:
            `(n, categories)` scores, in the order asked for: those of a cutout. With categories
            for each image, a list of `(categories,)`, one for each.

        Raises:
            ValueError: images of another shape; no category, an unknown or a repeated one; another
                number of sequences than of images.
        """
        images = ops.convert_to_numpy(images).astype(self._input.dtype, copy=False)
        given = images.shape
        wanted = (*given[:1], *self._input.shape[1:])
        if len(given) != 4 or any(n not in (None, m) for n, m in zip(wanted, given, strict=True)):
            raise ValueError(f"The network takes images of the shape {wanted}, got {given}.")
        mixed = isinstance(categories, (list, tuple)) and any(
            not isinstance(names, str) for names in categories
        )
        if mixed and len(categories) != len(images):
            raise ValueError(
                f"{len(images)} images need as many sequences of categories, got "
                f"{len(categories)}. A single one, of names alone, is for all images."
            )
        if mixed:
            more = _rounded(len(images)) - len(images)
            images = np.concatenate([images, np.zeros((more, *given[1:]), images.dtype)])
        subsets = categories if mixed else [categories]
        sizes, numbers, counts = self._branches(subsets, len(images) if mixed else 1, mixed)
        key = (images.shape, mixed, *((bank.name, size) for bank, size in sizes.items()))
        with self._lock:
            form = self._forms.get(key)
            if form is None:
                form = self._forms[key] = self._made(images.shape, mixed, sizes)
                if len(self._forms) > self._most:
                    self._forms.popitem(last=False)
            self._forms.move_to_end(key)
            scores = form.predict_on_batch([images, *numbers])
        if mixed:
            return [row[:count] for row, count in zip(scores, counts, strict=False)]
        return scores[:, : counts[0]]

    def _branches(
        self, subsets: Sequence, groups: int, mixed: bool
    ) -> tuple[dict[Bank, int], list[np.ndarray], list[int]]:
        """Which branches some subsets need, one after the other.

        Args:
            subsets: the categories of each.
            groups: the number of rows of scores.
            mixed: whether each subset is for the image of its number alone.

        Returns:
            How many branches of each bank, rounded; the integers that a form of this size takes;
            and the number of categories of each subset.
        """
        banks = self._parts.banks
        rows: dict[Bank, list[int]] = {bank: [] for bank in banks}
        above: dict[Bank, list[int]] = {bank: [] for bank in banks}
        asked: list[list[tuple[Bank, int]]] = []  # where the logits are
        for i, names in enumerate(subsets):
            kept = self._parts.hierarchy.prune(labels_if_subset(names))
            before = {bank: len(rows[bank]) for bank in banks}
            where: dict[str, tuple[Bank, int]] = {}
            for bank, some, parents in kept_rows(banks, kept):
                where |= {bank.nodes[row]: (bank, before[bank] + j) for j, row in enumerate(some)}
                rows[bank] += some
                feeding = self._feeders[bank]
                start = i if feeding is None else before[feeding]
                above[bank] += [start + j for j in parents or [0] * len(some)]
            asked.append([where[id_] for id_ in kept.category_ids])
        sizes = {x: _rounded(len(rows[x]), groups * len(x.nodes)) for x in banks if rows[x]}
        numbers, first, width = [], {}, 0
        for bank, size in sizes.items():
            numbers.append(_filled(rows[bank], size, 0))
            if mixed or bank.parents is not None:
                numbers.append(_filled(above[bank], size, 0))
            if bank.of_categories:
                first[bank] = width
                width += size
        columns = [[first[bank] + j for bank, j in one] for one in asked]
        columns += [[]] * (groups - len(columns))
        numbers.append(np.stack([_filled(one, width, -1) for one in columns]))
        return sizes, numbers, [len(one) for one in asked]

    @one_at_a_time
    def _made(self, shape: tuple, mixed: bool, sizes: Mapping[Bank, int]) -> keras.Model:
        """A network whose inputs are images, and integers as `_branches` returns them."""
        images = keras.Input(batch_shape=shape, dtype=self._input.dtype)
        inputs = [images]

        def integers(*shape: int) -> keras.KerasTensor:
            inputs.append(keras.Input(batch_shape=shape, dtype="int32"))
            return inputs[-1]

        features: dict[Bank | None, keras.KerasTensor] = {None: self._parts.trunk(images)}
        for bank, size in sizes.items():
            given = {"rows": integers(size)}
            if mixed or bank.parents is not None:
                given["parents"] = integers(size)
            features[bank] = bank(features[self._feeders[bank]], **given)
        logits = [features[bank] for bank in sizes if bank.of_categories]
        joined = ops.concatenate(logits, axis=-1) if len(logits) > 1 else logits[0]
        columns = integers(shape[0] if mixed else 1, joined.shape[-1])
        places = ops.maximum(columns, 0)
        if mixed:
            joined = ops.take(joined[0], places, axis=0)
        else:
            joined = ops.take(joined, places[0], axis=1)
        asked = ops.where(ops.greater_equal(columns, 0), ops.cast(joined, "float32"), _ABSENT)
        activation = keras.layers.Activation(self._activation or "linear", dtype="float32")
        return build_model(inputs, activation(asked))


def _rounded(count: int, most: int | None = None) -> int:
    """The next power of two, or `most` if that is less."""
    power = 1 << max(count - 1, 0).bit_length()
    return power if most is None else min(power, most)


def _filled(numbers: Sequence[int], size: int, value: int) -> np.ndarray:
    return np.array([*numbers, *[value] * (size - len(numbers))], "int32")
