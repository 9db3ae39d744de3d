"""Measured latency of cutouts by the number of categories that they keep."""

from collections.abc import Sequence

from keras_seqpar.plots import drawing


def latency(benchmark, path=None, *, title: str | None = None):
    """Draws latency against the number of kept categories, one panel per device and thread count.

    Beside the measured cutouts, a horizontal line shows the plain network and a dotted line the
    ideal: the plain network's latency times the cutout's share of its MACs.

    Args:
        benchmark: a `keras_seqpar.mobile.checking.benchmark.Benchmark` with results.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure; by default the network's name and the quantization.

    Returns:
        The `matplotlib.figure.Figure`. The numbers are those of `benchmark.rows()`.

    Raises:
        ValueError: there are no results of cutouts, or a kind of file that matplotlib does not
            know.
        ImportError: matplotlib is not installed.

    Example:

    >>> from keras_seqpar.mobile.checking.benchmark import Benchmark, File, Result
    >>> files = (File("plain.tflite", 2, True, 9_000_000, 4_000_000),
    ...          File("cut_1.tflite", 1, False, 6_000_000, 2_000_000))
    >>> times = (Result("plain.tflite", "a phone", 1, 5.0, 4.0, 3.0, None),
    ...          Result("cut_1.tflite", "a phone", 1, 4.0, 3.0, 2.2, None))
    >>> figure = latency(Benchmark("pets", "int8", files, times), "latency.png")
    """
    rows = benchmark.rows()
    panels: dict[tuple[str, int], list[dict]] = {}
    for row in rows:
        panels.setdefault((row["device"], row["threads"]), []).append(row)
    if not any(not row["plain"] for row in rows):
        raise ValueError("There are no results of cutouts to draw: measure some first.")
    devices = list(dict.fromkeys(device for device, _ in panels))
    threads = sorted({count for _, count in panels})
    figure = drawing.new_figure(1.5 + 3.2 * len(threads), 0.6 + 3.0 * len(devices))
    grid = figure.subplots(len(devices), len(threads), squeeze=False)
    for axes, (device, count) in zip(
        grid.flat, ((d, n) for d in devices for n in threads), strict=True
    ):
        if (device, count) not in panels:
            axes.set_axis_off()
            continue
        _panel(axes, panels[device, count])
        text = f"{device}, {count} thread" + ("s" if count > 1 else "")
        axes.set_title(text, fontsize=9, parse_math=False)
    drawing.legend(next(axes for axes in grid.flat if axes.axison))
    usual = f"{benchmark.network}, {benchmark.quantization}"
    return drawing.finish(figure, path, usual if title is None else title)


def _panel(axes, rows: Sequence[dict]) -> None:
    cutouts = [row for row in rows if not row["plain"]]
    kept = [row["categories"] for row in cutouts]
    measured = [row["latency_ms"] for row in cutouts]
    axes.plot(kept, measured, "o-", markersize=4, color=drawing.BLUE, label="cutouts, measured")
    for row in rows:
        if row["plain"]:
            ideal = [cut["ideal_ms"] for cut in cutouts]
            axes.plot(kept, ideal, ":", color=drawing.GREEN, label="cutouts, by their MACs")
            axes.axhline(row["latency_ms"], color=drawing.VERMILION, ls="--", label="plain network")
    axes.set_xlabel("kept categories")
    axes.set_ylabel("latency (ms)")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color="0.9")
