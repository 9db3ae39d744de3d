"""Measured accuracy: over cost, over the gain, per category, and of rejection."""

import io
import itertools
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.plots import drawing

MOST_NUMBERS = 20  # beyond so many categories a confusion matrix shows colors only
MOST_NAMES = 250  # beyond so many, numbers of categories


def pareto(
    points: Sequence[Mapping],
    path=None,
    *,
    cost: str = "multiply-accumulates (MACs) per image",
    title: str | None = None,
):
    """Draws accuracy against cost: cutouts beside plain networks.

    A line joins the best points of each group: those that are more accurate than all cheaper ones.

    Args:
        points: one mapping per network: `"name"`, `"group"` (for example "cutouts"), `"cost"`
            above 0, and `"top1"` from 0 to 1.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        cost: label of the axis: what the costs are, with their unit.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: no point, one that lacks something or has an impossible value, or a kind of
            file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = pareto([{"name": "5 of 10", "group": "cutouts", "cost": 3.6e9, "top1": 0.96}])
    """
    if not points:
        raise ValueError("Give at least one point: name, group, cost and top1 of a network.")
    for point in points:
        _need(point, ("name", "group", "cost", "top1"), "A point")
        if not point["cost"] > 0 or not 0 <= point["top1"] <= 1:
            raise ValueError(f"cost must be above 0 and top1 from 0 to 1, got {dict(point)}.")
    from matplotlib.ticker import EngFormatter

    figure = drawing.new_figure(6.5, 4.2)
    axes = figure.subplots()
    middle = (min(p["cost"] for p in points) + max(p["cost"] for p in points)) / 2
    for i, group in enumerate(dict.fromkeys(point["group"] for point in points)):
        color, marker, line = drawing.STYLES[i % len(drawing.STYLES)]
        in_group = [point for point in points if point["group"] == group]
        best = _frontier(in_group)
        axes.plot([p["cost"] for p in best], _percent(p["top1"] for p in best), line, color=color)
        costs, top1 = [p["cost"] for p in in_group], _percent(p["top1"] for p in in_group)
        axes.plot(costs, top1, marker, color=color, label=str(group))
        for point in in_group:
            left = point["cost"] <= middle  # names extend towards the middle
            axes.annotate(
                str(point["name"]),
                (point["cost"], 100 * point["top1"]),
                (4 if left else -4, 4),
                textcoords="offset points",
                ha="left" if left else "right",
                fontsize=8,
                parse_math=False,
            )
    axes.set_xlabel(cost)
    axes.set_ylabel("top-1 accuracy (%)")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.margins(0.12)
    axes.grid(color="0.9")
    drawing.legend(axes)
    return drawing.finish(figure, path, title)


def attention(sweeps: Mapping | Sequence[Mapping], path=None, *, title: str | None = None):
    """Draws top-1 against the gain: right cue with its peak, wrong cue, inhibition.

    Args:
        sweeps: one sweep, or several that are drawn side by side, as `recipes/attention.py`
            writes them. Each has `"gains"`, `"right"` and `"wrong"` (top-1 from 0 to 1 at each
            gain), `"neutral"` (top-1 without gains), and optionally `"name"`, `"peak"` and
            `"inhibition"` with `"gains"`, `"top1"` and `"absent"`, the number of categories
            inhibited.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: no sweep, one that lacks something, or a kind of file that matplotlib does
            not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> sweep = {"gains": [0.5, 1, 2], "right": [0.5, 0.8, 0.9], "wrong": [0.8, 0.8, 0.7],
    ...          "neutral": 0.8}
    >>> figure = attention(sweep, "attention.png")
    """
    sweeps = [sweeps] if isinstance(sweeps, Mapping) else list(sweeps)
    if not sweeps:
        raise ValueError("Give at least one sweep, as recipes/attention.py --json writes them.")
    for sweep in sweeps:
        _need(sweep, ("gains", "neutral", "right", "wrong"), "A sweep")
    columns = min(len(sweeps), 3)
    rows = -(-len(sweeps) // columns)
    figure = drawing.new_figure(5 * columns + 0.5, 4 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for row in panels:
        row[0].set_ylabel("top-1 accuracy (%)")
    for axes in panels.flat[len(sweeps) :]:
        axes.set_axis_off()
    for axes, sweep in zip(panels.flat, sweeps, strict=False):
        gains, right = np.array(sweep["gains"]), np.array(sweep["right"])
        axes.axhline(100 * sweep["neutral"], color="0.5", lw=1, label="no gains")
        lines = [("right cue", gains, right), ("wrong cue", gains, sweep["wrong"])]
        if inhibition := sweep.get("inhibition"):
            text = f"{inhibition['absent']} absent inhibited"
            lines.append((text, inhibition["gains"], inhibition["top1"]))
        for (label, x, y), (color, marker, line) in zip(lines, drawing.STYLES, strict=False):
            if any(value is not None for value in y):
                (drawn,) = axes.plot(x, _percent(y), line, color=color, label=label)
                drawn.set(marker=marker, markersize=3)
        peak = sweep.get("peak") or {"gain": gains[right.argmax()], "top1": right.max()}
        at, top1 = peak["gain"], 100 * peak["top1"]
        axes.plot(at, top1, "*", color="black", markersize=11, zorder=3)
        left = 2 * at <= gains[0] + gains[-1]
        axes.annotate(
            f"peak: {top1:.1f} % at {at:g}",
            (at, top1),
            (-4 if left else 4, 7),
            textcoords="offset points",
            ha="left" if left else "right",
            fontsize=8,
        )
        axes.set_title(str(sweep.get("name", "")), fontsize=9, parse_math=False)
        axes.set_xlabel("gain (factor on the features)")
        axes.margins(y=0.12)
        axes.grid(color="0.9")
        drawing.legend(axes)
    return drawing.finish(figure, path, title)


def confusion(matrix, labels: Sequence[str], path=None, *, title: str | None = None):
    """Draws a confusion matrix: as which category the images of each category are classified.

    Args:
        matrix: `(categories, categories)` counts; a row per true category, a column per
            predicted category. Colors and numbers show each row's shares in %.
        labels: the categories' labels, in the same order. Above 250 of them, their numbers stand
            in their place, since names could not be read.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: no square matrix, not as many labels, values that are no counts, or a kind
            of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = confusion([[48, 2], [5, 45]], ["cat", "dog"], "confusion.png")
    """
    counts = np.asarray(matrix, "float64")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"The matrix must be (categories, categories), got {counts.shape}.")
    if len(labels) != len(counts):
        raise ValueError(f"The matrix has {len(counts)} categories, got {len(labels)} labels.")
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("The matrix must hold counts of 0 or more.")
    shares = 100 * counts / np.maximum(counts.sum(-1, keepdims=True), 1e-30)
    size = min(14.0, 2.5 + 0.42 * len(labels))
    figure = drawing.new_figure(size + 1, size)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    if len(labels) <= MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share < 60 else "black"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=color, size=8)
    if len(labels) <= MOST_NAMES:
        ticks, names = range(len(labels)), [str(label) for label in labels]
        style = {"fontsize": 8 if len(labels) <= 50 else 3, "parse_math": False}
        axes.set_xticks(ticks, names, rotation=90, **style)
        axes.set_yticks(ticks, names, **style)
    axes.set_xlabel("predicted category")
    axes.set_ylabel("true category")
    figure.colorbar(image, ax=axes, label="share of the true category's images (%)")
    return drawing.finish(figure, path, title)


