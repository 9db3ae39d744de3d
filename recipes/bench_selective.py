"""Dense against selective inference on a synthetic stream, interleaved in one run.

    python recipes/bench_selective.py --network resnet50 --size 512 --runs 30
    python recipes/bench_selective.py --network resnet50 --size 512 --regions 4
    python recipes/bench_selective.py --network vgg16 --size 512 --shares 0.01
    python recipes/bench_selective.py --size 224 --output out/224 --beside out/selective

Each frame changes in one or several squares in random places that together have the given
share of the area. The same frames go through Keras (compiled by the backend where it compiles)
and through the stream, in turns of --turn frames: with one frame per turn each finds its weights
and maps pushed out of the processor's caches by the other. Medians of both, their quotient, the
bound that counted multiply-accumulates set, and the largest difference relative to the output
range. Weights are random. A run on TensorFlow takes a few minutes. Writes selective.json and, where
matplotlib is installed, selective.png: both quotients over the share, with --beside also of earlier
runs.
"""

import collections
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

import keras
import numpy as np
from options import Options

import keras_seqpar as sp
from keras_seqpar import selective
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.selective.keras_engine.runs import MODES
from keras_seqpar.utils.files import write_json

_WARM_UP = 3  # frames per share that do not count
FREEZE = ("boolean", "freeze", True, "Weights as constants on TensorFlow: quicker, much memory.")
NETWORKS = ("resnet18", "resnet50", "convnext_v2_atto", "phl", "vgg16", "mobilenet_v2")


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__)
    options.group(
        "Network",
        ("enum", "network", "resnet50", "The trunk of a family, or a whole network.", NETWORKS),
        ("float", "width", 1.0, "Multiplies the channels of this package's networks.", 0.01),
        ("integer", "size", 512, "Side of the frames in pixels.", 32),
    )
    options.group(
        "Stream",
        ("list", "shares", ["0.01", "0.05", "0.1", "0.25", "1"], "Of the area that change."),
        ("integer", "regions", 1, "Squares that change.", 1),
        ("integer", "runs", 32, "Frames per share, after three that do not count.", 1),
        ("integer", "turn", 8, "Frames that one of the two runs before the other does.", 1),
        ("enum", "mode", "auto", "How frames are computed.", ["auto", *MODES]),
        FREEZE,
        ("integer", "seed", 0, "Of places and values."),
    )
    options.group(
        "Output",
        ("string", "output", "out/selective", "Folder to write to."),
        ("list", "beside", [], "Folders of earlier runs to draw as well."),
    )
    return options


def frozen(chosen) -> bool:
    """Whether the flags and the backend have weights as constants."""
    return chosen.freeze and keras.backend.backend() == "tensorflow"


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
    for layer in trunk.layers:  # an addition of zeros would be optimized away
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(0.1 * rng.normal(size=layer.beta.shape))
    return trunk


