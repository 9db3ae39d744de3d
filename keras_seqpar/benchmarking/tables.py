"""Measurements of streams as Markdown tables: milliseconds first, ratios second."""

from collections.abc import Mapping, Sequence
from typing import Any


def share_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Measurements of `measure_shares`: one line per share that changes.

    "wrong" counts frames with other outputs than the dense network's.

    Args:
        rows: for the same rivals.
    """
    streams = list(rows[0]["wrong"])
    head = ["changed"]
    for name in streams:
        head += [f"{_dense(name)} ms", f"{name} ms", "faster", "bound", "mode", "wrong"]
    lines = []
    for row in rows:
        milliseconds, bounds = row["ms"], row["bound"]
        cells = [f"{100 * row['share']:g} %"]
        for name in streams:
            dense, stream = milliseconds[_dense(name)], milliseconds[name]
            cells += [f"{dense:.2f}", f"{stream:.2f}", f"{dense / stream:.2f}"]
            cells += [f"{bounds[name]:.2f}" if bounds[name] else "-"]
            cells += [row["mode"][name], str(row["wrong"][name])]
        lines.append(cells)
    return _table(head, lines)


def start_table(what: str, start: Mapping[str, Mapping[str, float | None]]) -> str:
    """Measurements of `measure_start`.

    Args:
        what: the network and its conditions.
        start: the measurements.
    """
    head = [what, "loading ms", "first frame ms", "resident memory, at most"]
    lines = []
    for name, found in start.items():
        memory = found["memory"]
        cells = [f"{found['loading']:.0f}", f"{found['first']:.1f}"]
        lines.append([name, *cells, f"{memory / 1e6:.0f} MB" if memory else "-"])
    return _table(head, lines)


def video_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Measurements of `measure_video`, each with the name of its `video`."""
    head = [
        *(
            "video",
            "frames",
            "noise",
            "changed",
            "computed",
            "boxes",
            "dense ms",
            "stream ms",
            "faster",
        ),
        *("faster in all", "same top-1", "dense from frame to frame", "wrong frames"),
    ]
    lines = [
        [
            *(x["video"], str(x["frames"]), f"{x['noise']:.1f}" if x["noise"] else "-"),
            *(f"{x['changed']:.1%}", f"{x['computed']:.1%}"),
            *(f"{x['boxes']:g}", f"{x['dense']:.1f}", f"{x['stream']:.1f}"),
            *(f"{x['dense'] / x['stream']:.2f}", f"{x['faster_in_all']:.2f}"),
            *(f"{x['same_top1']:.1%}", f"{x['steady_top1']:.1%}", str(x["wrong"])),
        ]
        for x in rows
    ]
    return _table(head, lines)


def _dense(stream: str) -> str:
    """The rival that a stream is compared with."""
    return stream.replace("stream", "dense")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
