"""Segmentation of images that change in a box: a file whole, its stream, and its region streams.

Needs NumPy and an interpreter only.
"""

import functools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.benchmarking.rivals import DenseFile, timed
from keras_seqpar.selective.regions import region_stream
from keras_seqpar.selective.streams import stream

DENSE, STREAM = "dense", "stream"


class SceneRivals:
    """Ways to give every pixel of a frame a class with one file.

    Args:
        path: the file, which takes pixels.
        margins: of the region streams.
        threads: CPU threads of each.
        **options: further arguments of all streams.
    """

    def __init__(
        self, path: str | Path, margins: Sequence[int | str], *, threads: int = 1, **options
    ):
        self.name, self.threads = Path(path).name, threads
        self._dense = DenseFile(path, threads)
        self.streams: dict[str, Any] = {STREAM: stream(path, num_threads=threads, **options)}
        for margin in margins:
            self.streams[f"regions, margin {margin}"] = region_stream(
                path, margin=margin, num_threads=threads, **options
            )

    def given(self, image: np.ndarray) -> np.ndarray:
        """An image of uint8 as the file takes it."""
        dense = self._dense
        if dense.dtype.kind == "f" or dense.dtype == image.dtype:
            return image.astype(dense.dtype)
        return dense.scale.values(image, dense.dtype)

    def dense(self, frame: np.ndarray) -> np.ndarray:
        """The classes `(rows, columns)` that the whole file gives."""
        return _classes(self._dense(frame)[0])


def measure_pasted(
    rivals: SceneRivals, images: np.ndarray, share: float, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Measures images with a box of another one pasted in at a random place.

    Every rival has seen the image before. They run in turns, another one first for every image.

    Args:
        rivals: of one file.
        images: `(n, height, width, channels)` uint8, of the file's size.
        share: of the area that is pasted.
        seed: of the places.

    Returns:
        A row of `scene_table` per rival: its median milliseconds (`ms`), how many times faster
        than dense it is by the medians (`faster`), the mean and the smallest share of positions
        with the class of the whole file (`agreement`, `least`), and the means of the share of the
        arithmetic that it did (`computed`) and of the number of its boxes.
    """
    rng = np.random.default_rng([seed, round(1e6 * share)])
    times: dict[str, list[float]] = {name: [] for name in (DENSE, *rivals.streams)}
    agreement: dict[str, list[float]] = {name: [] for name in times}
    stats: dict[str, list[Any]] = {name: [] for name in rivals.streams}
    for i, image in enumerate(images):
        box = random_box(rng, share, image.shape[:2])
        changed = image.copy()
        changed[box] = images[(i + int(rng.integers(1, max(2, len(images))))) % len(images)][box]
        before, frame = rivals.given(image), rivals.given(changed)
        expected = rivals.dense(frame)
        for name in np.roll(list(times), i).tolist():
            if name == DENSE:
                found = timed(rivals.dense, frame, times[name])
            else:
                rival = rivals.streams[name]
                rival(before)
                found = timed(functools.partial(_run, rival), frame, times[name])
                stats[name].append(found[1].stats)
                found = found[0]
            agreement[name].append(float((found == expected).mean()))
    medians = {name: statistics.median(found) for name, found in times.items()}
    return [
        {
            "what": f"{share:.0%} pasted",
            "file": rivals.name,
            "threads": rivals.threads,
            "rival": name,
            "frames": len(images),
            "ms": medians[name],
            "faster": medians[DENSE] / medians[name],
            "agreement": statistics.mean(agreement[name]),
            "least": min(agreement[name]),
            "computed": statistics.mean([1 - x.saved for x in stats.get(name, ())] or [1.0]),
            "boxes": statistics.mean([len(x.boxes) for x in stats.get(name, ())] or [0]),
        }
        for name in times
    ]


def random_box(rng: np.random.Generator, share: float, shape: Sequence[int]) -> tuple[slice, slice]:
    """A box of the frame's proportions at a random place, as two slices.

    Args:
        rng: source of the place.
        share: of the frame's area.
        shape: `(height, width)` of the frame.
    """
    sides = [max(1, round(size * share**0.5)) for size in shape]
    starts = [
        int(rng.integers(0, size - side + 1)) for size, side in zip(shape, sides, strict=True)
    ]
    rows, columns = (slice(a, a + side) for a, side in zip(starts, sides, strict=True))
    return rows, columns


def scene_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| file | threads | | rival | ms | times faster | agreement | least | computed | boxes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {x['file']} | {x['threads']} | {x['what']} | {x['rival']} | {x['ms']:.2f} | "
        f"{x['faster']:.2f} | {x['agreement']:.2%} | {x['least']:.2%} | {x['computed']:.1%} | "
        f"{x['boxes']:.1f} |"
        for x in rows
    ]
    return "\n".join(lines)


def _run(rival, frame: np.ndarray) -> tuple[np.ndarray, Any]:
    """The classes that a stream gives, and its result."""
    result = rival(frame)
    return _classes(result.output), result


def _classes(output: np.ndarray) -> np.ndarray:
    """The class of every position of an output of classes or of scores, of one frame."""
    found = output[0]
    if found.ndim == 2:
        return found
    return found[..., 0] > 0.5 if found.shape[-1] == 1 else found.argmax(-1)