def compiled(model: keras.Model):
    """Keras's own dense run for one frame, compiled where the backend does that."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        def run(frame):
            with torch.no_grad():
                return keras.ops.convert_to_numpy(model(frame[None], training=False))

        return run

    if backend == "tensorflow":
        import tensorflow as tf

        run = tf.function(lambda x: model(x, training=False))
        return lambda frame: run(tf.constant(frame[None])).numpy()
    import jax

    state = [
        [v.value for v in x] for x in (model.trainable_variables, model.non_trainable_variables)
    ]
    run = jax.jit(lambda t, n, x: model.stateless_call(t, n, x, training=False)[0])
    return lambda frame: np.asarray(run(*state, frame[None]))


def change(frame: np.ndarray, share: float, regions: int, rng: np.random.Generator) -> np.ndarray:
    """The next frame: squares of new values that together have a share of the area.

    Args:
        frame: `(size, size, channels)`.
        share: of the area; squares may overlap.
        regions: how many squares.
        rng: where they lie and what they hold.
    """
    frame = frame.copy()
    size = frame.shape[0]
    side = max(1, round(size * (share / regions) ** 0.5))
    for _ in range(regions):
        top, left = rng.integers(0, size - side + 1, 2)
        part = frame[top : top + side, left : left + side]
        part[:] = rng.normal(size=part.shape)
    return frame


def measure(model: keras.Model, chosen) -> list[dict]:
    """Runs the stream; prints and gives one row per share.

    Args:
        model: the network.
        chosen: the flags.
    """
    rng = np.random.default_rng(chosen.seed)
    frame = rng.normal(size=model.input_shape[1:]).astype("float32")
    dense = compiled(model)
    dense(frame)
    start = time.perf_counter()
    stream = selective.stream(model, mode=chosen.mode, freeze=frozen(chosen))
    stats = stream(frame).stats
    print(
        f"first frame with calibration: {time.perf_counter() - start:.1f} s; the stream keeps "
        f"{stats.state_bytes / 1e6:.1f} MB; {stats.traces} compilations so far"
    )
    print(f"{HEAD}\n{'-' * len(HEAD)}", flush=True)
    rows = []
    for share in map(float, chosen.shares):
        times: dict[str, list[float]] = {"dense": [], "selective": []}
        macs, modes, worst = [], collections.Counter(), 0.0
        left = chosen.runs + _WARM_UP
        while left:
            frames = []
            for _ in range(min(chosen.turn, left)):
                frames.append(frame := change(frame, share, chosen.regions, rng))
            left -= len(frames)
            wanted = [timed(dense, frame, times["dense"]) for frame in frames]
            found = [timed(stream, frame, times["selective"]) for frame in frames]
            for mine, theirs in zip(found, wanted, strict=True):
                worst = max(worst, np.abs(mine.output - theirs).max() / np.abs(theirs).max())
            macs += [x.stats.macs for x in found]
            modes.update(x.stats.mode for x in found)
        of_dense, of_stream = (times[name][_WARM_UP:] for name in ("dense", "selective"))
        rows.append(
            {
                "share": share,
                "dense ms": statistics.median(of_dense),
                "selective ms": statistics.median(of_stream),
                "bound": stats.macs_dense / statistics.median(macs[_WARM_UP:]),
                "error": float(worst),
                "mode": modes.most_common(1)[0][0],
                "compilations": found[-1].stats.traces,
            }
        )
        print(line(rows[-1]), flush=True)
    return rows


def timed(run, frame: np.ndarray, times: list[float]):
    """What `run` gives; its milliseconds are added to `times`."""
    start = time.perf_counter()
    found = run(frame)
    times.append(1000 * (time.perf_counter() - start))
    return found


HEAD = "changed  dense ms  selective ms  faster  bound    error  mode       compilations"


def line(row: dict) -> str:
    """A row of the table to print."""
    return (
        f"{row['share']:>7.1%} {row['dense ms']:>9.2f} {row['selective ms']:>13.2f} "
        f"{row['dense ms'] / row['selective ms']:>6.2f}x {row['bound']:>5.2f}x "
        f"{row['error']:>8.1e}  {row['mode']:<10} {row['compilations']:>12}"
    )


def title(flags: dict) -> str:
    """What a run is called in the figure."""
    count = "one square" if flags["regions"] == 1 else f"{flags['regions']} squares"
    return f"{flags['network']}, {flags['size']} pixels, {count}"


def earlier(folders: list[str]) -> list[dict]:
    """The runs in folders, as they were written.

    Raises:
        ValueError: a folder without a run.
    """
    runs = []
    for folder in folders:
        try:
            run = json.loads((Path(folder) / "selective.json").read_text("utf-8"))
            runs.append({"flags": run["flags"], "rows": run["rows"]})
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"--beside: {folder} has no selective.json of a run.") from error
    return runs


def draw(runs: list[dict], path: Path) -> None:
    """Draws how many times faster each run was, and its bound, if matplotlib is installed."""
    try:
        from keras_seqpar.plots import drawing

        figure = drawing.new_figure(7, 4.5)
    except ImportError:
        print(f"No {path.name}: the package matplotlib is not installed.")
        return
    axes = figure.subplots()
    for run, (color, marker, _) in zip(runs, itertools.cycle(drawing.STYLES)):
        shares = [100 * row["share"] for row in run["rows"]]
        faster = [row["dense ms"] / row["selective ms"] for row in run["rows"]]
        axes.plot(shares, faster, marker=marker, color=color, label=title(run["flags"]))
        bounds = [row["bound"] for row in run["rows"]]
        axes.plot(shares, bounds, ":", color=color, label="bound by counted MACs")
    axes.axhline(1, color="0.4", lw=1)
    axes.set(xscale="log", xlabel="pixels that changed (%)", ylabel="times faster than dense")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(color="0.9")
    drawing.legend(axes)
    drawing.finish(figure, path)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        before = earlier(chosen.beside)
        shares = [float(share) for share in chosen.shares]
        if not shares or not all(0 < share <= 1 for share in shares):
            raise ValueError(f"--shares must be numbers above 0 and up to 1, got {chosen.shares}.")
        model = make_network(chosen.network, chosen.size, chosen.width)
        print(f"{chosen.network} at {chosen.size} pixels, {keras.backend.backend()}, "
              f"{chosen.regions} region(s), medians of {chosen.runs}")  # fmt: skip
        rows = measure(model, chosen)
        run = {"flags": vars(chosen), "backend": keras.backend.backend(), "rows": rows}
        folder = Path(chosen.output)
        write_json(folder / "selective.json", run)
        draw([*before, run], folder / "selective.png")
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
