"""What it costs to ask a fused network for another subset of its categories."""

import contextlib
import functools
import itertools
import statistics
import time
import unittest.mock
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.surgery.cutout import cutout
from keras_seqpar.surgery.switching import SubsetPredictor

COLUMNS = (
    *("backend", "categories asked", "ms, cutout", "ms, same subset", "ms, another each time"),
    *("switching costs, ms", "MiB more after 1,000 switches", "traced in them"),
)


def measure_switching(
    model: keras.Model,
    sizes: Sequence[int],
    *,
    turns: int = 100,
    switches: int = 1000,
    report: Callable[[list], object] = print,
) -> list[list]:
    """The table: for each size, one image, with subsets drawn at random.

    A cutout of a subset, the predictor with this subset, and the predictor with another one each
    time take turns; medians are taken. Then the predictor switches on: `turns` times to compile
    what was not yet, and `switches` times more, between which memory is compared.

    Args:
        model: a fused network.
        sizes: numbers of categories to ask for.
        turns: how often each is measured.
        switches: how many more subsets to ask for, while the memory of the process is watched.
        report: is called with each row.

    Returns:
        Rows of `COLUMNS`. Switching costs what another subset takes more than the same one does.
    """
    import psutil

    names = model.get_layer("categories").hierarchy.categories
    image = np.random.default_rng(0).normal(size=(1, *model.input_shape[1:])).astype("float32")
    predictor, process, rows = SubsetPredictor(model), psutil.Process(), []
    for size in sizes:
        draw = np.random.default_rng(size)
        subsets = ([*draw.choice(names, size, replace=False)] for _ in itertools.count())
        first = next(subsets)
        small = cutout(model, first)
        calls: dict[str, Callable] = {
            "cutout": lambda small=small: small.predict_on_batch(image),
            "same": lambda first=first: predictor.predict(image, first),
            "other": lambda subsets=subsets: predictor.predict(image, next(subsets)),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(turns + 10):  # the first ones compile
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if turn >= 10:
                    times[name].append(1e3 * (time.perf_counter() - start))
        for _ in range(turns):
            calls["other"]()
        before = process.memory_info().rss
        with _traces() as traces:
            for _ in range(switches):
                calls["other"]()
        growth = (process.memory_info().rss - before) / 2**20
        alone, same, other = (statistics.median(found) for found in times.values())
        row = [keras.backend.backend(), size, alone, same, other, other - same, growth]
        row.append(None if keras.backend.backend() == "torch" else len(traces))
        rows.append([round(x, 2) if isinstance(x, float) else x for x in row])
        report(rows[-1])
    return rows


@contextlib.contextmanager
def _traces() -> Iterator[list]:
    """Lists the banks that are traced meanwhile. Torch traces nothing, and calls them each time."""
    found: list[Bank] = []

    @functools.wraps(call := Bank.call)
    def noted(self, *args, **kwargs):
        found.append(self)
        return call(self, *args, **kwargs)

    with unittest.mock.patch.object(Bank, "call", noted):
        yield found
