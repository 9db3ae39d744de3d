"""Measured streams: a timeline of a video, and what frames cost."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.plots import drawing


def stream_timeline(rows: Sequence[Mapping], path=None, *, title: str | None = None):
    """Draws a stream on a video, frame by frame: milliseconds, changed and computed shares.

    Args:
        rows: one per frame, with `"ms"`, `"dense_ms"`, `"changed"` and `"computed"` (shares from
            0 to 1). Numbers that were not measured are `None` in all rows.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> rows = [{"ms": 5.0, "dense_ms": 9.0, "changed": 0.01, "computed": 0.2}]
    >>> figure = stream_timeline(rows, "watch.png")
    """

    def values(key: str) -> list:
        found = [row[key] for row in rows]
        return [] if all(value is None for value in found) else found

    figure = drawing.new_figure(8, 5)
    top, bottom = figure.subplots(2, 1, sharex=True)
    times = (("ms", "selective", drawing.BLUE), ("dense_ms", "dense", drawing.VERMILION))
    for key, label, color in times:
        if milliseconds := values(key):
            top.plot(milliseconds, color=color, label=label, lw=1)
    top.set(ylabel="ms per frame", yscale="log")
    drawing.legend(top)
    if values("changed"):
        for key, color in (("changed", drawing.GREEN), ("computed", drawing.ORANGE)):
            bottom.plot([100 * share for share in values(key)], color=color, label=key, lw=1)
        drawing.legend(bottom)
    bottom.set(ylabel="% of a dense run", xlabel="frame")
    return drawing.finish(figure, path, title)


def stream_costs(results: Sequence[Mapping], path=None, *, title: str | None = None):
    """Draws what frames cost cutouts on a stream, over frames and over the computed share.

    Args:
        results: one per cutout, with `"categories"` (how many), the medians in milliseconds of
            `"dense"` runs of the cutout and of the `"whole"` network, and `"per_frame"`: `"ms"`
            of the stream and the share of the arithmetic that was `"computed"`, of every frame.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> frames = {"ms": [3.1, 2.5], "computed": [0.4, 0.3]}
    >>> figure = stream_costs([{"categories": 5, "dense": 9, "whole": 12, "per_frame": frames}])
    """
    figure = drawing.new_figure(9.5, 4)
    by_frame, by_share = figure.subplots(1, 2, sharey=True)
    for result, (color, marker, _) in zip(results, itertools.cycle(drawing.STYLES), strict=False):
        count = result["categories"]
        name = f"{count} categor{'y' if count == 1 else 'ies'}"
        milliseconds = result["per_frame"]["ms"]
        by_frame.plot(milliseconds, color=color, lw=1, label=f"{name}, stream")
        by_frame.axhline(result["dense"], color=color, ls="--", label=f"{name}, dense")
        shares = 100 * np.array(result["per_frame"]["computed"])
        by_share.plot(shares, milliseconds, marker, color=color, markersize=4, label=name)
    whole = float(np.median([result["whole"] for result in results]))
    by_frame.axhline(whole, color="0.4", ls=":", label="whole network, dense")
    by_frame.set(xlabel="frame", ylabel="milliseconds per frame", ylim=(0, None))
    by_share.set(xlabel="arithmetic of a dense run that was done (%)", xlim=(0, None))
    for axes in (by_frame, by_share):
        axes.grid(color="0.9")
        drawing.legend(axes)
    return drawing.finish(figure, path, title)
