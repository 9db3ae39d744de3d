"""Runs a network on a video or a camera, computing only what changed, and shows what it does.

    python recipes/watch.py highway.avi --model preset:imagenette_small
    python recipes/watch.py highway.avi --model NET.keras --categories church,tench --mode both
    python recipes/watch.py mall.mpg --model runs/segment/last.keras --refresh 150
    python recipes/watch.py camera --model NET.keras --frames 500

The model takes pixels of 0 to 255: a network of this package, or one that gives every pixel a
class (`segment.py`); it runs at the size of the video, or at --size. Writes to --output:
watch.mp4 (changed positions are red; predictions, milliseconds; with --mode both, side by side),
watch.csv (one line per frame) and watch.png (the same numbers). What was done when a video breaks
off, or Ctrl-C is pressed, is kept.
"""

import csv
import io
import sys
from pathlib import Path

import bench_selective
import keras
import numpy as np
import video
from options import Options
from watchers import detection_flags, make_watcher

import keras_seqpar as sp
from keras_seqpar.networks.loading import load_model
from keras_seqpar.utils.files import replacing

COLUMNS = (
    *("frame", "mode", "changed", "computed", "ms", "said"),
    *("dense_ms", "dense_said", "agreement"),
)
REACH = (
    "How far changes are followed: to everything that reads them (receptive_field, exact), or so "
    "many pixels around."
)
RED = np.array([255, 40, 40], "float32")


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, {"reach": "receptive_field; segmentation: 6"}, first="source")
    options.group(
        "Model",
        ("string", "model", None, "A .keras file, or preset:NAME."),
        ("list", "categories", None, "Keep these only: a cutout. Default: all."),
        ("list", "gains", [], "For example church=1.3: top-down attention."),
    )
    options.group(
        "Stream",
        ("enum", "mode", "selective", "What is run.", ["selective", "dense", "both"]),
        ("float", "threshold", 20.0, "From which difference on a pixel changed.", 0.0),
        ("float", "prune", 0.0, "Share of a map's size up to which changes stop inside.", 0.0),
        bench_selective.FREEZE,
        *detection_flags(drop_single=True),
        ("string", "margin", "8", "Segmentation: pixels of context, or receptive_field."),
        ("string", "reach", None, REACH),
        ("integer", "least", 12, "Segmentation: changed pixels that a region must have.", 1),
        ("integer", "refresh", None, "Frames from one full run to the next.", 1),
    )
    options.group(
        "Video",
        ("integer", "frames", None, "How many at most.", 1),
        ("string", "size", None, "Resize frames, for example 480x360."),
        ("string", "output", "out/watch", "Folder to write to."),
        ("boolean", "video", True, "Write watch.mp4."),
    )
    return options


def load(source: str | None) -> keras.Model:
    """The model of a flag.

    Raises:
        ValueError: none was given, an unknown preset, or no readable file.
    """
    if not source:
        raise ValueError("Give --model: a .keras file, or preset:NAME.")
    kind, _, name = source.partition(":")
    if kind == "preset":
        return sp.load_preset(name)
    return load_model(source)


def panel(watcher, frame: np.ndarray, found: dict, title: str, changed=None) -> np.ndarray:
    """A frame with predictions, changed positions in red, and lines of text."""
    cv2 = video.opencv()
    shown = watcher.draw(frame, found).astype("float32")
    if changed is not None:
        shown[changed] = 0.4 * shown[changed] + 0.6 * RED
    shown[:38] *= 0.4  # behind the text
    shown = np.ascontiguousarray(shown.astype("uint8"))
    for i, line in enumerate((title, watcher.said(found))):
        place = (6, 15 + 16 * i)
        cv2.putText(shown, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1)
    return shown


def watch(chosen) -> tuple[list[dict], str]:
    """Runs as the flags say and writes the files.

    Returns:
        One mapping per frame, and how it ended.

    Raises:
        ValueError: bad input.
        OSError: a file could not be written.
    """
    clip = video.open_video(chosen.source, size_of(chosen.size))
    try:
        watcher = make_watcher(load(chosen.model), clip.shape, chosen)
        folder = Path(chosen.output)
        folder.mkdir(parents=True, exist_ok=True)
        writer = video.Writer(folder / "watch.mp4", clip.fps) if chosen.video else None
        rows: list[dict] = []
        ended = ""
        total = _expected(clip, chosen.frames)
        bar = keras.utils.Progbar(total or None, unit_name="frame")
        try:
            for frame in clip.frames(chosen.frames):
                row, shown = _frame(watcher, frame, chosen.mode, len(rows))
                rows.append(row)
                if writer:
                    writer(shown)
                if bar.target and len(rows) > bar.target:  # the file said too few
                    bar = keras.utils.Progbar(None, unit_name="frame")
                bar.update(len(rows))
        except KeyboardInterrupt:
            ended = "stopped by Ctrl-C"
        finally:
            if writer:
                writer.close()
            if rows:
                write(folder, rows)
    finally:
        clip.close()
    if not rows:
        raise ValueError(f"{chosen.source} gave no frame that can be decoded.")
    if not ended and clip.ended_early and chosen.frames is None:
        ended = f"the video broke off after {clip.read} of {clip.count} frames"
    return rows, ended


