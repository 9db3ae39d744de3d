"""What crops of fixed sizes save: every signature's latency, and streams beside full frames."""

import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.mobile.runtime.crop_stream import CropStream
from keras_seqpar.mobile.runtime.runner import Runner
from keras_seqpar.selective.measuring import average_frames, random_box

TURNS = 10  # of every signature
WARM_UP = 3  # runs in the first turn that are not counted


def measure_signatures(
    path: str | os.PathLike, *, runs: int = 50, threads: int = 1
) -> list[dict[str, Any]]:
    """Measures how long every signature of a file takes, in turns.

    Args:
        path: a file of `convert_crops`.
        runs: number of runs of every signature, over all turns.
        threads: number of CPU threads.

    Returns:
        Per signature its name, its `area` and its `cost` as shares of those of a full frame, and
        the median of its `milliseconds`.
    """
    first = Runner(path, threads=threads)
    runners = [first, *(first.beside(key) for key in first.signatures[1:])]
    times: list[list[float]] = [[] for _ in runners]
    for turn in range(TURNS):
        for runner, found in zip(runners, times, strict=True):
            found += list(runner.latency(max(1, runs // TURNS), warm_up=0 if turn else WARM_UP))
    pixels = [int(np.prod(runner.input_shape[1:3])) for runner in runners]
    medians = [statistics.median(found) for found in times]
    return [
        {
            "signature": runner.signature,
            "area": area / pixels[0],
            "milliseconds": median,
            "cost": median / medians[0],
        }
        for runner, area, median in zip(runners, pixels, medians, strict=True)
    ]


class CropStreamPair:
    """A stream of crops and one of full frames, of one file.

    Args:
        path: a file of `convert_crops`.
        threads: number of CPU threads of both.
        **options: of the stream of crops, as for `CropStream`.
    """

    def __init__(self, path: str | os.PathLike, *, threads: int = 1, **options):
        self.crops = CropStream(path, threads=threads, **options)
        self.full = CropStream(path, margin=0, refresh=1, calibrate=False, threads=threads)

    def __call__(self, frame: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        """Measurements of a frame, as `average_frames` takes them, and the full frame's classes."""
        ours, theirs = self.crops(frame), self.full(frame)
        accepted = self.full(self.crops.accepted).output
        found = {
            "ms": ours.milliseconds,
            "ms_whole": theirs.milliseconds,
            "agreement": float((ours.output == theirs.output).mean()),
            "crop_agreement": float((ours.output == accepted).mean()),
            "changed": ours.changed,
            "recomputed": ours.recomputed,
            "crops": len(ours.boxes),
            "full": ours.mode == "full",
        }
        return found, theirs.output


def measure_pasted(pair: CropStreamPair, images: np.ndarray, share: float) -> dict[str, Any]:
    """Measures images with a rectangle of another one pasted in.

    Args:
        pair: the streams.
        images: `(n, height, width, channels)` in the size of the frames.
        share: of the area that is pasted.

    Returns:
        A row of `table`.
    """
    rng, found = np.random.default_rng(round(1e6 * share)), []
    pair.crops(images[0])  # the first frame measures the signatures
    for i, image in enumerate(images):
        pair.crops.reset()
        pair.crops(image)
        box = random_box(rng, share, image.shape[:2])
        other = images[(i + rng.integers(1, max(2, len(images)))) % len(images)]
        changed = image.copy()
        changed[box] = other[box]
        found.append(pair(changed)[0])
    return {
        "what": f"{share:.0%} pasted",
        "frames": len(found),
        **average_frames(found, "crops"),
    }


def measure_frames(pair: CropStreamPair, frames: Iterable[np.ndarray], name: str) -> dict[str, Any]:
    """Measures the frames of a video.

    Args:
        pair: the streams.
        frames: `(height, width, channels)` each, in the size of the file's frames.
        name: of the video.

    Returns:
        A row of `table`.

    Raises:
        ValueError: there are fewer than two frames.
    """
    found, steady, before = [], [], None
    for frame in frames:
        measured, now = pair(frame)
        found.append(measured)
        if before is not None:
            steady.append(float((now == before).mean()))
        before = now
    found = found[1:]  # the first frame is full in both streams, and measures the signatures
    if not found:
        raise ValueError(f"{name} has fewer than two frames.")
    row = {"what": name, "frames": len(found), **average_frames(found, "crops")}
    return {**row, "from_frame_to_frame": float(np.mean(steady))}


def table(signatures: Sequence[Mapping], changes: Sequence[Mapping]) -> str:
    """The results as two Markdown tables.

    Args:
        signatures: from `measure_signatures`.
        changes: from `measure_pasted` and `measure_frames`.
    """
    lines = ["| signature | area | ms | cost |", "|---|---|---|---|"]
    for x in signatures:
        values = f"{x['area']:.1%} | {x['milliseconds']:.2f} | {x['cost']:.1%}"
        lines.append(f"| {x['signature']} | {values} |")
    head = "frames | changed | recomputed | crops | full | full ms | stream ms | times faster"
    lines += [
        "",
        f"| | {head} | in all | agreement | of crops | from frame to frame |",
        "|---" * 13 + "|",
    ]
    for x in changes:
        steady = f"{x['from_frame_to_frame']:.2%}" if "from_frame_to_frame" in x else "-"
        lines.append(
            f"| {x['what']} | {x['frames']} | {x['changed']:.1%} | {x['recomputed']:.1%} | "
            f"{x['crops']:.1f} | {x['full']:.0%} | {x['ms_whole']:.1f} | {x['ms']:.1f} | "
            f"{x['faster']:.2f} | {x['faster_in_all']:.2f} | {x['agreement']:.2%} | "
            f"{x['crop_agreement']:.2%} | {steady} |"
        )
    return "\n".join(lines)
