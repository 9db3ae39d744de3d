"""Benchmarks on a phone by TensorFlow Lite's own tool, benchmark_model: commands and results.

Where to get the tool, and its arguments: https://ai.google.dev/edge/litert/models/measurement and
the README.md beside its source, tflite/tools/benchmark in github.com/google-ai-edge/LiteRT
(tensorflow/lite/tools/benchmark in TensorFlow, the same tool). What it prints, and in which order:
benchmark_model.cc there. Needs NumPy only.
"""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from keras_seqpar.mobile.checking.benchmark import MIB, Benchmark, Result

FOLDER = "/data/local/tmp"  # where adb may write and run, as in the README
ROUNDS = 3
# The engine and the kernels of keras_seqpar.mobile.Runner. The tool does at least num_runs runs and
# goes on until a second is over.
ARGUMENTS = "--use_xnnpack=true --warmup_runs=3 --num_runs=50"

_N = r"([0-9.]+(?:e[+-]?[0-9]+)?)"
_GRAPH = re.compile(r"\bGraph: \[(.+)\]")  # an argument that every run has
_BEGIN = re.compile(r"STARTING!|Log parameter values verbosely")  # what comes first, above it
_THREADS = re.compile(r"#threads used for CPU inference: \[(-?[0-9]+)\]")
_SIZE = re.compile(rf"input model file size \(MB\): {_N}")
_COUNT = re.compile(rf"\bcount=[0-9]+ .*?(?:\bmedian={_N}|$)")  # older tools print no median
_TIMES = re.compile(
    rf"Inference timings in us: Init: {_N}, First inference: {_N}, Warmup \(avg\): {_N}, "
    rf"Inference \(avg\): {_N}"
)
# On Linux the growth of the peak resident memory, in MiB, whatever the unit is called.
_MEMORY = re.compile(rf"emory footprint[a-z ]* \(MB\): init={_N} overall={_N}")


def commands(
    benchmark: Benchmark,
    folder: str | os.PathLike,
    *,
    threads: Sequence[int] = (1, 2, 4),
    log: str = "phone.log",
) -> str:
    """Writes the commands that measure a benchmark's files on a phone.

    The program `benchmark_model` for the phone must be in the working folder, and adb must be
    connected to the phone. The files run in turns, in three rounds, so that heat and load are the
    same for all.

    Args:
        benchmark: whose files to measure.
        folder: the folder of the files.
        threads: numbers of CPU threads.
        log: the file for the output of the tool, which `with_log` reads.

    Returns:
        A shell script.

    Example:

    >>> script = commands(files, ".")
    >>> "--graph=/data/local/tmp/$file" in script
    True
    """
    paths = " ".join(shlex.quote(str(Path(folder) / file.name)) for file in benchmark.files)
    names = " ".join(shlex.quote(file.name) for file in benchmark.files)
    return f"""\
set -e
adb push benchmark_model {FOLDER}
adb shell chmod +x {FOLDER}/benchmark_model </dev/null
adb push {paths} {FOLDER}
for round in {" ".join(map(str, range(1, ROUNDS + 1)))}; do
  for threads in {" ".join(map(str, threads))}; do
    for file in {names}; do
      adb shell {FOLDER}/benchmark_model --graph={FOLDER}/$file \\
        --num_threads=$threads {ARGUMENTS} </dev/null
    done
  done
done 2>&1 | tee {shlex.quote(log)}
"""


