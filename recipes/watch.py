"""Runs a network on a video or a camera, computing only what changed, and shows what it does.

    python recipes/watch.py highway.avi --model preset:imagenette_small
    python recipes/watch.py highway.avi --model NET.keras --categories church,tench --mode both
    python recipes/watch.py mall.mpg --model runs/segment/last.keras --margin 4 --refresh 150
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
import time
from pathlib import Path

import bench_selective
import camvid
import keras
import numpy as np
import run_folder
import video
from bench_segmentation import pixels
from options import Options

import keras_seqpar as sp
from keras_seqpar import selective
from keras_seqpar.cutout import find_parts

COLUMNS = (
    *("frame", "mode", "changed", "computed", "ms", "said"),
    *("dense_ms", "dense_said", "agreement"),
)
RED = np.array([255, 40, 40], "float32")
COLOURS = np.random.default_rng(4).integers(40, 256, (256, 3)).astype("float32")  # of classes


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="source")
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
        ("boolean", "drop_single", True, "Leave out changed pixels without a changed neighbour."),
        ("string", "margin", "6", "Segmentation: pixels of context, or receptive_field."),
        ("string", "reach", "6", "Segmentation: pixels around a change that are renewed."),
        ("integer", "least", 12, "Segmentation: changed pixels that a region must have.", 1),
        ("integer", "refresh", None, "Segmentation: frames from one full run to the next.", 1),
    )
    options.group(
        "Video",
        ("integer", "frames", None, "How many at most.", 1),
        ("string", "size", None, "Resize frames, for example 480x360."),
        ("string", "output", "out/watch", "Folder to write to."),
        ("boolean", "video", True, "Write watch.mp4."),
    )
    return options


class Classifier:
    """A network of this package on a stream.

    Args:
        model: the network.
        shape: `(height, width, 3)` of the frames.
        chosen: all flags.
    """

    def __init__(self, model: keras.Model, shape, chosen):
        if chosen.categories:
            model = sp.cutout(model, chosen.categories)
        if chosen.gains:
            model = sp.attend(model, gains(chosen.gains))
        self.labels = find_parts(model, allow_plain=True).hierarchy.categories
        model = selective.open_sizes(model)
        self.stream = selective.stream(
            model,
            input_shape=shape,
            threshold=chosen.threshold,
            drop_single=chosen.drop_single and chosen.threshold > 0,
            prune=chosen.prune,
        )
        self._model, self._dense = model, None

    def selective(self, frame: np.ndarray) -> dict:
        """What the stream says, and what it took."""
        result = self.stream(frame)
        stats = result.stats
        return {
            "mode": stats.mode,
            "changed": stats.changed,
            "computed": 1 - stats.saved,
            "ms": stats.milliseconds,
            "scores": result.output[0],
        }

    def dense(self, frame: np.ndarray) -> dict:
        """What the whole network says."""
        if self._dense is None:
            self._dense = bench_selective.compiled(self._model)
            self._dense(frame.astype("float32"))
        start = time.perf_counter()
        scores = self._dense(frame.astype("float32"))[0]
        return {"dense_ms": 1000 * (time.perf_counter() - start), "scores": scores}

    def said(self, found: dict) -> str:
        """The most likely category."""
        best = int(np.argmax(found["scores"]))
        return f"{self.labels[best]} {found['scores'][best]:.2f}"

    def draw(self, frame: np.ndarray, found: dict) -> np.ndarray:
        """Nothing: scores have no place in the frame."""
        return frame

    def agreement(self, ours: dict, theirs: dict) -> float:
        """Whether both say the same category."""
        return float(np.argmax(ours["scores"]) == np.argmax(theirs["scores"]))


class Segmenter:
    """A network that gives every pixel a class, on a stream; arguments as for `Classifier`."""

    def __init__(self, model: keras.Model, shape, chosen):
        if chosen.categories or chosen.gains or chosen.prune:
            raise ValueError(
                "--categories, --gains and --prune are for networks that name a category; this "
                "one gives every pixel a class."
            )
        self.channels = model.inputs[0].shape[-1]
        shape = (*shape[:2], self.channels)
        options = {"input_shape": shape, "threshold": chosen.threshold}
        self.stream = selective.SegmentationStream(
            model,
            margin=pixels("margin", chosen.margin),
            reach=pixels("reach", chosen.reach),
            least=chosen.least,
            drop_single=chosen.drop_single and chosen.threshold > 0,
            refresh=chosen.refresh,
            **options,
        )
        self.whole = selective.SegmentationStream(model, refresh=1, calibrate=False, **options)
        self.labels = [str(i) for i in range(model.outputs[0].shape[-1])]
        if self.channels == 5:
            self.labels = list(camvid.CLASSES)

    def selective(self, frame: np.ndarray) -> dict:
        """What the stream says, and what it took."""
        result = self.stream(self._prepared(frame))
        stats = result.stats
        return {
            "mode": stats.mode,
            "changed": stats.changed,
            "computed": stats.recomputed,
            "ms": stats.milliseconds,
            "map": result.output[0],
        }

    def dense(self, frame: np.ndarray) -> dict:
        """What the whole network says."""
        result = self.whole(self._prepared(frame))
        return {"dense_ms": result.stats.milliseconds, "map": result.output[0]}

    def said(self, found: dict) -> str:
        """The class of most pixels, and their share."""
        counts = np.bincount(found["map"].reshape(-1), minlength=len(self.labels))
        return f"{self.labels[counts.argmax()]} {counts.max() / counts.sum():.2f}"

    def draw(self, frame: np.ndarray, found: dict) -> np.ndarray:
        """The frame with the classes' colours over it."""
        colours = COLOURS[_enlarged(found["map"], frame.shape[:2])]
        return (0.55 * frame + 0.45 * colours).astype("uint8")

    def agreement(self, ours: dict, theirs: dict) -> float:
        """Share of positions with the same class."""
        return float((ours["map"] == theirs["map"]).mean())

    def _prepared(self, frame: np.ndarray) -> np.ndarray:
        return camvid.with_place(frame) if self.channels == 5 else frame


