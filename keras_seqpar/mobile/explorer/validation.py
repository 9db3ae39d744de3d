"""What a network does on labeled images, written for the page's validation.html.

- `validation.json`: labels, truth and logits of every image, sweeps of the gain.
- `sheets/`: thumbnails, SIDE x SIDE of them in one image.

The page computes all else from the logits: a cutout's logits are columns of the full network's.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.mobile.explorer.server import FACTS
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.training import evaluation
from keras_seqpar.training.gain_sweeps import SweepSettings, run_sweeps
from keras_seqpar.utils.files import write_json

SIDE = 10  # thumbnails in a row and in a column of a sheet
THUMBNAIL = 64  # pixels
DIGITS = 4  # of a logit behind the point
SEED = 0  # for choosing images at random


def write_validation(
    model: keras.Model,
    dataset: Dataset,
    folder: str | os.PathLike,
    *,
    limit: int = 500,
    gains: Sequence[float] = (),
) -> dict[str, Any]:
    """Runs a network on validation images, and adds the results to the page's data.

    Args:
        model: a SeqPar network.
        dataset: has the split `"validation"`, with all categories of the network.
        folder: from `write_page_data`.
        limit: how many images to choose at random, always the same ones; 0 for all.
        gains: of the attention sweep, with 1 among them; none for no sweep.

    Returns:
        The content of `validation.json`: `dataset`; `categories`, labels in the order of the
        logits; per image `names`, `truth` and `logits`; `sheets`, their files; `sweeps`, as
        `keras_seqpar.training.gain_sweeps.run_sweeps` returns them.

    Raises:
        ValueError: the data lacks a category of the network.
        OSError: writing failed.
    """
    folder = Path(folder)
    split = _known_images(model, dataset, limit)
    truth = evaluation.match(model, dataset)[split.labels]
    logits = evaluation.logits_of(model, split)
    facts = {
        "dataset": dataset.name,
        "categories": find_parts(model).hierarchy.categories,
        "names": [str(name) for name in split.names],
        "truth": truth.tolist(),
        "logits": np.round(np.asarray(logits, "float64"), DIGITS).tolist(),
        "thumbnail": THUMBNAIL,
        "side": SIDE,
        "sheets": _write_sheets(split, folder / "sheets"),
        "sweeps": run_sweeps(model, split, truth, SweepSettings(gains=gains)) if gains else [],
    }
    write_json(folder / "validation.json", facts)
    of_page = json.loads((folder / FACTS).read_text("utf-8"))
    write_json(folder / FACTS, {**of_page, "validation": True})
    return facts


def example_images(model: keras.Model, dataset: Dataset) -> dict[str, np.ndarray]:
    """One validation image per category, for `write_page_data`.

    Args:
        model: a SeqPar network.
        dataset: has the split `"validation"`.

    Returns:
        Label -> pixels `(size, size, 3)`, for ten categories at most.
    """
    labels = find_parts(model).hierarchy.categories
    split = dataset.splits["validation"]
    truth = evaluation.match(model, dataset)[split.labels]
    first = {int(category): i for i, category in reversed([*enumerate(truth)]) if category >= 0}
    return {labels[k]: split.read([first[k]])[0] for k in sorted(first)[:10]}


def _known_images(model: keras.Model, dataset: Dataset, limit: int) -> Split:
    """Validation images of the network's categories."""
    split = dataset.splits["validation"]
    rows = np.flatnonzero(evaluation.match(model, dataset)[split.labels] >= 0)
    if limit and limit < len(rows):
        rows = np.sort(np.random.default_rng(SEED).choice(rows, limit, replace=False))
    names = tuple(split.names[row] for row in rows)
    return Split(names, split.labels[rows], lambda indices: split.read(rows[indices]))


def _write_sheets(split: Split, folder: Path) -> list[str]:
    """Writes thumbnails, row by row; returns the names of the files."""
    folder.mkdir()
    names: list[str] = []
    for start in range(0, len(split), SIDE**2):
        sheet = Image.new("RGB", (SIDE * THUMBNAIL, SIDE * THUMBNAIL))
        for i in range(start, min(start + SIDE**2, len(split))):
            row, column = divmod(i - start, SIDE)
            thumbnail = Image.fromarray(split.read([i])[0]).resize((THUMBNAIL, THUMBNAIL))
            sheet.paste(thumbnail, (column * THUMBNAIL, row * THUMBNAIL))
        names.append(f"sheets/{len(names)}.webp")
        sheet.save(folder.parent / names[-1], quality=80)
    return names
