"""Running a model over many images, batch by batch."""

from collections.abc import Callable

import keras
import numpy as np

from keras_seqpar.utils.progress import batches


def predict(
    model: keras.Model,
    images,
    *,
    batch_size: int = 64,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    label: str | None = None,
):
    """Runs a model over images in batches of equal size, as at inference.

    A last batch that is not full is filled up with its last image, so that nothing is compiled for
    a second batch size. What was filled in is left out of the result.

    Args:
        model: any Keras model.
        images: an array `(n, ...)`, or an object with `len` and `read(rows)`, for example a
            `keras_seqpar.data.Split`, which is then read batch by batch. For a model with several
            inputs a list of them.
        batch_size: images per batch.
        prepare: changes the images of every batch before the model gets them; further inputs stay
            as they are.
        label: text before a progress bar on a terminal; `None` shows no bar.

    Returns:
        The outputs as NumPy arrays `(n, ...)`, in the structure of the model's outputs.

    Raises:
        ValueError: no images, inputs of different lengths, or a batch size below 1.

    Example:

    >>> predict(model, images, batch_size=30).shape
    (60, 3)
    """
    inputs = list(images) if isinstance(images, (list, tuple)) else [images]
    counts = {len(each) for each in inputs}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"Give images, as many for each input; got {sorted(counts)} of them.")
    count = counts.pop()
    found = []
    for rows in batches(count, batch_size, label):
        filled = np.minimum(rows.start + np.arange(min(batch_size, count)), rows.stop - 1)
        batch = [each.read(filled) if hasattr(each, "read") else each[filled] for each in inputs]
        if prepare is not None:
            batch[0] = prepare(batch[0])
        outputs = model.predict_on_batch(batch if len(batch) > 1 else batch[0])
        kept = len(rows)
        found.append(keras.tree.map_structure(lambda x, kept=kept: np.asarray(x)[:kept], outputs))
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *found)