def gains(given: list[str]) -> dict[str, float]:
    """Gains from flags such as "church=1.3"."""
    found = {}
    for item in given:
        name, _, value = item.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise ValueError(f"--gains must be NAME=NUMBER, got {item!r}.") from None
    return found


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
    if not Path(source).is_file():
        raise ValueError(f"There is no file {source}.")
    try:
        return keras.models.load_model(source, compile=False)
    except Exception as error:  # what Keras raises depends on what it found
        raise ValueError(f"{source} is no readable .keras file: {error}") from error


def make_watcher(model: keras.Model, shape, chosen) -> Classifier | Segmenter:
    """What runs the model, by the kind of its output."""
    if len(model.inputs) > 1:
        raise ValueError(
            f"{model.name!r} takes {len(model.inputs)} inputs; a video is one. Give gains as "
            "constants with --gains."
        )
    if len(model.outputs) == 1 and len(model.outputs[0].shape) == 4:
        return Segmenter(model, shape, chosen)
    return Classifier(model, shape, chosen)


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
    clip = video.open_video(chosen.source, _size(chosen.size))
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
    """One frame: its row, and its picture."""
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
    with run_folder.replacing(folder / "watch.csv") as temporary:
        temporary.write_text(text.getvalue(), "utf-8")
    try:
        from keras_seqpar.plots import figure as figures

        figure = figures.new(8, 5)
    except ImportError:
        print("No watch.png: the package matplotlib is not installed.")
        return
    top, bottom = figure.subplots(2, 1, sharex=True)
    of_time = (("ms", "selective", figures.BLUE), ("dense_ms", "dense", figures.VERMILLION))
    for key, label, colour in of_time:
        if rows[-1][key] != "":
            top.plot([row[key] for row in rows], color=colour, label=label, lw=1)
    top.set(ylabel="ms per frame", yscale="log")
    figures.legend(top)
    if rows[-1]["changed"] != "":
        for key, colour in (("changed", figures.GREEN), ("computed", figures.ORANGE)):
            bottom.plot([100 * row[key] for row in rows], color=colour, label=key, lw=1)
        figures.legend(bottom)
    bottom.set(ylabel="% of a dense run", xlabel="frame")
    figures.finish(figure, folder / "watch.png")


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


def _size(text: str | None) -> tuple[int, int] | None:
    """`(width, height)` from a flag such as "480x360"."""
    if text is None:
        return None
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--size must be WIDTHxHEIGHT, for example 480x360, got {text!r}.")
    return int(parts[0]), int(parts[1])


def _enlarged(map_: np.ndarray, shape) -> np.ndarray:
    """A map at the resolution of the frame."""
    rows = np.arange(shape[0]) * map_.shape[0] // shape[0]
    return map_[rows][:, np.arange(shape[1]) * map_.shape[1] // shape[1]]


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
