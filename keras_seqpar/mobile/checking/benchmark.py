"""What cutouts cost on a device: size, load time, latency and memory, beside the plain network.

The files are made by `keras_seqpar.mobile.checking.benchmark_files.make`. Measuring, reading and
printing need NumPy and an interpreter only, so a folder of files with its JSON can be measured on
another device; for phones, see `keras_seqpar.mobile.checking.phone`.
"""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.mobile.runtime.runner import Runner
from keras_seqpar.utils.files import write_file

FORMAT = 1  # of the JSON file
PROBES = 3  # fresh processes per file and thread count; of each number the median is taken
PROBE_RUNS = 5  # in each of them, so that the memory is that of running, too
WARM_UP = 3  # runs that are not counted, whenever the turn is a file's
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class File:
    """One .tflite file of a benchmark.

    Args:
        name: in its folder.
        categories: how many it names.
        plain: it holds the plain network; otherwise a cutout.
        macs: multiply-accumulates for one image, as `keras_seqpar.cost` counts them.
        bytes: its size.
    """

    name: str
    categories: int
    plain: bool
    macs: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured of a file on a device with so many threads.

    Args:
        file: its name.
        device: the interpreter and the kind of processor, or the name of a phone.
        threads: CPU threads of the interpreter.
        load_ms: from nothing to allocated tensors, in a fresh process.
        first_ms: the first run after that.
        latency_ms: a run later on: the median.
        memory: bytes by which the process's peak resident memory lies above what was resident
            before loading; `None` where that cannot be known.
        averaged: `latency_ms` is the mean, since the tool gave no median.
    """

    file: str
    device: str
    threads: int
    load_ms: float
    first_ms: float
    latency_ms: float
    memory: int | None
    averaged: bool = False


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Files and what was measured of them; `print` shows a Markdown table.

    Args:
        network: name of the network.
        quantization: of the files.
        files: the plain network's first, then the cutouts', small ones first.
        results: none before `measure`.
    """

    network: str
    quantization: str
    files: tuple[File, ...]
    results: tuple[Result, ...] = ()

    def rows(self) -> list[dict]:
        """Returns files and results joined, in the order of the table.

        Returns:
            One dict per result, with the fields of `File` and `Result` and with `ideal_ms`: the
            plain network's latency on that device and with as many threads, times the file's
            share of the plain network's MACs; `None` where the plain network was not measured.
        """
        files = {file.name: file for file in self.files}
        places = {name: place for place, name in enumerate(files)}
        plain = {(r.device, r.threads): r for r in self.results if files[r.file].plain}
        devices = list(dict.fromkeys(result.device for result in self.results))
        found = []
        for result in sorted(
            self.results, key=lambda r: (devices.index(r.device), r.threads, places[r.file])
        ):
            file, base = files[result.file], plain.get((result.device, result.threads))
            ideal = base and base.latency_ms * file.macs / files[base.file].macs
            facts = {**dataclasses.asdict(file), **dataclasses.asdict(result)}
            found.append({**facts, "ideal_ms": ideal})
        return found

    def with_results(self, results: Sequence[Result]) -> "Benchmark":
        """Returns the benchmark with results added; those of the same devices are replaced."""
        devices = {result.device for result in results}
        kept = [result for result in self.results if result.device not in devices]
        return dataclasses.replace(self, results=(*kept, *results))

    def __str__(self) -> str:
        titles = (
            *("device", "threads", "network", "MACs (M)", "bytes", "load (ms)", "first (ms)"),
            *("latency (ms)", "ideal (ms)", "of ideal", "memory (MiB)"),
        )
        lines = [f"{self.network}, {self.quantization}", "", _line(titles), _line(["---"] * 11)]
        for row in self.rows():
            ideal, memory, count = row["ideal_ms"], row["memory"], row["categories"]
            what = "plain network" if row["plain"] else f"cutout, {count}"
            latency = f"{row['latency_ms']:.2f}" + (" (mean)" if row["averaged"] else "")
            lines.append(
                _line(
                    (
                        *(row["device"], row["threads"], what, f"{row['macs'] / 1e6:.1f}"),
                        *(f"{row['bytes']:,}", f"{row['load_ms']:.2f}", f"{row['first_ms']:.2f}"),
                        *(latency, f"{ideal:.2f}" if ideal else "-"),
                        f"{row['latency_ms'] / ideal:.2f}" if ideal else "-",
                        "-" if memory is None else f"{memory / MIB:.1f}",
                    )
                )
            )
        return "\n".join(lines)


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

    Load time, first latency and memory are medians over three fresh processes per file, in which
    neither Keras nor TensorFlow is loaded. Load time is that of `Runner(file)`: reading, checking,
    allocating, packing of weights. Memory is the peak resident memory of loading and five runs
    minus what was resident before, from /proc/self/status, so on Linux only; pages of the
    interpreter's code that are touched count as well.

    Latency is measured in this process with all files loaded, in turns, so that all see the same
    load of the machine: in each round every file runs `runs` times after three runs that do not
    count. It is the median over the rounds of the rounds' medians, input and output included.

    Args:
        benchmark: from `keras_seqpar.mobile.checking.benchmark_files.make`, or `read`.
        folder: where its files lie.
        threads: numbers of CPU threads.
        rounds: how often every file has its turn.
        runs: how many runs a turn has.
        interpreter: as for `Runner`.

    Returns:
        The benchmark with results.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a damaged file; threads, rounds or runs that are no whole numbers above 0.
        ImportError: no interpreter is installed.
        RuntimeError: a process failed; the message holds what it said.

    Example:

    >>> print(measure(make(model, plain_network(model, "resnet18"), "out"), "out"))
    """
    for name, values in (("threads", threads), ("rounds", [rounds]), ("runs", [runs])):
        wrong = [v for v in values if isinstance(v, bool) or not isinstance(v, int) or v < 1]
        if wrong or not values:
            first = repr(wrong[0]) if wrong else "none"
            raise ValueError(f"{name} must be whole numbers of 1 or more, got {first}.")
    paths = [Path(folder) / file.name for file in benchmark.files]
    found = []
    for count in dict.fromkeys(threads):
        loaded = [Runner(path, threads=count, interpreter=interpreter) for path in paths]
        probes = [[_probed(path, count, interpreter) for path in paths] for _ in range(PROBES)]
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


def write(benchmark: Benchmark, path: str | os.PathLike) -> None:
    """Writes a benchmark as JSON, whole or not at all; its rows as `rows` returns them, too."""
    facts = {"format": FORMAT, **dataclasses.asdict(benchmark), "rows": benchmark.rows()}
    write_file(path, json.dumps(facts, indent=1) + "\n")


def read(path: str | os.PathLike) -> Benchmark:
    """Reads what `write` has written.

    Raises:
        ValueError: there is no such file, or it is none of `write`.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}: measure a network first.")
    try:
        facts = json.loads(path.read_text("utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']!r}, wanted is {FORMAT}")
        files = tuple(File(**file) for file in facts["files"])
        results = tuple(Result(**result) for result in facts["results"])
        if unknown := {r.file for r in results} - {file.name for file in files}:
            raise ValueError(f"it has results of {', '.join(sorted(unknown))}, but no such file")
        return Benchmark(facts["network"], facts["quantization"], files, results)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no benchmark: {error}. Measure again.") from error


def _line(cells: Sequence) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


# As on a device without Keras, so that the process is small and soon there.
_PROBE = """
import json, sys
sys.modules["keras"] = None
from keras_seqpar.mobile.checking import benchmark
print(json.dumps(benchmark.probe(sys.argv[1], int(sys.argv[2]), sys.argv[3] or None)))
"""


def _probed(path: Path, threads: int, interpreter: str | None) -> tuple:
    """What `probe` finds in a process of its own."""
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(path), str(threads), interpreter or ""],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip()[-500:] or "nothing"
        raise RuntimeError(f"Measuring {path} ended with {done.returncode} and said: {said}")
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def probe(path: str, threads: int, interpreter: str | None) -> tuple[float, float, int | None]:
    """Loads and runs a file; call it once per process.

    Returns:
        Milliseconds of loading and of the first run, and the bytes of memory as for `measure`.
    """
    find_interpreter(interpreter)  # imports it
    before = _resident("VmRSS")
    start = time.perf_counter()
    runner = Runner(path, threads=threads, interpreter=interpreter)
    load = 1e3 * (time.perf_counter() - start)
    first = float(runner.latency(PROBE_RUNS, 0)[0])
    peak = _resident("VmHWM")
    return load, first, None if before is None or peak is None else peak - before


def _resident(key: str) -> int | None:
    """Bytes of resident memory: now, VmRSS, or at most so far, VmHWM (proc_pid_status(5))."""
    # getrusage's ru_maxrss would be wrong: in a process that was started without a copy of its
    # parent's memory (vfork), it begins at the parent's peak.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # no Linux
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return 1024 * int(values[0]) if values else None
