"""How building, running and training grow with the number of categories, in either form."""

import concurrent.futures.process
import contextlib
import multiprocessing
import signal
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
INFERENCE, TRAINING = ("ms, batch 1", "ms, batch 16"), ("training step ms",)


def prepare_form(form: str, count: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Builds one network, compiled as Keras does by default, and predicts for the first time.

    Args:
        form: one of `FORMS`: the plain network, or PHL with named or fused branches.
        count: number of categories.
        options: arguments of the builders.

    Returns:
        Values of `COLUMNS`, `None` for what was not measured. The memory is the process's.
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
        "training step ms": lambda: model.train_on_batch(images, targets),
    }
    first = [seconds_of(calls[name]) for name in INFERENCE]
    return dict.fromkeys(COLUMNS) | {
        "categories": count,
        "form": form,
        "GMACs": cost(model).macs / 1e9,
        "build s": built,
        "first image s": first[0],
        "peak GiB": peak_memory(),
    }


def start_training(form: str, limit: float) -> dict[str, float | None]:
    """The first step of a network that `prepare_form` built in this process.

    Args:
        form: its form.
        limit: seconds after which the process ends itself; 0 for never.
    """
    if limit:
        signal.setitimer(signal.ITIMER_REAL, limit)  # also in the middle of a compilation
    seconds = seconds_of(_CALLS[form]["training step ms"])
    if limit:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {"first training step s": seconds, "peak GiB": peak_memory()}


def time_form(form: str, names: Sequence[str]) -> dict[str, float]:
    """Milliseconds of some calls of a network that `prepare_form` built in this process."""
    return {name: 1e3 * seconds_of(_CALLS[form][name]) for name in names}


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
    limit: float = 0.0,
    report: Callable[[list], Any] = print,
) -> list[list]:
    """The table of all forms. Each network has a process of its own; they are timed in turns.

    The ideal is the time that the network's multiply-accumulates take at the rate that the plain
    network of as many categories reaches.

    Args:
        counts: numbers of categories.
        options: arguments of the builders.
        named_most: the largest number to measure named branches with.
        train_most: the largest number to train with, in batches of `BATCH` images.
        repeats: number of turns, of which the median counts.
        limit: seconds that a first training step may take; then its row says so. 0 for no limit.
        report: is called with each row.

    Returns:
        Rows of `COLUMNS`.
    """
    rows, context = [], multiprocessing.get_context("spawn")
    for count in counts:
        forms = [form for form in FORMS if form != "named" or count <= named_most]
        found: dict[str, dict] = {}
        with contextlib.ExitStack() as stack:
            pools = {
                form: stack.enter_context(
                    concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
                )
                for form in forms
            }

            def take_turns(names: Sequence[str], pools=pools, found=found) -> None:
                turns = [
                    {form: pool.submit(time_form, form, names).result() for form, pool in each}
                    for each in [[*pools.items()]] * repeats
                ]
                for form in pools:
                    for name in names:
                        found[form][name] = statistics.median(turn[form][name] for turn in turns)

            for form, pool in pools.items():
                found[form] = pool.submit(prepare_form, form, count, options).result()
            take_turns(INFERENCE)
            for form, pool in [*pools.items()] if count <= train_most else []:
                try:
                    found[form] |= pool.submit(start_training, form, limit).result()
                except concurrent.futures.process.BrokenProcessPool:
                    found[form]["first training step s"] = f"more than {limit:g}"
                    del pools[form]
            take_turns(TRAINING if count <= train_most else ())
        rate = found["plain"]["GMACs"] / found["plain"]["ms, batch 16"]
        for form in forms:
            found[form]["ideal ms, batch 16"] = found[form]["GMACs"] / rate
            rows.append([rounded(found[form][name]) for name in COLUMNS])
            report(rows[-1])
    return rows


def rounded(value):
    """A number with three digits; anything else as it is."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