def prediction_panels(images, scores, truth, labels: Sequence[str]):
    """Draws images with what a network says about them.

    Args:
        images: `(images, height, width, 3)` uint8.
        scores: `(images, categories)`, 0 to 1.
        truth: `(images,)` true category indices.
        labels: of the categories.

    Returns:
        The `matplotlib.figure.Figure`. Titles are the predicted labels with their scores; wrong
        ones also have the true label and another color.

    Raises:
        ImportError: matplotlib is not installed.
    """
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure = drawing.new_figure(2.2 * columns, 2.4 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, image, score, true in zip(panels, images, scores, truth, strict=False):
        best = int(score.argmax())
        text = f"{textwrap.shorten(labels[best], 24)} {score[best]:.0%}"
        if best != true:
            text += f"\nnot {textwrap.shorten(labels[true], 24)}"
        color = drawing.BLUE if best == true else drawing.VERMILION
        axes.imshow(image)
        axes.set_title(text, fontsize=8, color=color, parse_math=False)
    return figure


def draw_predictions(images, scores, truth, labels: Sequence[str]) -> bytes:
    """The figure of `prediction_panels` as a PNG file, for TensorBoard."""
    content = io.BytesIO()
    prediction_panels(images, scores, truth, labels).savefig(content, format="png", dpi=80)
    return content.getvalue()


def rejection(
    curves: Mapping[str, tuple],
    points: Mapping[str, tuple[float, float]] | None = None,
    path=None,
    *,
    title: str | None = None,
):
    """Draws ROC curves of scores that tell in-distribution from out-of-distribution images.

    Args:
        curves: score -> two arrays of the same length: the shares of out-of-distribution and
            of in-distribution images that are kept, threshold by threshold.
        points: score -> the same two shares at the threshold in use.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = rejection({"energy": ([0, 0.2, 1], [0, 0.9, 1])}, {"energy": (0.2, 0.9)})
    """
    figure = drawing.new_figure(4.8, 4.5)
    axes = figure.subplots()
    for (score, curve), (color, marker, line) in zip(
        curves.items(), itertools.cycle(drawing.STYLES), strict=False
    ):
        axes.plot(*curve, line, color=color, label=score)
        if points and score in points:
            axes.plot(*points[score], marker, color=color)
    axes.plot([0, 1], [0, 1], ":", color="0.6")
    axes.set(xlabel="out-of-distribution images kept", ylabel="in-distribution images kept")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(color="0.9")
    drawing.legend(axes)
    return drawing.finish(figure, path, title)


def _frontier(points: Sequence[Mapping]) -> list[Mapping]:
    """The points that are more accurate than all cheaper ones, cheapest first."""
    best: list[Mapping] = []
    for point in sorted(points, key=lambda p: (p["cost"], -p["top1"])):
        if not best or point["top1"] > best[-1]["top1"]:
            best.append(point)
    return best


def _percent(values) -> list[float]:
    return [np.nan if value is None else 100 * value for value in values]


def _need(item, keys: Sequence[str], what: str) -> None:
    missing = [key for key in keys if not isinstance(item, Mapping) or key not in item]
    if missing:
        raise ValueError(f"{what} needs {', '.join(keys)}; {', '.join(missing)} missing: {item!r}.")
