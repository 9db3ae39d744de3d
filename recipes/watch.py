"""Runs a network on a video or a camera, computing only what changed, and shows the results.

    python recipes/watch.py highway.avi --model preset:imagenette_small
    python recipes/watch.py highway.avi --model NET.keras --categories church,tench --mode both
    python recipes/watch.py mall.mpg --model runs/segment/last.keras --refresh 150
    python recipes/watch.py 0 --model NET.keras --frames 500
    python recipes/watch.py rtsp://camera.local/live --model NET.keras

The source is a file, a folder or pattern of images (frames/*.png), a camera (0, camera:1) or an
address (rtsp://, http://). The model takes pixels of 0 to 255, as RGB: a network of this package,
or one that gives every pixel a class (`segment.py`); it runs at the size of the video, or at
--size. Writes to --output: watch.mkv (changed positions are red; predictions, milliseconds; with
--mode both, side by side), watch.csv (one line per frame, with its time in the video) and, at the
end, watch.png (the same numbers). Video and CSV are written frame by frame and can be used at any
time, also after a kill. The exit code is 0 at the end of the source; 3 if it broke off, or after
Ctrl-C or SIGTERM; 1 after an error.
"""

from keras_seqpar.utils.commands import flag_group, run, stopped_by_signals

import sys
from pathlib import Path

from absl import flags

from keras_seqpar import plots
from keras_seqpar.data.video import VideoStream, VideoWriter, open_video, parse_size
from keras_seqpar.plots.drawing import optional
from keras_seqpar.presets.sources import load_source
from keras_seqpar.selective import watching
from keras_seqpar.selective.command_flags import (
    define_detection_flags,
    define_freeze_flag,
    read_detection,
)
from keras_seqpar.selective.detector import COLORS
from keras_seqpar.selective.settings import Updates, parse_extent, parse_gains
from keras_seqpar.selective.viewers import Viewer, make_viewer

INCOMPLETE = 3  # exit code if the source breaks off, or after Ctrl-C or SIGTERM

args = flags.FLAGS
with flag_group("Model"):
    flags.DEFINE_string("model", None, "A .keras file, or preset:NAME.")
    flags.DEFINE_list("categories", None, "Cut out these categories. Default: all.")
    flags.DEFINE_list("gains", [], "For example church=1.3: top-down attention.")
with flag_group("Stream"):
    flags.DEFINE_enum("mode", "selective", watching.MODES, "What is run.")
    flags.DEFINE_float(
        "threshold", 20.0, "Difference from which on a pixel counts as changed.", lower_bound=0.0
    )
    flags.DEFINE_float(
        "prune",
        0.0,
        "Share of a map's size up to which changes stop inside.",
        lower_bound=0.0,
    )
    define_freeze_flag()
    define_detection_flags(drop_single=True)
    flags.DEFINE_string("margin", "8", "Segmentation: pixels of context, or receptive_field.")
    flags.DEFINE_string(
        "reach",
        None,
        "Pixels around a change that are computed again, or receptive_field: everything that the "
        "change can affect, which is exact. Default: receptive_field; segmentation: 6.",
    )
    flags.DEFINE_integer(
        "least", 12, "Segmentation: changed pixels that a region must have.", lower_bound=1
    )
    flags.DEFINE_integer("refresh", None, "Frames from one full run to the next.", lower_bound=1)
with flag_group("Video"):
    flags.DEFINE_integer("frames", None, "Largest number of frames.", lower_bound=1)
    flags.DEFINE_string("size", None, "Resize frames, for example 480x360.")
    flags.DEFINE_string("output", "out/watch", "Folder to write to.")
    flags.DEFINE_bool("video", True, "Write watch.mkv.")
    flags.DEFINE_enum("color", "rgb", COLORS, "bgr: for a source with red and blue swapped.")


def read_updates() -> Updates:
    """Reads from the flags what is computed again after a change."""
    return Updates(
        reach=None if args.reach is None else parse_extent("reach", args.reach),
        refresh=args.refresh,
        freeze=args.freeze,
        prune=args.prune,
        margin=parse_extent("margin", args.margin),
        least=args.least,
    )


def watch(
    clip: VideoStream, viewer: Viewer, folder: Path, rows: list[watching.Row]
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
    frames = watching.view_frames(viewer, clip.timed_frames(args.frames), args.mode)
    video = VideoWriter(folder / "watch.mkv", clip.frame_rate)
    try:
        with stopped_by_signals(), watching.CsvWriter(folder / "watch.csv") as lines, video:
            for row, panel in watching.show_progress(frames, min(counts, default=0)):
                if not rows:  # what an earlier run left does not belong to these frames
                    for name in ("watch.png", "watch.mkv"):
                        (folder / name).unlink(missing_ok=True)
                rows.append(row)
                lines.write(row)
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
    folder, rows = Path(args.output), []
    with open_video(argv[1], parse_size(args.size), args.color) as clip:
        viewer = make_viewer(
            load_source(args.model),
            clip.frame_shape,
            read_detection(args.threshold),
            read_updates(),
            categories=args.categories,
            gains=parse_gains(args.gains),
        )
        folder.mkdir(parents=True, exist_ok=True)
        try:
            note, code = watch(clip, viewer, folder, rows)
        finally:
            if rows:
                with optional(folder / "watch.png"):
                    plots.stream_timeline(rows, folder / "watch.png")
    if rows:
        print(f"\n{watching.summarize(rows)}")
        print(f"Files: {folder}")
    if note:
        print(f"Note: {note}.", file=sys.stderr)
    return code


if __name__ == "__main__":
    run(main, positional=["SOURCE"])
