"""Streams that are not exact, on videos: how much faster they get, how often they say the same.

    python recipes/bench_pruning.py NET.keras --videos highway.avi,mall.mpg
    python recipes/bench_pruning.py preset:imagenette_small --videos highway.avi --size 192x192 \
        --thresholds 20 --luminance --drop_single --dilate 6 --prunes 0,0.5 --reaches 16,0

For every threshold, reach and share of pruning (see `keras_seqpar.selective.stream`) the frames
of a video go through a stream, and through Keras (compiled where the backend compiles), in turns of
--turn frames. The table has medians of both, their quotient and that of their sums, how much of
the network's arithmetic was done, and the share of frames whose most likely category is that of
the dense run of the frame as it came; besides, how often dense runs agree from one frame to the
next.
"""

import itertools
import statistics
import sys

import bench_selective
import keras
import numpy as np
import video
import watch
from bench_segmentation import pixels
from bench_selective import timed
from options import Options
from watchers import detection_flags

from keras_seqpar import selective

DETECTION = detection_flags(drop_single=False)
FIRST = 5  # frames that do not count: threshold="auto" learns from them


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="model")
    options.group(
        "Data",
        ("list", "videos", [], "Videos of a camera that stands still."),
        ("string", "size", "512x512", "Frames are resized to it."),
        ("integer", "frames", 100, "Per video.", 1),
    )
    options.group(
        "Stream",
        ("list", "thresholds", ["10", "20", "auto"], "From which difference on a pixel changed."),
        ("list", "reaches", ["receptive_field", "0"], "Pixels that changes are followed for."),
        ("list", "prunes", ["0", "0.2", "0.5"], "Shares up to which changes stop inside."),
        ("integer", "refresh", None, "Frames from one full run to the next.", 1),
        *DETECTION,
        bench_selective.FREEZE,
        ("integer", "turn", 8, "Frames that one of the two runs before the other does.", 1),
    )
    return options


def read(source: str, size: str, count: int) -> np.ndarray:
    """The first frames of a video, `(count, height, width, 3)` uint8."""
    clip = video.open_video(source, watch.size_of(size))
    try:
        frames = list(clip.frames(FIRST + count))
    finally:
        clip.close()
    if len(frames) <= FIRST:
        raise ValueError(f"{source} has {len(frames)} frames that can be decoded: too few.")
    return np.stack(frames)


def measure(dense, stream: selective.Stream, frames: np.ndarray, turn: int) -> dict[str, float]:
    """Runs a video.

    Args:
        dense: what computes a whole frame, see `bench_selective.compiled`.
        stream: a new one.
        frames: from `read`.
        turn: frames.

    Returns:
        Medians in milliseconds, and shares.
    """
    for frame in frames[:FIRST]:
        stream(frame)
    times: dict[str, list[float]] = {"dense ms": [], "ms": []}
    results, said = [], []
    for start in range(FIRST, len(frames), turn):
        some = frames[start : start + turn]
        said += [
            timed(dense, frame.astype("float32"), times["dense ms"])[0].argmax() for frame in some
        ]
        results += [timed(stream, frame, times["ms"]) for frame in some]
    heard = [result.output[0].argmax() for result in results]
    return {
        **{name: statistics.median(values) for name, values in times.items()},
        "in all": sum(times["dense ms"]) / sum(times["ms"]),
        "changed": statistics.median(result.stats.changed for result in results),
        "computed": statistics.median(1 - result.stats.saved for result in results),
        "agreement": float(np.mean(np.equal(said, heard))),
        "steady": float(np.mean(np.equal(said[1:], said[:-1]))) if len(said) > 1 else 1.0,
    }


def sweep(model: keras.Model, chosen) -> list[dict]:
    """Measures every video with every threshold and every share; prints each row."""
    model = selective.open_sizes(model)
    prunes = list(map(float, chosen.prunes))
    reaches = [pixels("reaches", text) for text in chosen.reaches]
    rows = []
    for source in chosen.videos:
        frames = read(source, chosen.size, chosen.frames)
        dense = bench_selective.compiled(model)
        dense(frames[0].astype("float32"))
        options = {
            "input_shape": frames.shape[1:],
            "refresh": chosen.refresh,
            **{name: getattr(chosen, name) for _, name, *_ in DETECTION},
            "freeze": bench_selective.frozen(chosen),
        }
        kept = [selective.stream(model, prune=p, **options) for p in {float(p > 0) for p in prunes}]
        for stream in kept:  # with and without pruning: keeps what is compiled for those below
            stream(frames[0])
        print(f"\n{source}: {len(frames) - FIRST} frames\n\n{HEAD}", flush=True)
        for threshold in map(_threshold, chosen.thresholds):
            for reach, prune in itertools.product(reaches, prunes):
                about = {"threshold": threshold, "reach": reach, "prune": prune}
                stream = selective.stream(model, **about, **options)
                found = measure(dense, stream, frames, chosen.turn)
                rows.append({"video": source, **about, **found})
                print(line(rows[-1]), flush=True)
        print(f"\nFrom one frame to the next, dense runs agree in {rows[-1]['steady']:.1%}.")
    return rows


HEAD = (
    "| threshold | reach | prune | changed | computed | dense ms | ms | times faster "
    "| in all | agreement |\n|" + "---|" * 10
)


def line(row: dict) -> str:
    """A row of the table in Markdown."""
    return (
        f"| {row['threshold']} | {row['reach']} | {row['prune']:g} | {row['changed']:.1%} "
        f"| {row['computed']:.1%} | {row['dense ms']:.1f} | {row['ms']:.1f} "
        f"| {row['dense ms'] / row['ms']:.2f} | {row['in all']:.2f} "
        f"| {row['agreement']:.1%} |"
    )


def _threshold(text: str) -> float | str:
    return text if text == "auto" else float(text)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        if not chosen.videos:
            raise ValueError("Give --videos: one or more files.")
        sweep(watch.load(chosen.model), chosen)
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
