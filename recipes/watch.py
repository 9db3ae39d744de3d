"""Runs a network on a video or a camera, computing only what changed, and shows the results.

    python recipes/watch.py highway.avi --model preset:imagenette_mobile --mode both
    python recipes/watch.py highway.avi --model NET.tflite --mode both --dense_every 10
    python recipes/watch.py highway.avi --model NET.keras --categories church,tench
    python recipes/watch.py mall.mpg --model runs/segment/last.keras --margin 7 --refresh 150
    python recipes/watch.py rtsp://camera.local/live --model NET.pack --categories cat,dog

The source is a file, a folder or pattern of images (frames/*.png), a camera (0, camera:1) or an
address (rtsp://, http://). The model is a .tflite file, a branch pack, a .keras file or a preset;
it predicts categories, or a class for every pixel (`segment.py`). Keras models are converted to
float32 for LiteRT in memory, at the size of the video or --size; frames for a file are resized to
its own size. With --mode both, the whole network runs beside the stream, in the same precision:
give an int8 file to compare with dense int8. The two then push each other out of the processor's
caches; `benchmarks/streams.py` measures them in turns.

Writes to --output: watch.mkv (changed positions are red; predictions, milliseconds; with
--mode both, side by side), watch.csv (one line per frame, with its time in the video) and, at the
end, watch.png (the same numbers). Video and CSV are written frame by frame and can be used at any
time, also after a kill. The exit code is 0 at the end of the source; 3 if it broke off, or after
Ctrl-C or SIGTERM; 1 after an error.
"""

from keras_seqpar.utils.commands import flag_group, run, stopped_by_signals

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import flags

from keras_seqpar import plots
from keras_seqpar.data.video import VideoStream, VideoWriter, open_video, parse_size
from keras_seqpar.plots.drawing import optional
from keras_seqpar.plots.panels import COLUMNS, MODES, view_frames
from keras_seqpar.plots.viewing import Viewer, frame_size, make_viewer
from keras_seqpar.presets.sources import PRESET, load_source
from keras_seqpar.selective.detector import AUTO, COLORS, Detector
from keras_seqpar.selective.regions import parse_margin
from keras_seqpar.utils.growing_file import GrowingCsv

INCOMPLETE = 3  # exit code if the source breaks off, or after Ctrl-C or SIGTERM

args = flags.FLAGS
with flag_group("Model"):
    flags.DEFINE_string("model", None, "A .tflite or .keras file, a branch pack, or preset:NAME.")
    flags.DEFINE_list("categories", None, "Keep these categories only. Default: all.")
    flags.DEFINE_list("gains", [], "For example church=1.3: top-down attention.")
    flags.DEFINE_integer("threads", 1, "CPU threads of LiteRT.", lower_bound=1)
with flag_group("Stream"):
    flags.DEFINE_enum("mode", "selective", MODES, "What is run.")
    flags.DEFINE_integer(
        "dense_every", 1, "With --mode both: frames from one dense run to the next.", lower_bound=1
    )
    flags.DEFINE_string(
        "threshold",
        AUTO,
        "Difference from which on a pixel counts as changed; 0 for every difference. auto learns "
        "the noise of a still scene from the first five frames.",
    )
    flags.DEFINE_float("noise", None, "With auto: the noise, in place of learning it.")
    flags.DEFINE_multi_string(
        "include", [], "Box top,left,bottom,right in pixels: look for changes only there."
    )
    flags.DEFINE_multi_string("exclude", [], "Likewise: do not look for changes there.")
with flag_group("Segmentation"):
    flags.DEFINE_string("margin", "7", "Pixels around a change, or receptive_field: exact.")
    flags.DEFINE_integer(
        "min_region_pixels", 12, "Changed pixels that a region must have.", lower_bound=1
    )
    flags.DEFINE_float(
        "max_cost_share", 1.0, "Share of a full frame's cost from which on all is computed."
    )
    flags.DEFINE_integer("refresh", None, "Frames from one full run to the next.", lower_bound=1)
with flag_group("Video"):
    flags.DEFINE_integer("frames", None, "Largest number of frames.", lower_bound=1)
    flags.DEFINE_string("size", None, "Resize frames, for example 480x360.")
    flags.DEFINE_string("output", "out/watch", "Folder to write to.")
    flags.DEFINE_bool("video", True, "Write watch.mkv.")
    flags.DEFINE_enum("color", "rgb", COLORS, "bgr: for a source with red and blue swapped.")


def parse_threshold(text: str) -> float | str:
    """A number, or `"auto"`.

    Raises:
        ValueError: another text.
    """
    try:
        return AUTO if text == AUTO else float(text)
    except ValueError:
        raise ValueError(f"--threshold must be a number or auto, got {text!r}.") from None


def parse_boxes(name: str, texts: list[str]) -> list[list[int]] | None:
    """Boxes (top, left, bottom, right) from a flag; `None` for none.

    Raises:
        ValueError: another text.
    """
    try:
        return [[int(x) for x in text.split(",")] for text in texts] or None
    except ValueError:
        raise ValueError(f"--{name} must be top,left,bottom,right, got {texts}.") from None


