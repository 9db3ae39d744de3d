"""Frames of a video with what a network predicts, as a stream and densely."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_seqpar.data.video import opencv
from keras_seqpar.plots.viewing import Prediction, Viewer

MODES = ("selective", "dense", "both")
COLUMNS = (
    *("frame", "time_ms", "mode", "changed", "computed", "ms", "warm_up_ms", "predicted"),
    *("dense_ms", "dense_predicted", "agreement"),
)
CHANGED_COLOR = np.array([255, 40, 40], "float32")


def view_frames(
    viewer: Viewer, frames: Iterable[tuple[float, np.ndarray]], mode: str, dense_every: int = 1
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Runs a network on frames.

    Args:
        viewer: the network.
        frames: the time in milliseconds and the frame, `(height, width, 3)` uint8.
        mode: one of `MODES`: the stream, the dense network, or both.
        dense_every: with `"both"`, frames from one dense run to the next; its panel keeps the last
            prediction meanwhile.

    Yields:
        A row with the keys `COLUMNS`, `None` for what was not run, and the annotated frame; with
        `"both"` two of them side by side.
    """
    theirs: Prediction | None = None
    for number, (milliseconds, frame) in enumerate(frames):
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {"frame": number, "time_ms": float(milliseconds)}
        panels = []
        ours: Prediction | None = None
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
            if theirs is None or mode == "dense" or number % dense_every == 0:
                theirs = viewer.dense(frame)
                row |= {"dense_ms": theirs.milliseconds, "dense_predicted": viewer.describe(theirs)}
                if ours:
                    row["agreement"] = viewer.agreement(ours, theirs)
            title = f"dense {theirs.milliseconds:.1f} ms"
            panels.append(draw_panel(viewer, frame, theirs, title))
        yield row, np.concatenate(panels, axis=1)


def draw_panel(viewer: Viewer, frame: np.ndarray, prediction: Prediction, title: str) -> np.ndarray:
    """A frame with its prediction: changed pixels in red, the title and the prediction as text."""
    cv2 = opencv()
    panel = viewer.draw(frame, prediction).astype("float32")
    if prediction.change_map is not None:
        changed = prediction.change_map
        panel[changed] = 0.4 * panel[changed] + 0.6 * CHANGED_COLOR
    panel[:38] *= 0.4  # dark behind the text
    panel = np.ascontiguousarray(panel.astype("uint8"))
    for i, line in enumerate((title, viewer.describe(prediction))):
        corner = (6, 15 + 16 * i)
        cv2.putText(panel, line, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1)
    return panel
