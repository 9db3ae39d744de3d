"""What cutouts cost on a device: size, load time, latency and memory, beside the plain network.

`benchmark_files.make` makes the files, `measuring.measure` measures them, here or on another device
with NumPy and an interpreter only; `phone` measures on phones. The records are read and written
here.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

from keras_seqpar.utils.files import write_file

FORMAT = 1  # of the JSON file
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
    """What was measured of a file on a device, with one number of threads.

    Args:
        file: its name.
        device: the interpreter and the kind of processor, or the name of a phone.
        threads: CPU threads of the interpreter.
        load_ms: loading the file in a fresh process, until its tensors are allocated.
        first_ms: the first run after loading.
        latency_ms: median of later runs.
        memory: bytes by which the process's peak resident memory is above its resident memory
            before loading; `None` if unknown.
        averaged: `latency_ms` is the mean: the tool gave no median.
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

    Example:

    >>> file = File("pets.tflite", categories=2, plain=False, macs=6_990_000, bytes=241_059)
    >>> Benchmark("pets", "float32", (file,)).rows()  # nothing is measured yet
    []
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
        order = {name: i for i, name in enumerate(files)}
        plain = {(r.device, r.threads): r for r in self.results if files[r.file].plain}
        devices = list(dict.fromkeys(result.device for result in self.results))
        found = []
        for result in sorted(
            self.results, key=lambda r: (devices.index(r.device), r.threads, order[r.file])
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


def write(benchmark: Benchmark, path: str | os.PathLike) -> None:
    """Writes a benchmark as JSON, together with its `rows`.

    Args:
        benchmark: with or without results.
        path: the file to make or replace.

    Raises:
        OSError: writing failed.

    Example:

    >>> write(files, "benchmark.json")
    """
    facts = {"format": FORMAT, **dataclasses.asdict(benchmark), "rows": benchmark.rows()}
    write_file(path, json.dumps(facts, indent=1) + "\n")


def read(path: str | os.PathLike) -> Benchmark:
    """Reads a file of `write`.

    Args:
        path: the file.

    Returns:
        The benchmark.

    Raises:
        ValueError: there is no such file, or it has other content.

    Example:

    >>> write(files, "benchmark.json")
    >>> read("benchmark.json") == files
    True
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
