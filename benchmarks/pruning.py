"""Inexact streams on videos: how much faster they are, and how often they agree.

    python benchmarks/pruning.py NET.keras --videos highway.avi,mall.mpg
    python benchmarks/pruning.py preset:imagenette_small --videos highway.avi --size 192x192 \
        --thresholds 20 --luminance --drop_single --dilate 6 --prunes 0,0.5 --reaches 16,0

For every threshold, reach and share of pruning (see `keras_seqpar.selective.stream`) the frames
of a video go through a stream, and through Keras (compiled where the backend compiles), in turns of
--turn frames. The table has the medians of both, the quotient of the medians and that of the sums,
the share of the network's arithmetic that was done, and the share of frames with the same predicted
category as the dense run of the original frame. The line below it says how often dense runs of
successive frames predict the same category.
"""

from keras_seqpar.utils.commands import EXPECTED_ERRORS, flag_group, run

import itertools
import statistics

import keras
import numpy as np
from absl import flags

from keras_seqpar import selective
from keras_seqpar.data.video import open_video, parse_size
from keras_seqpar.presets.sources import load_source
from keras_seqpar.selective.command_flags import (
    define_detection_flags,
    define_freeze_flag,
    read_detection,
)
from keras_seqpar.selective.measuring import can_freeze, compile_dense, timed
from keras_seqpar.selective.settings import parse_extent

WARM_UP = 5  # frames that are not counted: threshold="auto" learns from them
HEAD = (
    "| threshold | reach | prune | changed | computed | dense ms | ms | times faster "
    "| in all | agreement |\n|" + "---|" * 10
)

args = flags.FLAGS
with flag_group("Data"):
    flags.DEFINE_list("videos", [], "Videos of a fixed camera.")
    flags.DEFINE_string("size", "512x512", "Size that frames are resized to.")
    flags.DEFINE_integer("frames", 100, "Frames per video.", lower_bound=1)
with flag_group("Stream"):
    flags.DEFINE_list(
        "thresholds", ["10", "20", "auto"], "Difference from which on a pixel counts as changed."
    )
    flags.DEFINE_list(
        "reaches", ["receptive_field", "0"], "Pixels around a change that are computed again."
    )
    flags.DEFINE_list("prunes", ["0", "0.2", "0.5"], "Shares up to which changes stop inside.")
    flags.DEFINE_integer("refresh", None, "Frames from one full run to the next.", lower_bound=1)
    define_detection_flags(drop_single=False)
    define_freeze_flag()
    flags.DEFINE_integer(
        "turn", 8, "Frames that one of the two runs before the other.", lower_bound=1
    )


def read_frames(source: str, size: tuple[int, int], count: int) -> np.ndarray:
    """The first frames of a video, `(WARM_UP + count, height, width, 3)` uint8."""
    with open_video(source, size) as clip:
        frames = list(clip.frames(WARM_UP + count))
    if len(frames) <= WARM_UP:
        raise ValueError(f"{source} has {len(frames)} frames that can be decoded: too few.")
    return np.stack(frames)


def measure(dense, stream: selective.Stream, frames: np.ndarray, turn: int) -> dict[str, float]:
    """Runs a video.

    Args:
        dense: computes a full frame, see `compile_dense`.
        stream: a new one.
        frames: from `read_frames`.
        turn: frames that one of the two runs before the other does.

    Returns:
        Medians in milliseconds, and shares.
    """
    for frame in frames[:WARM_UP]:
        stream(frame)
    dense_ms: list[float] = []
    stream_ms: list[float] = []
    results, expected = [], []
    for start in range(WARM_UP, len(frames), turn):
        batch = frames[start : start + turn]
        expected += [timed(dense, x.astype("float32"), dense_ms)[0].argmax() for x in batch]
        results += [timed(stream, x, stream_ms) for x in batch]
    predicted = [result.output[0].argmax() for result in results]
    steady = np.mean(np.equal(expected[1:], expected[:-1])) if len(expected) > 1 else 1.0
    return {
        "dense ms": statistics.median(dense_ms),
        "ms": statistics.median(stream_ms),
        "in all": sum(dense_ms) / sum(stream_ms),
        "changed": statistics.median(result.stats.changed for result in results),
        "computed": statistics.median(1 - result.stats.saved for result in results),
        "agreement": float(np.mean(np.equal(expected, predicted))),
        "steady": float(steady),
    }


def sweep(model: keras.Model, thresholds, reaches, prunes) -> None:
    """Measures every video with every setting; prints each row."""
    model = selective.open_sizes(model)
    size = parse_size(args.size)
    for source in args.videos:
        frames = read_frames(source, size, args.frames)
        dense = compile_dense(model)
        dense(frames[0].astype("float32"))
        options = {
            "input_shape": frames.shape[1:],
            "refresh": args.refresh,
            "freeze": can_freeze(args.freeze),
        }
        # One stream with and one without pruning stay alive, and with them the compiled code.
        kept = [selective.stream(model, prune=p, **options) for p in {float(p > 0) for p in prunes}]
        for stream in kept:
            stream(frames[0])
        print(f"\n{source}: {len(frames) - WARM_UP} frames\n\n{HEAD}", flush=True)
        for threshold, reach, prune in itertools.product(thresholds, reaches, prunes):
            detection = read_detection(threshold).arguments()
            stream = selective.stream(model, reach=reach, prune=prune, **detection, **options)
            found = measure(dense, stream, frames, args.turn)
            print(format_row(threshold, reach, prune, found), flush=True)
        print(f"\nDense runs of successive frames agree in {found['steady']:.1%}.")


def format_row(threshold, reach, prune, found: dict[str, float]) -> str:
    """A row of the table in Markdown."""
    return (
        f"| {threshold} | {reach} | {prune:g} | {found['changed']:.1%} "
        f"| {found['computed']:.1%} | {found['dense ms']:.1f} | {found['ms']:.1f} "
        f"| {found['dense ms'] / found['ms']:.2f} | {found['in all']:.2f} "
        f"| {found['agreement']:.1%} |"
    )


def main(argv: list[str]) -> None:
    """Checks the flags and measures."""
    if not args.videos:
        raise ValueError("Give --videos: one or more files.")
    thresholds = [text if text == "auto" else float(text) for text in args.thresholds]
    reaches = [parse_extent("reaches", text) for text in args.reaches]
    prunes = [float(text) for text in args.prunes]
    sweep(load_source(argv[1]), thresholds, reaches, prunes)


if __name__ == "__main__":
    run(main, positional=["MODEL"], errors=(*EXPECTED_ERRORS, TypeError))