def parse_gains(texts: list[str]) -> dict[str, float]:
    """Gains from texts such as "church=1.3".

    Raises:
        ValueError: another text.
    """
    gains = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            gains[name.strip()] = float(value)
        except ValueError:
            raise ValueError(f"--gains must be NAME=NUMBER, got {text!r}.") from None
    return gains


def read_viewer(network: str | keras.Model, frame_shape: tuple[int, int, int]) -> Viewer:
    """The network with the stream that the flags describe."""
    return make_viewer(
        network,
        frame_shape,
        categories=args.categories,
        gains=parse_gains(args.gains),
        num_threads=args.threads,
        detector=Detector(parse_threshold(args.threshold), noise=args.noise),
        include=parse_boxes("include", args.include),
        exclude=parse_boxes("exclude", args.exclude),
        regions={
            "margin": parse_margin("margin", args.margin),
            "min_region_pixels": args.min_region_pixels,
            "max_cost_share": args.max_cost_share,
            "refresh": args.refresh,
        },
    )


def show_progress(items: Iterable[Any], expected: int) -> Iterator[Any]:
    """Yields items and draws a progress bar; `expected` is 0 if unknown, and may be too low."""
    bar = keras.utils.Progbar(expected or None, unit_name="frame")
    for number, item in enumerate(items, 1):
        yield item
        if bar.target and number > bar.target:
            bar = keras.utils.Progbar(None, unit_name="frame")
        bar.update(number)


def summarize(rows: list[dict[str, Any]]) -> str:
    """Medians and the mean agreement, in a few lines."""
    found = {key: [row[key] for row in rows if row[key] is not None] for key in COLUMNS}
    lines = [f"{len(rows)} frames."]
    if found["ms"]:
        lines.append(
            f"Stream: {np.median(found['ms']):.1f} ms, {np.median(found['changed']):.1%} "
            f"changed, {np.median(found['computed']):.1%} computed (medians)."
        )
    if found["dense_ms"]:
        lines.append(f"Dense: {np.median(found['dense_ms']):.1f} ms (median).")
    if found["agreement"]:
        lines.append(f"Agreement: {np.mean(found['agreement']):.2%} (mean).")
    return "\n".join(lines)


def watch(
    clip: VideoStream, viewer: Viewer, folder: Path, rows: list[dict[str, Any]]
) -> tuple[str, int]:
    """Runs the network on the source; writes watch.csv and watch.mkv frame by frame.

    Args:
        clip: the source.
        viewer: the network.
        folder: where to write to.
        rows: gets a row per frame; it keeps those before an error.

    Returns:
        A note about the end, or an empty text, and the exit code.
    """
    counts = [count for count in (clip.frame_count, args.frames) if count]
    frames = view_frames(viewer, clip.timed_frames(args.frames), args.mode, args.dense_every)
    video = VideoWriter(folder / "watch.mkv", clip.frame_rate)
    try:
        with stopped_by_signals(), GrowingCsv(folder / "watch.csv", COLUMNS) as lines, video:
            for row, panel in show_progress(frames, min(counts, default=0)):
                if not rows:  # what an earlier run left does not belong to these frames
                    for name in ("watch.png", "watch.mkv"):
                        (folder / name).unlink(missing_ok=True)
                rows.append(row)
                lines.write(row | {"time_ms": f"{row['time_ms']:.1f}"})
                if args.video:
                    video.write(panel, row["time_ms"])
    except KeyboardInterrupt:
        return "stopped", INCOMPLETE
    if clip.frame_number == args.frames:
        return "", 0
    if clip.broke_off:
        of = f" of {clip.frame_count}" if clip.frame_count else ""
        return f"{clip.name} broke off after {clip.frame_number}{of} frames", INCOMPLETE
    if clip.missing:
        return f"{clip.name} states {clip.frame_count} frames and has {clip.frame_number}", 0
    return "", 0


def main(argv: list[str]) -> int:
    """Opens the source, makes the stream, runs and writes."""
    folder = Path(args.output)
    rows: list[dict] = []
    network: Any = args.model
    if not args.model or args.model.endswith(".keras") or args.model.startswith(PRESET):
        network = load_source(args.model)
    size = parse_size(args.size)
    own_size = None if isinstance(network, keras.Model) else frame_size(network)
    if size and own_size and size != own_size:
        raise ValueError(f"{args.model} takes frames of {own_size[0]}x{own_size[1]} only.")
    with open_video(argv[1], size or own_size, args.color) as clip:
        viewer = read_viewer(network, clip.frame_shape)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            note, code = watch(clip, viewer, folder, rows)
        finally:
            if rows:
                with optional(folder / "watch.png"):
                    plots.stream_timeline(rows, folder / "watch.png")
    if rows:
        print(f"\n{summarize(rows)}")
        print(f"Files: {folder}")
    if note:
        print(f"Note: {note}.", file=sys.stderr)
    return code


if __name__ == "__main__":
    run(main, positional=["SOURCE"])
