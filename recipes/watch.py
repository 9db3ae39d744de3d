"""Runs a network on a video or a camera, computing only what changed, and shows the results.

    python recipes/watch.py highway.avi --model preset:imagenette_small
    python recipes/watch.py highway.avi --model NET.keras --categories church,tench --mode both
    python recipes/watch.py mall.mpg --model runs/segment/last.keras --refresh 150
    python recipes/watch.py camera --model NET.keras --frames 500

The source is a file, camera, or camera:1 for the second camera. The model takes pixels of 0 to
255: a network of this package, or one that gives every pixel a class (`segment.py`); it runs at
the size of the video, or at --size. Writes to --output: watch.mp4 (changed positions are red;
predictions, milliseconds; with --mode both, side by side), watch.csv (one line per frame) and
watch.png (the same numbers). If the video breaks off, or after Ctrl-C, the frames so far are kept;
the exit code is then 3.
"""

from keras_seqpar.utils.commands import flag_group, run

import contextlib
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
from keras_seqpar.selective.settings import Updates, parse_extent, parse_gains
from keras_seqpar.selective.viewers import Viewer, make_viewer
from keras_seqpar.utils.files import write_file

INCOMPLETE = 3  # exit code if the video breaks off or after Ctrl-C

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
    flags.DEFINE_bool("video", True, "Write watch.mp4.")


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
    clip: VideoStream, viewer: Viewer, writer: VideoWriter | None, rows: list[watching.Row]
) -> str:
    """Runs the network on the video.

    Args:
        clip: the video.
        viewer: the network.
        writer: gets the annotated frames.
        rows: gets a row per frame; it keeps those before an error.

    Returns:
        Why it ended early, or an empty text.
    """
    counts = [count for count in (clip.frame_count, args.frames) if count]
    frames = watching.view_frames(viewer, clip.frames(args.frames), args.mode)
    try:
        for row, panel in watching.show_progress(frames, min(counts, default=0)):
            rows.append(row)
            if writer:
                writer.write(panel)
    except KeyboardInterrupt:
        return "stopped by Ctrl-C"
    if clip.incomplete and args.frames is None:
        return f"the video broke off after {clip.frame_number} of {clip.frame_count} frames"
    return ""


def write(folder: Path, rows: list[watching.Row]) -> None:
    """Writes watch.csv and, if matplotlib is installed, watch.png."""
    write_file(folder / "watch.csv", watching.format_csv(rows))
    with optional(folder / "watch.png"):
        plots.stream_timeline(rows, folder / "watch.png")


def main(argv: list[str]) -> int:
    """Opens the video, makes the stream, runs and writes."""
    folder, rows = Path(args.output), []
    with open_video(argv[1], parse_size(args.size)) as clip:
        viewer = make_viewer(
            load_source(args.model),
            clip.frame_shape,
            read_detection(args.threshold),
            read_updates(),
            categories=args.categories,
            gains=parse_gains(args.gains),
        )
        folder.mkdir(parents=True, exist_ok=True)
        writer = VideoWriter(folder / "watch.mp4", clip.frame_rate) if args.video else None
        try:
            with writer or contextlib.nullcontext():
                note = watch(clip, viewer, writer, rows)
        finally:
            if rows:
                write(folder, rows)
    if not rows:
        raise ValueError(f"{argv[1]} gave no frame that can be decoded.")
    print(f"\n{watching.summarize(rows)}")
    if note:
        print(f"Note: {note}. The frames so far are in {folder}.", file=sys.stderr)
        return INCOMPLETE
    print(f"Files: {folder}")
    return 0


if __name__ == "__main__":
    run(main, positional=["SOURCE"])
