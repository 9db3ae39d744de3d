"""Networks of a thousand categories and more, at the size of image they are made for."""

import concurrent.futures
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_seqpar.benchmarking.scale import peak_memory, rounded
from keras_seqpar.hierarchy.subsets import from_subset
from keras_seqpar.networks.builders import build_nhl, build_phl
from keras_seqpar.surgery.cutout import cutout

BATCH, KEPT, CALIBRATION = 2, 5, 16  # images of a step, categories of a cutout, images
NETWORKS: dict[str, dict[str, Any]] = {
    "ConvNeXt V2 tiny, NHL": {"family": "convnext_v2_tiny"},
    "EfficientNet-Lite0, PHL": {"family": "efficientnet_lite0"},
    "ResNet-50 of width 0.25, PHL": {"family": "resnet50", "width": 0.25},
}
COLUMNS = (
    *("network", "categories", "million weights", "build s", "first image s", "GiB"),
    *("cutout of 5 to int8 s", "its file MB", "first training step s", "training step s"),
    "GiB, training",
)


def measure_network(name: str, count: int, *, train: bool = True) -> dict[str, Any]:
    """Builds a fused network, runs it, exports a cutout in int8 and trains.

    Args:
        name: one of `NETWORKS`. The tree of an NHL network of 1,000 categories is ImageNet's with
            32 superclasses; otherwise as many superclasses as categories in each.
        count: number of categories.
        train: whether to train, with batches of `BATCH` images.

    Returns:
        Values of `COLUMNS`, `None` for what was not measured. The cutout is saved, too. Memory is
        the most that the process has used so far.
    """
    seconds = _Laps()
    if "NHL" in name:
        model = build_nhl(_tree(count), fused=True, **NETWORKS[name])
    else:
        model = build_phl([f"category {i}" for i in range(count)], fused=True, **NETWORKS[name])
    found: list = [name, count, model.count_params() / 1e6, seconds.next()]
    rng = np.random.default_rng(0)
    images = rng.normal(size=(CALIBRATION, *model.input_shape[1:])).astype("float32")
    seconds.next()
    model.predict(images[:1], verbose=0)
    found += [seconds.next(), peak_memory()]
    found += (
        _export(model, images, seconds) if keras.backend.backend() == "tensorflow" else (None,) * 2
    )
    if train:
        targets = keras.utils.to_categorical(np.arange(BATCH), count)
        model.compile("sgd", "categorical_crossentropy")
        seconds.next()
        for _ in range(2):
            model.train_on_batch(images[:BATCH], targets)
            found.append(seconds.next())
    found += [peak_memory()] if train else [None] * 3
    return dict(zip(COLUMNS, found, strict=True))


class _Laps:
    """A clock that gives the seconds since it was last asked."""

    def __init__(self):
        self.last = time.perf_counter()

    def next(self) -> float:
        before, self.last = self.last, time.perf_counter()
        return self.last - before


def _tree(count: int):
    """A tree of two levels."""
    if count == 1000:
        return from_subset("imagenet1k", levels=2)
    groups = round(count**0.5)
    labels = [[f"category {i}" for i in range(j, count, groups)] for j in range(groups)]
    return {f"group {j}": each for j, each in enumerate(labels)}


def _export(model: keras.Model, images: np.ndarray, seconds: _Laps) -> tuple[float, float]:
    """Seconds to cut out `KEPT` categories, save and convert them, and the file's megabytes."""
    from keras_seqpar.mobile import convert  # needs TensorFlow

    with tempfile.TemporaryDirectory() as folder:
        categories = model.layers[-1].hierarchy.categories
        seconds.next()
        cut = cutout(model, categories[:: len(categories) // KEPT][:KEPT], fused=False)
        cut.save(Path(folder, "cut.keras"))
        path = Path(folder, "cut.tflite")
        convert(cut, path, quantization="int8", calibration=images)
        return seconds.next(), path.stat().st_size / 1e6


def measure_large(
    counts: Sequence[int], *, train_most: int, report: Callable[[list], Any] = print
) -> list[list]:
    """The table of all networks; each has a process of its own.

    Args:
        counts: numbers of categories.
        train_most: the largest number to train with.
        report: is called with each row.

    Returns:
        Rows of `COLUMNS`.
    """
    rows, context = [], multiprocessing.get_context("spawn")
    for count in counts:
        for name in NETWORKS:
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                train = count <= train_most
                found = pool.submit(measure_network, name, count, train=train).result()
            rows.append([rounded(found[column]) for column in COLUMNS])
            report(rows[-1])
    return rows
