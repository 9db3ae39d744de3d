"""A network on a video, frame by frame: a row of numbers and an annotated frame for each."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_seqpar.selective.viewers import Prediction, Viewer, draw_panel
from keras_seqpar.utils.growing_file import GrowingFile

MODES = ("selective", "dense", "both")
COLUMNS = (
    *("frame", "time_ms", "mode", "changed", "computed", "ms", "warm_up_ms", "predicted"),
    *("dense_ms", "dense_predicted", "agreement"),
)

Row = dict[str, Any]


def view_frames(
    viewer: Viewer, frames: Iterable[tuple[float, np.ndarray]], mode: str
) -> Iterator[tuple[Row, np.ndarray]]:
    """Runs the network on frames.

    Args:
        viewer: the network.
        frames: the time in milliseconds and the frame, `(height, width, 3)` uint8.
        mode: one of `MODES`: the stream, the dense network, or both.

    Yields:
        A row with the keys `COLUMNS`, `None` for what was not run, and the annotated frame; with
        `"both"` two of them side by side.
    """
    for number, (milliseconds, frame) in enumerate(frames):
        row: Row = dict.fromkeys(COLUMNS) | {"frame": number, "time_ms": float(milliseconds)}
        panels = []
        ours: Prediction | None = None
        theirs: Prediction | None = None
        if mode != "dense":
            ours = viewer.selective(frame)
            row |= {
                "mode": ours.mode,
                "changed": ours.changed,
                "computed": ours.computed,
                "ms": ours.milliseconds,
                "warm_up_ms": ours.warm_up_milliseconds,
                "predicted": viewer.describe(ours),
            }
            title = f"{ours.mode} {ours.milliseconds:.1f} ms, {ours.computed:.0%} computed"
            panels.append(draw_panel(viewer, frame, ours, title))
        if mode != "selective":
            theirs = viewer.dense(frame)
            row |= {"dense_ms": theirs.milliseconds, "dense_predicted": viewer.describe(theirs)}
            title = f"dense {theirs.milliseconds:.1f} ms"
            panels.append(draw_panel(viewer, frame, theirs, title))
        if ours and theirs:
            row["agreement"] = viewer.agreement(ours, theirs)
        yield row, np.concatenate(panels, axis=1)


def show_progress(items: Iterable[Any], expected: int) -> Iterator[Any]:
    """Yields items and draws a progress bar.

    Args:
        items: what to pass on.
        expected: how many there will be; 0 if unknown. There may be more.
    """
    bar = keras.utils.Progbar(expected or None, unit_name="frame")
    for number, item in enumerate(items, 1):
        yield item
        if bar.target and number > bar.target:
            bar = keras.utils.Progbar(None, unit_name="frame")
        bar.update(number)


class CsvWriter:
    """Writes rows as they come to a CSV file, which is complete after each of them.

    An existing file is replaced at the first row. Numbers have 5 digits, times 0.1 ms; fields of
    what was not run are empty.

    Args:
        path: the file.

    Example:

    >>> with CsvWriter(Path("watch.csv")) as lines:
    ...     lines.write(row)
    """

    def __init__(self, path: Path):
        self._file = GrowingFile(path)

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a row with the keys `COLUMNS`.

        Raises:
            OSError: the file cannot be written; it names the file.
        """
        texts = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()}
        texts["time_ms"] = f"{row['time_ms']:.1f}"  # 5 digits end after 100 seconds
        text = io.StringIO()
        lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        if not self._file.is_open:
            lines.writeheader()
        lines.writerow(texts)
        self._file.append(text.getvalue().encode())

    def __enter__(self) -> "CsvWriter":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def summarize(rows: Sequence[Mapping[str, Any]]) -> str:
    """Medians and the mean agreement, in a few lines."""

    def values(key: str) -> list[float]:
        return [row[key] for row in rows if row[key] is not None]

    lines = [f"{len(rows)} frames."]
    if milliseconds := values("ms"):
        lines.append(
            f"Selective: {np.median(milliseconds):.1f} ms, {np.median(values('changed')):.1%} "
            f"changed, {np.median(values('computed')):.1%} computed (medians)."
        )
    if milliseconds := values("dense_ms"):
        lines.append(f"Dense: {np.median(milliseconds):.1f} ms (median).")
    if agreement := values("agreement"):
        lines.append(f"Agreement: {np.mean(agreement):.2%} (mean).")
    return "\n".join(lines)
