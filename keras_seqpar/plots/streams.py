"""Measured streams: speed-up by the share of change, a timeline of a video, costs per frame."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.plots import drawing


def stream_speedups(
    runs: Sequence[tuple[str, Sequence[Mapping]]], path=None, *, title: str | None = None
):
    """Draws how many times faster than dense inference streams are, and the bound by their MACs.

    Args:
        runs: name and rows of each run; a row has `"share"` (of the pixels that changed, 0 to
            1), `"dense ms"`, `"selective ms"` and `"bound"` (dense MACs over computed MACs).
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> row = {"share": 0.01, "dense ms": 59.0, "selective ms": 12.7, "bound": 9.5}
    >>> figure = stream_speedups([("resnet50, 512 pixels", [row])])
    """
    figure = drawing.new_figure(7, 4.5)
    axes = figure.subplots()
    for (name, rows), (color, marker, _) in zip(
        runs, itertools.cycle(drawing.STYLES), strict=False
    ):
        shares = [100 * row["share"] for row in rows]
        faster = [row["dense ms"] / row["selective ms"] for row in rows]
        axes.plot(shares, faster, marker=marker, color=color, label=name)
        bounds = [row["bound"] for row in rows]
        axes.plot(shares, bounds, ":", color=color, label="bound by counted MACs")
    axes.axhline(1, color="0.4", lw=1)
    axes.set(xscale="log", xlabel="pixels that changed (%)", ylabel="times faster than dense")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(color="0.9")
    drawing.legend(axes)
    return drawing.finish(figure, path, title)


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
    """Draws the MACs of cutouts on a stream, over frames and over the trunk's computed share.

    Args:
        results: one per cutout, with `"categories"` (how many), `"macs"` of every frame,
            `"macs_dense"` of a dense run, and `"trunk"`, the share of the trunk's output that was
            computed in every frame.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> found = {"categories": 5, "macs": [2e6], "macs_dense": 9e6, "trunk": [0.1]}
    >>> figure = stream_costs([found])
    """
    figure = drawing.new_figure(9.5, 4)
    by_frame, by_share = figure.subplots(1, 2, sharey=True)
    for result, (color, marker, _) in zip(results, itertools.cycle(drawing.STYLES), strict=False):
        count = result["categories"]
        name = f"{count} categor{'y' if count == 1 else 'ies'}"
        macs = np.array(result["macs"]) / 1e6
        by_frame.plot(np.arange(1, len(macs) + 1), macs, color=color, label=f"{name}, stream")
        by_frame.axhline(result["macs_dense"] / 1e6, color=color, ls="--", label=f"{name}, dense")
        shares = 100 * np.array(result["trunk"])
        by_share.plot(shares, macs, marker, color=color, markersize=4, label=name)
    by_frame.set(xlabel="frame", ylabel="million multiply-accumulates per frame", ylim=(0, None))
    by_share.set(xlabel="positions of the trunk's output to compute (%)", xlim=(0, None))
    for axes in (by_frame, by_share):
        axes.grid(color="0.9")
        drawing.legend(axes)
    return drawing.finish(figure, path, title)