def with_log(benchmark: Benchmark, text: str, *, device: str = "phone") -> Benchmark:
    """Adds the output of benchmark_model to a benchmark.

    Load time is the tool's Init, memory its overall footprint. Latency is the median of its runs,
    or their mean if the tool is too old to print a median. All are medians over the rounds.

    Args:
        benchmark: whose files were measured.
        text: the output of one or more runs, with or without logcat's columns.
        device: how to call the phone in the table.

    Returns:
        The benchmark with results of this device.

    Raises:
        ValueError: no output of the tool; a run that did not finish, or does not print its number
            of threads; a file that the benchmark does not have, or of another size.

    Example:

    >>> log = '''Graph: [/data/local/tmp/pets.tflite]
    ... #threads used for CPU inference: [1]
    ... Inference timings in us: Init: 6, First inference: 3, Warmup (avg): 3, Inference (avg): 2900
    ... '''
    >>> with_log(files, log, device="a phone").results[0].latency_ms
    2.9
    """
    known = {file.name: file for file in benchmark.files}
    groups: dict[tuple[str, int], list[dict]] = {}
    for lines in _runs(text):
        run = _parse(lines)
        name = run["file"]
        if name not in known:
            raise ValueError(
                f"The log is of {name!r}, but the benchmark has the files {', '.join(known)}."
            )
        size, wanted = run["bytes"], known[name].bytes
        if size is not None and abs(size - wanted) > 1e-4 * wanted:  # printed with six digits
            raise ValueError(
                f"{name} had {size:,.0f} bytes on the phone, here it has {wanted:,}: it was of "
                "another benchmark. Push the files again."
            )
        groups.setdefault((name, run["threads"]), []).append(run)
    if not groups:
        raise ValueError(
            "The log has no output of benchmark_model: no line 'Graph: [...]'. Keep all that the "
            "tool prints, standard error included."
        )
    results = []
    for (name, threads), runs in groups.items():
        memory = [run["memory"] for run in runs if run["memory"] is not None]
        results.append(
            Result(
                file=name,
                device=device,
                threads=threads,
                load_ms=_median(runs, "load_ms"),
                first_ms=_median(runs, "first_ms"),
                latency_ms=_median(runs, "latency_ms"),
                memory=int(np.median(memory)) if memory else None,
                averaged=any(run["averaged"] for run in runs),
            )
        )
    return benchmark.with_results(results)


def _median(runs: Sequence[dict], key: str) -> float:
    return float(np.median([run[key] for run in runs]))


def _runs(text: str) -> list[list[str]]:
    """The lines of each run of the tool, from the line with the graph on."""
    runs: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if _GRAPH.search(line):
            runs.append([line])
            inside = True
        elif _BEGIN.search(line):
            inside = False
        elif inside:
            runs[-1].append(line)
    return runs


def _parse(lines: Sequence[str]) -> dict:
    """The numbers of one run."""
    text = "\n".join(lines)

    def find(pattern: re.Pattern) -> tuple[str, ...]:
        found = pattern.search(text)
        return found.groups() if found else ()

    (graph,) = find(_GRAPH)
    file = PurePosixPath(graph).name
    times = [float(value) / 1e3 for value in find(_TIMES)]
    threads = find(_THREADS)
    if not times:
        last = [line.strip() for line in lines if line.strip()][-1]
        raise ValueError(
            f"benchmark_model did not finish on {file}: there is no line 'Inference timings'. The "
            f"last line of that run is {last!r:.200}."
        )
    if not threads or int(threads[0]) < 1:
        found = f"{threads[0]} threads" if threads else "no number of threads"
        raise ValueError(f"The run of {file} names {found}: run the tool with --num_threads.")
    before = text[: _TIMES.search(text).start()]  # type: ignore[union-attr]  # it is there
    medians = [found.group(1) for found in map(_COUNT.search, before.splitlines()) if found]
    median = medians[-1] if medians else None  # the last line counts, those before are warm-up
    size, memory = find(_SIZE), find(_MEMORY)
    return {
        "file": file,
        "threads": int(threads[0]),
        "bytes": 1e6 * float(size[0]) if size else None,
        "load_ms": times[0],
        "first_ms": times[1],
        "latency_ms": float(median) / 1e3 if median else times[3],
        "averaged": median is None,
        "memory": int(MIB * float(memory[1])) if memory else None,
    }
