"""Serving many subsets of one network's categories: all weights loaded, few branches run."""

import collections
import threading
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_seqpar.hierarchy.subsets import labels_if_subset
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.bank.joining import feeder
from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.graph import build_model, one_at_a_time
from keras_seqpar.networks.parts import SAME, find_parts
from keras_seqpar.surgery.fusing import kept_rows


class SubsetPredictor:
    """Predicts any subset of a fused network's categories, and computes no other branches.

    All weights stay loaded. Which branches run is data, so another subset of the same size needs
    no tracing and no compilation: the branches' weights are picked out of the banks. What is
    compiled depends on the number of images and on how many branches of each bank are asked for.
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
    """

    def __init__(
        self, model: keras.Model, *, classifier_activation: str | None = SAME, most: int = 16
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
        self._input = model.inputs[0]
        self._most = most
        self._forms: collections.OrderedDict[tuple, keras.Model] = collections.OrderedDict()
        self._lock = threading.Lock()

    def predict(self, images, categories: Sequence[str] | str) -> np.ndarray:
        """Scores of some categories, the activation taken over these alone.

        Args:
            images: one batch `(n, height, width, channels)` as the network takes it. Serve batches
                of few sizes: each size is compiled.
            categories: as for `cutout`.

        Returns:
            `(n, categories)` scores, in the order asked for: those of a cutout.

        Raises:
            ValueError: images of another shape; no category, an unknown or a repeated one.
        """
        wanted = (len(images), *self._input.shape[1:])
        given = np.shape(images)
        if len(given) != 4 or any(n not in (None, m) for n, m in zip(wanted, given, strict=True)):
            raise ValueError(f"The network takes images of the shape {wanted}, got {given}.")
        kept = self._parts.hierarchy.prune(labels_if_subset(categories))
        rows = kept_rows(self._parts.banks, kept)
        columns = [bank.nodes[i] for bank, some, _ in rows if bank.of_categories for i in some]
        numbers = [x for _, *places in rows for x in places if x is not None]
        numbers.append([columns.index(id_) for id_ in kept.category_ids])
        key = (given, *((bank.name, len(some)) for bank, some, _ in rows))
        with self._lock:
            form = self._forms.get(key)
            if form is None:
                form = self._forms[key] = self._made(given, kept, rows)
                if len(self._forms) > self._most:
                    self._forms.popitem(last=False)
            self._forms.move_to_end(key)
            return form.predict_on_batch([images, *(np.array(x, "int32") for x in numbers)])

    @one_at_a_time
    def _made(self, shape: tuple, kept: Hierarchy, rows) -> keras.Model:
        """A network whose inputs are images and the rows of banks."""
        images = keras.Input(batch_shape=shape, dtype=self._input.dtype)
        inputs, banks = [images], [bank for bank, _, _ in rows]
        features: dict[Bank | None, keras.KerasTensor] = {None: self._parts.trunk(images)}
        logits = []

        def places(count: int) -> keras.KerasTensor:
            inputs.append(keras.Input(batch_shape=(count,), dtype="int32"))
            return inputs[-1]

        for bank, some, parents in rows:
            given = {"rows": places(len(some))}
            if parents is not None:
                given["parents"] = places(len(some))
            features[bank] = bank(features[feeder(bank, banks, self._parts.hierarchy)], **given)
            if bank.of_categories:
                logits.append(features[bank])
        joined = ops.concatenate(logits, axis=-1) if len(logits) > 1 else logits[0]
        joined = ops.take(joined, places(len(kept.category_ids)), axis=-1)
        activation = keras.layers.Activation(self._activation or "linear", dtype="float32")
        return build_model(inputs, activation(joined))