def _frame(watcher, frame: np.ndarray, mode: str, number: int) -> tuple[dict, np.ndarray]:
    """One frame: its row, and its image."""
    row = dict.fromkeys(COLUMNS, "") | {"frame": number}
    panels = []
    ours = theirs = None
    if mode != "dense":
        ours = watcher.selective(frame)
        row |= {key: ours[key] for key in ("mode", "changed", "computed", "ms")}
        row["said"] = watcher.said(ours)
        title = f"{ours['mode']} {ours['ms']:.1f} ms, {ours['computed']:.0%} computed"
        changed = watcher.stream.change_map() if ours["mode"] not in ("full", "dense") else None
        panels.append(panel(watcher, frame, ours, title, changed))
    if mode != "selective":
        theirs = watcher.dense(frame)
        row |= {"dense_ms": theirs["dense_ms"], "dense_said": watcher.said(theirs)}
        panels.append(panel(watcher, frame, theirs, f"dense {theirs['dense_ms']:.1f} ms"))
    if ours and theirs:
        row["agreement"] = watcher.agreement(ours, theirs)
    return row, np.concatenate(panels, axis=1)


def write(folder: Path, rows: list[dict]) -> None:
    """Writes watch.csv and, where matplotlib is installed, watch.png."""
    text = io.StringIO()
    lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    lines.writeheader()
    for row in rows:
        lines.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
    with replacing(folder / "watch.csv") as temporary:
        temporary.write_text(text.getvalue(), "utf-8")
    try:
        from keras_seqpar.plots import drawing

        figure = drawing.new_figure(8, 5)
    except ImportError:
        print("No watch.png: the package matplotlib is not installed.")
        return
    top, bottom = figure.subplots(2, 1, sharex=True)
    of_time = (("ms", "selective", drawing.BLUE), ("dense_ms", "dense", drawing.VERMILION))
    for key, label, color in of_time:
        if rows[-1][key] != "":
            top.plot([row[key] for row in rows], color=color, label=label, lw=1)
    top.set(ylabel="ms per frame", yscale="log")
    drawing.legend(top)
    if rows[-1]["changed"] != "":
        for key, color in (("changed", drawing.GREEN), ("computed", drawing.ORANGE)):
            bottom.plot([100 * row[key] for row in rows], color=color, label=key, lw=1)
        drawing.legend(bottom)
    bottom.set(ylabel="% of a dense run", xlabel="frame")
    drawing.finish(figure, folder / "watch.png")


def summary(rows: list[dict]) -> str:
    """What it came to, in a few lines."""

    def median(key: str) -> float:
        return float(np.median([row[key] for row in rows if row[key] != ""]))

    lines = [f"{len(rows)} frames."]
    if rows[-1]["ms"] != "":
        lines.append(
            f"Selective: {median('ms'):.1f} ms, {median('changed'):.1%} changed, "
            f"{median('computed'):.1%} computed (medians)."
        )
    if rows[-1]["dense_ms"] != "":
        lines.append(f"Dense: {median('dense_ms'):.1f} ms (median).")
    if rows[-1]["agreement"] != "":
        lines.append(f"Agreement: {np.mean([row['agreement'] for row in rows]):.2%} (mean).")
    return "\n".join(lines)


def _expected(clip: video.Video, most: int | None) -> int:
    """How many frames there will be; 0 if nobody knows."""
    known = [count for count in (clip.count, most) if count]
    return min(known, default=0)


def size_of(text: str | None) -> tuple[int, int] | None:
    """`(width, height)` from a flag such as "480x360"."""
    if text is None:
        return None
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--size must be WIDTHxHEIGHT, for example 480x360, got {text!r}.")
    return int(parts[0]), int(parts[1])


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status: 0, or 3 where the video broke off."""
    try:
        chosen, _ = make_options().parse(argv)
        rows, ended = watch(chosen)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\n{summary(rows)}")
    if ended:
        print(f"Note: {ended}. What was done is in {chosen.output}.", file=sys.stderr)
        return 3
    print(f"Files: {chosen.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
