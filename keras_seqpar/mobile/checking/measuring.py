"""Measures .tflite files on this machine: load time, first run, latency, memory.

Needs NumPy and an interpreter only.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.mobile.checking.benchmark import Benchmark, Result
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.mobile.runtime.runner import Runner
from keras_seqpar.utils.memory import resident

PROBES = 3  # fresh processes per file and number of threads; the median of each number is taken
PROBE_RUNS = 5  # in each of them, so that the memory is that of running, too
WARM_UP = 3  # runs at the beginning of every turn that are not counted


def measure(
    benchmark: Benchmark,
    folder: str | os.PathLike,
    *,
    threads: Sequence[int] = (1, 2, 4),
    rounds: int = 10,
    runs: int = 20,
    interpreter: str | None = None,
) -> Benchmark:
    """Measures all files of a benchmark on this machine.

    Load time, first latency and memory are medians over three fresh processes per file, without
    Keras and TensorFlow. Load time is that of `Runner(file)`: reading, checking, allocating,
    packing of weights. Memory is the peak resident memory of loading and five runs minus the
    resident memory before, from /proc/self/status, therefore on Linux only. It includes the pages
    of the interpreter's code that are touched.

    Latency is measured in this process with all files loaded, in turns, so that the load of the
    machine is the same for all: in each round every file runs `runs` times, after three runs that
    do not count. The result is the median of the rounds' medians, input and output included.

    Args:
        benchmark: from `keras_seqpar.mobile.checking.benchmark_files.make`, or `read`.
        folder: the folder of its files.
        threads: numbers of CPU threads.
        rounds: number of turns that every file has.
        runs: number of runs in a turn.
        interpreter: as for `Runner`.

    Returns:
        The benchmark with results.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged; threads, rounds or runs are not whole numbers above 0.
        ImportError: no interpreter is installed.
        RuntimeError: a process failed; the message has the end of its output.

    Example:

    >>> measured = measure(files, ".", threads=[1], rounds=1, runs=5)
    >>> measured.results[0].file, measured.results[0].latency_ms > 0
    ('pets.tflite', True)
    """
    for name, values in (("threads", threads), ("rounds", [rounds]), ("runs", [runs])):
        wrong = [v for v in values if isinstance(v, bool) or not isinstance(v, int) or v < 1]
        if wrong or not values:
            first = repr(wrong[0]) if wrong else "none"
            raise ValueError(f"{name} must be whole numbers of 1 or more, got {first}.")
    paths = [Path(folder) / file.name for file in benchmark.files]
    found: list[Result] = []
    for count in dict.fromkeys(threads):
        loaded = [Runner(path, threads=count, interpreter=interpreter) for path in paths]
        probes = [
            [in_own_process(__name__, "probe", str(path), count, interpreter) for path in paths]
            for _ in range(PROBES)
        ]
        turns = [[np.median(r.latency(runs, WARM_UP)) for r in loaded] for _ in range(rounds)]
        latencies = np.median(turns, axis=0)
        for i, file in enumerate(benchmark.files):
            load, first, memory = zip(*(probe[i] for probe in probes), strict=True)
            found.append(
                Result(
                    file.name,
                    f"{loaded[i].interpreter}, {platform.machine()}",
                    count,
                    float(np.median(load)),
                    float(np.median(first)),
                    float(latencies[i]),
                    None if None in memory else int(np.median(memory)),
                )
            )
    return benchmark.with_results(found)


# Keras is blocked, as on a device without it: the process stays small.
_PROBE = """
import importlib, json, sys
sys.modules["keras"] = None
module, function, arguments = json.loads(sys.argv[1])
print(json.dumps(getattr(importlib.import_module(module), function)(*arguments)))
"""


def in_own_process(module: str, function: str, *arguments) -> Any:
    """Calls a function in a new process without Keras, so that its memory is its own.

    Args:
        module: dotted name of a module that needs NumPy and an interpreter only.
        function: name of a function in it; it returns what `json.dumps` takes.
        *arguments: likewise.

    Returns:
        What the function returns.

    Raises:
        RuntimeError: the process failed; the message has the end of its output.
    """
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, json.dumps([module, function, arguments])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        message = done.stderr.strip()[-500:] or "it printed no error"
        raise RuntimeError(f"Measuring {arguments[0]} ended with {done.returncode}: {message}")
    return json.loads(done.stdout.splitlines()[-1])


def probe(path: str, threads: int, interpreter: str | None) -> tuple[float, float, int | None]:
    """Loads and runs a file; call it once per process.

    Returns:
        Milliseconds of loading and of the first run, and the bytes of memory as for `measure`.
    """
    find_interpreter(interpreter)  # imports it
    before = resident("VmRSS")
    start = time.perf_counter()
    runner = Runner(path, threads=threads, interpreter=interpreter)
    load = 1e3 * (time.perf_counter() - start)
    first = float(runner.latency(PROBE_RUNS, 0)[0])
    peak = resident("VmHWM")
    return load, first, None if before is None or peak is None else peak - before
