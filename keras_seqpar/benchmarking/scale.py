"""How building, running and training grow with the number of categories, in either form."""

import concurrent.futures
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.costs.counting import cost
from keras_seqpar.networks.builders import build_phl, build_plain

FORMS = ("plain", "fused", "named")
BATCH = 16
COLUMNS = (
    *("categories", "form", "GMACs", "build s", "first image s", "ms, batch 1", "ms, batch 16"),
    *("ideal ms, batch 16", "first training step s", "training step ms", "peak GiB"),
)


def measure_form(
    form: str, count: int, options: Mapping[str, Any], *, train: bool = True, repeats: int = 5
) -> dict[str, Any]:
    """Builds, runs and trains one network, compiled as Keras does by default.

    Args:
        form: one of `FORMS`: the plain network, or PHL with named or fused branches.
        count: number of categories.
        options: arguments of the builders.
        train: whether to train, with batches of `BATCH` images.
        repeats: how often to measure; medians are taken.

    Returns:
        Values of `COLUMNS` but the ideal, `None` for what was not measured. The memory is the
        process's.
    """
    start = time.perf_counter()
    labels = [f"category {i}" for i in range(count)]
    shown = {name: value for name, value in options.items() if form != "plain" or name != "plan"}
    if form == "plain":
        model = build_plain(labels, **shown)
    else:
        model = build_phl(labels, fused=form == "fused", **shown)
    built = time.perf_counter() - start
    macs = cost(model).macs
    images = np.random.default_rng(0).normal(size=(BATCH, *model.input_shape[1:]))
    images = images.astype("float32")
    targets = keras.utils.to_categorical(np.arange(BATCH) % count, count)
    model.compile("sgd", "categorical_crossentropy")
    first, one = _timed(lambda: model.predict_on_batch(images[:1]), repeats)
    _, many = _timed(lambda: model.predict_on_batch(images), repeats)
    traced, step = None, None
    if train:
        traced, step = _timed(lambda: model.train_on_batch(images, targets), repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    values = (count, form, macs / 1e9, built, first, 1e3 * one, 1e3 * many, None)
    values += (traced, step and 1e3 * step, peak)
    return dict(zip(COLUMNS, values, strict=True))


def _timed(call: Callable, repeats: int) -> tuple[float, float]:
    """Seconds of the first call, which traces and compiles, and the median of others."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


def measure_scale(
    counts: Sequence[int],
    options: Mapping[str, Any],
    *,
    named_most: int,
    train_most: int,
    repeats: int = 5,
    report: Callable[[list], Any] = print,
) -> list[list]:
    """The table of all forms; each network has a process of its own.

    The ideal is the time that the network's multiply-accumulates take at the rate that the plain
    network of as many categories reaches.

    Args:
        counts: numbers of categories.
        options: arguments of the builders.
        named_most: the largest number to measure named branches with.
        train_most: the largest number to train with.
        repeats: how often to measure.
        report: is called with each row.

    Returns:
        Rows of `COLUMNS`.
    """
    rows, context = [], multiprocessing.get_context("spawn")
    for count in counts:
        rate = None
        for form in FORMS:
            if form == "named" and count > named_most:
                continue
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                train = count <= train_most
                found = pool.submit(
                    measure_form, form, count, options, train=train, repeats=repeats
                ).result()
            rate = rate or found["GMACs"] / found["ms, batch 16"]
            found["ideal ms, batch 16"] = found["GMACs"] / rate
            rows.append([_rounded(found[name]) for name in COLUMNS])
            report(rows[-1])
    return rows


def _rounded(value):
    return float(f"{value:.3g}") if isinstance(value, float) else value
