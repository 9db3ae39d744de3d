"""How building, running and training grow with the number of categories, in either form."""

import concurrent.futures
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.costs.counting import cost
from keras_seqpar.networks.builders import build_phl, build_plain
from keras_seqpar.utils.memory import resident

FORMS = ("plain", "fused", "named")
BATCH = 16
COLUMNS = (
    *("categories", "form", "GMACs", "build s", "first image s", "ms, batch 1", "ms, batch 16"),
    *("ideal ms, batch 16", "first training step s", "training step ms", "peak GiB"),
)


_CALLS: dict[str, dict[str, Callable]] = {}  # form -> column -> what it times, in its process


def prepare_form(
    form: str, count: int, options: Mapping[str, Any], *, train: bool = True
) -> dict[str, Any]:
    """Builds one network, compiled as Keras does by default, and calls it for the first time.

    Args:
        form: one of `FORMS`: the plain network, or PHL with named or fused branches.
        count: number of categories.
        options: arguments of the builders.
        train: whether to train, with batches of `BATCH` images.

    Returns:
        Values of `COLUMNS` but those of `time_form` and the ideal, `None` for what was not
        measured. The memory is the process's.
    """
    start = time.perf_counter()
    labels = [f"category {i}" for i in range(count)]
    shown = {name: value for name, value in options.items() if form != "plain" or name != "plan"}
    if form == "plain":
        model = build_plain(labels, **shown)
    else:
        model = build_phl(labels, fused=form == "fused", **shown)
    built = time.perf_counter() - start
    images = np.random.default_rng(0).normal(size=(BATCH, *model.input_shape[1:]))
    images = images.astype("float32")
    targets = keras.utils.to_categorical(np.arange(BATCH) % count, count)
    model.compile("sgd", "categorical_crossentropy")
    _CALLS[form] = calls = {
        "ms, batch 1": lambda: model.predict_on_batch(images[:1]),
        "ms, batch 16": lambda: model.predict_on_batch(images),
    }
    if train:
        calls["training step ms"] = lambda: model.train_on_batch(images, targets)
    first = {name: seconds_of(call) for name, call in calls.items()}
    found = {
        "categories": count,
        "form": form,
        "GMACs": cost(model).macs / 1e9,
        "build s": built,
        "first image s": first["ms, batch 1"],
        "first training step s": first.get("training step ms"),
        "peak GiB": peak_memory(),
    }
    return dict.fromkeys(COLUMNS) | found


def time_form(form: str) -> dict[str, float]:
    """Milliseconds of each call of a network that `prepare_form` built in this process."""
    return {name: 1e3 * seconds_of(call) for name, call in _CALLS[form].items()}


def seconds_of(call: Callable) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory() -> float | None:
    """The most memory that this process has used, in GiB, where that is known."""
    found = resident("VmHWM")
    return found and found / 2**30


def measure_scale(
    counts: Sequence[int],
    options: Mapping[str, Any],
    *,
    named_most: int,
    train_most: int,
    repeats: int = 5,
    report: Callable[[list], Any] = print,
) -> list[list]:
    """The table of all forms. Each network has a process of its own; they are timed in turns.

    The ideal is the time that the network's multiply-accumulates take at the rate that the plain
    network of as many categories reaches.

    Args:
        counts: numbers of categories.
        options: arguments of the builders.
        named_most: the largest number to measure named branches with.
        train_most: the largest number to train with.
        repeats: number of turns, of which the median counts.
        report: is called with each row.

    Returns:
        Rows of `COLUMNS`.
    """
    rows, context = [], multiprocessing.get_context("spawn")
    for count in counts:
        forms = [form for form in FORMS if form != "named" or count <= named_most]
        with contextlib.ExitStack() as stack:
            pools = {
                form: stack.enter_context(
                    concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
                )
                for form in forms
            }
            found: dict[str, dict] = {}
            train = count <= train_most
            for form, pool in pools.items():
                made = pool.submit(prepare_form, form, count, options, train=train)
                found[form] = made.result()
            turns = [
                {form: pool.submit(time_form, form).result() for form, pool in pools.items()}
                for _ in range(repeats)
            ]
        for form in forms:
            for name in turns[0][form]:
                found[form][name] = statistics.median(turn[form][name] for turn in turns)
        rate = found["plain"]["GMACs"] / found["plain"]["ms, batch 16"]
        for form in forms:
            found[form]["ideal ms, batch 16"] = found[form]["GMACs"] / rate
            rows.append([rounded(found[form][name]) for name in COLUMNS])
            report(rows[-1])
    return rows


def rounded(value):
    """A number with three digits; anything else as it is."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
