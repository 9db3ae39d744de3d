"""Compares dense and selective inference on synthetic frames, in turns within one run.

    python benchmarks/streams.py --network resnet50 --size 512 --runs 30
    python benchmarks/streams.py --network resnet50 --size 512 --regions 4
    python benchmarks/streams.py --network vgg16 --size 512 --shares 0.01
    python benchmarks/streams.py --size 224 --output out/224 --beside out/selective

From frame to frame, one or several squares in random places change; together they have the given
share of the area. The same frames go through Keras (compiled where the backend compiles) and
through the stream, in turns of --turn frames: with one frame per turn, each of the two would push
the other's weights and maps out of the processor's caches. The table has the medians of both,
their quotient, the bound set by counted multiply-accumulates, and the largest difference relative
to the output range. Weights are random. A run on TensorFlow takes a few minutes.

Writes selective.json and, if matplotlib is installed, selective.png: quotient and bound over the
share; with --beside, also those of earlier runs.
"""

from keras_seqpar.utils.commands import flag_group, own_flags, run

import collections
import json
import statistics
import time
from pathlib import Path

import keras
import numpy as np
from absl import flags

import keras_seqpar as sp
from keras_seqpar import plots, selective
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.plots.drawing import optional
from keras_seqpar.selective.command_flags import define_freeze_flag
from keras_seqpar.selective.keras_engine.runs import MODES
from keras_seqpar.selective.measuring import can_freeze, change_squares, compile_dense, timed
from keras_seqpar.utils.files import write_json

WARM_UP = 3  # frames per share that are not counted
NETWORKS = ("resnet18", "resnet50", "convnext_v2_atto", "phl", "vgg16", "mobilenet_v2")
HEAD = "changed  dense ms  selective ms  faster  bound    error  mode       compilations"

args = flags.FLAGS
with flag_group("Network"):
    flags.DEFINE_enum(
        "network", "resnet50", NETWORKS, "The trunk of a family, or a complete network."
    )
    flags.DEFINE_float(
        "width", 1.0, "Multiplies the channels of this package's networks.", lower_bound=0.01
    )
    flags.DEFINE_integer("size", 512, "Side of the frames in pixels.", lower_bound=32)
with flag_group("Stream"):
    flags.DEFINE_list(
        "shares", ["0.01", "0.05", "0.1", "0.25", "1"], "Shares of the area that change."
    )
    flags.DEFINE_integer("regions", 1, "Number of squares that change.", lower_bound=1)
    flags.DEFINE_integer(
        "runs", 32, "Frames per share, after three that are not counted.", lower_bound=1
    )
    flags.DEFINE_integer(
        "turn", 8, "Frames that one of the two runs before the other.", lower_bound=1
    )
    flags.DEFINE_enum("mode", "auto", ["auto", *MODES], "How frames are computed.")
    define_freeze_flag()
    flags.DEFINE_integer("seed", 0, "Seed of places and values.")
with flag_group("Output"):
    flags.DEFINE_string("output", "out/selective", "Folder to write to.")
    flags.DEFINE_list("beside", [], "Folders of earlier runs to draw as well.")


def make_network(name: str, size: int, width: float) -> keras.Model:
    """The network to measure.

    Args:
        name: one of `NETWORKS`; of a family the trunk, that is without its classifier.
        size: side of the frames in pixels.
        width: multiplies the channels of this package's networks.
    """
    shape = (size, size, 3)
    if name == "vgg16":
        return keras.applications.VGG16(weights=None, include_top=False, input_shape=shape)
    if name == "mobilenet_v2":
        return keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=shape)
    if name == "phl":
        labels = [str(i) for i in range(10)]
        return sp.build_phl(labels, input_shape=shape, width=width, seed=0)
    model = sp.build_plain(10, family=name, input_shape=shape, width=width, seed=0)
    trunk = find_parts(model, allow_plain=True).trunk
    rng = np.random.default_rng(0)
    for layer in trunk.layers:  # with zeros the additions would be optimized away
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(0.1 * rng.normal(size=layer.beta.shape))
    return trunk


def measure(model: keras.Model, shares: list[float]) -> list[dict]:
    """Runs the network densely and as a stream; prints and returns one row per share."""
    rng = np.random.default_rng(args.seed)
    frame = rng.normal(size=model.input_shape[1:]).astype("float32")
    dense = compile_dense(model)
    dense(frame)
    start = time.perf_counter()
    stream = selective.stream(model, mode=args.mode, freeze=can_freeze(args.freeze))
    stats = stream(frame).stats
    print(
        f"first frame with calibration: {time.perf_counter() - start:.1f} s; the stream keeps "
        f"{stats.state_bytes / 1e6:.1f} MB; {stats.traces} compilations so far"
    )
    print(f"{HEAD}\n{'-' * len(HEAD)}", flush=True)
    rows = []
    for share in shares:
        dense_ms, stream_ms, results = [], [], []
        error, remaining = 0.0, args.runs + WARM_UP
        while remaining:
            frames = []
            for _ in range(min(args.turn, remaining)):
                frames.append(frame := change_squares(frame, share, args.regions, rng))
            remaining -= len(frames)
            expected = [timed(dense, frame, dense_ms) for frame in frames]
            found = [timed(stream, frame, stream_ms) for frame in frames]
            for ours, theirs in zip(found, expected, strict=True):
                error = max(error, np.abs(ours.output - theirs).max() / np.abs(theirs).max())
            results += found
        macs = [result.stats.macs for result in results[WARM_UP:]]
        modes = collections.Counter(result.stats.mode for result in results)
        rows.append(
            {
                "share": share,
                "dense ms": statistics.median(dense_ms[WARM_UP:]),
                "selective ms": statistics.median(stream_ms[WARM_UP:]),
                "bound": stats.macs_dense / statistics.median(macs),
                "error": float(error),
                "mode": modes.most_common(1)[0][0],
                "compilations": results[-1].stats.traces,
            }
        )
        print(format_row(rows[-1]), flush=True)
    return rows


def format_row(row: dict) -> str:
    """A row of the printed table."""
    return (
        f"{row['share']:>7.1%} {row['dense ms']:>9.2f} {row['selective ms']:>13.2f} "
        f"{row['dense ms'] / row['selective ms']:>6.2f}x {row['bound']:>5.2f}x "
        f"{row['error']:>8.1e}  {row['mode']:<10} {row['compilations']:>12}"
    )


def title(values: dict) -> str:
    """The name of a run in the figure, from the values of its flags."""
    count = "one square" if values["regions"] == 1 else f"{values['regions']} squares"
    return f"{values['network']}, {values['size']} pixels, {count}"


def read_runs(folders: list[str]) -> list[tuple[str, list[dict]]]:
    """Titles and rows of earlier runs.

    Raises:
        ValueError: a folder without a run.
    """
    runs = []
    for folder in folders:
        try:
            run = json.loads((Path(folder) / "selective.json").read_text("utf-8"))
            runs.append((title(run["flags"]), run["rows"]))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"--beside: {folder} has no selective.json of a run.") from error
    return runs


def main(_) -> None:
    """Measures, prints, writes and draws."""
    runs = read_runs(args.beside)
    shares = [float(share) for share in args.shares]
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"--shares must be numbers above 0 and up to 1, got {args.shares}.")
    model = make_network(args.network, args.size, args.width)
    print(
        f"{args.network} at {args.size} pixels, {keras.backend.backend()}, "
        f"{args.regions} region(s), medians of {args.runs}"
    )
    values = own_flags()
    rows = measure(model, shares)
    report = {"flags": values, "backend": keras.backend.backend(), "rows": rows}
    folder = Path(args.output)
    write_json(folder / "selective.json", report)
    with optional(folder / "selective.png"):
        plots.stream_speedups([*runs, (title(values), rows)], folder / "selective.png")


if __name__ == "__main__":
    run(main)
