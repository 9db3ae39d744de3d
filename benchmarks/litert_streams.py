"""Compares a .tflite file with its stream on synthetic frames, in turns within one run.

    python benchmarks/litert_streams.py net.tflite --threads 1
    python benchmarks/litert_streams.py net.tflite --regions 4 --shares 0.01,0.05 --json out.json

From frame to frame, one or several squares in random places change; together they have the given
share of the area. The same frames go through the whole file and through the stream, in turns of
--turn frames. The table has the medians of both, their quotient, the bound set by counted
multiply-accumulates, and the number of frames whose outputs are not equal bit for bit. A run takes
about a minute.
"""

from keras_seqpar.utils.commands import flag_group, own_flags, run

import statistics
import time
from pathlib import Path

import numpy as np
from absl import flags

from keras_seqpar import selective
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.utils.files import write_json

WARM_UP = 3  # frames per share that are not counted
HEAD = "changed  dense ms  stream ms  faster   bound  mode    wrong"

args = flags.FLAGS
with flag_group("Stream"):
    flags.DEFINE_integer("threads", 1, "CPU threads of both.", lower_bound=1)
    flags.DEFINE_list(
        "shares", ["0", "0.01", "0.05", "0.1", "0.25", "1"], "Shares of the area that change."
    )
    flags.DEFINE_integer("regions", 1, "Number of squares that change.", lower_bound=1)
    flags.DEFINE_integer(
        "runs", 24, "Frames per share, after three that are not counted.", lower_bound=1
    )
    flags.DEFINE_integer(
        "turn", 8, "Frames that one of the two runs before the other.", lower_bound=1
    )
    flags.DEFINE_integer("seed", 0, "Seed of places and values.")
with flag_group("Output"):
    flags.DEFINE_string("json", None, "File to write the rows to.")


def noise(shape: tuple[int, ...], dtype: np.dtype, rng: np.random.Generator) -> np.ndarray:
    """Values as an input of this type has them."""
    if dtype.kind == "f":
        return rng.uniform(0, 2, shape).astype(dtype)  # fits pixels and normalized input
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def next_frame(frame: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A copy of a frame with new values in `--regions` squares at random places."""
    frame = frame.copy()
    if not share:
        return frame
    height, width, channels = frame.shape
    part = (share / args.regions) ** 0.5
    rows, cols = max(1, round(height * part)), max(1, round(width * part))
    for _ in range(args.regions):
        top = int(rng.integers(0, height - rows + 1))
        left = int(rng.integers(0, width - cols + 1))
        values = noise((rows, cols, channels), frame.dtype, rng)
        frame[top : top + rows, left : left + cols] = values
    return frame


def timed(run_frame, frame: np.ndarray, times: list[float]):
    """The output for a frame; appends the milliseconds that it took."""
    start = time.perf_counter()
    output = run_frame(frame)
    times.append(1000 * (time.perf_counter() - start))
    return output


def measure(path: str) -> list[dict]:
    """Runs the file and its stream in turns; prints and returns one row per share."""
    name, engine = find_interpreter()
    dense = engine(model_path=path, num_threads=args.threads)
    dense.allocate_tensors()
    stream = selective.stream(path, num_threads=args.threads)
    image = max(dense.get_input_details(), key=lambda x: int(np.prod(x["shape"])))
    outputs = [x["index"] for x in dense.get_output_details()]

    def run_dense(frame):
        dense.set_tensor(image["index"], frame[None])
        dense.invoke()
        return [dense.get_tensor(i) for i in outputs]

    rng = np.random.default_rng(args.seed)
    frame = noise(stream.input_shape, np.dtype(image["dtype"]), rng)
    run_dense(frame)
    first = stream(frame).stats
    print(
        f"{name}; loading {first.warm_up_milliseconds:.0f} ms, first frame "
        f"{first.milliseconds:.1f} ms; the stream keeps {first.state_bytes / 1e6:.1f} MB"
    )
    print(f"{HEAD}\n{'-' * len(HEAD)}", flush=True)
    rows = []
    for share in map(float, args.shares):
        dense_ms: list[float] = []
        stream_ms: list[float] = []
        stats, wrong, remaining = [], 0, args.runs + WARM_UP
        while remaining > 0:
            frames = []
            for _ in range(min(args.turn, remaining)):
                frames.append(frame := next_frame(frame, share, rng))
            remaining -= len(frames)
            expected = [timed(run_dense, x, dense_ms) for x in frames]
            found = [timed(stream, x, stream_ms) for x in frames]
            for mine, theirs in zip(found, expected, strict=True):
                given = mine.output
                values = list(given.values()) if isinstance(given, dict) else [given]
                wrong += any(not np.array_equal(a, b) for a, b in zip(values, theirs, strict=True))
                stats.append(mine.stats)
        macs = statistics.median(x.macs for x in stats[WARM_UP:])
        rows.append(
            {
                "share": share,
                "dense ms": statistics.median(dense_ms[WARM_UP:]),
                "stream ms": statistics.median(stream_ms[WARM_UP:]),
                "bound": stats[0].macs_dense / macs if macs else None,
                "mode": statistics.mode(x.mode for x in stats[WARM_UP:]),
                "wrong": wrong,
            }
        )
        print(format_row(rows[-1]), flush=True)
    return rows


def format_row(row: dict) -> str:
    """A row of the printed table."""
    bound = f"{row['bound']:>6.2f}x" if row["bound"] else f"{'-':>7}"
    return (
        f"{row['share']:>7.1%} {row['dense ms']:>9.2f} {row['stream ms']:>10.2f} "
        f"{row['dense ms'] / row['stream ms']:>6.2f}x {bound}  {row['mode']:<6} {row['wrong']:>6}"
    )


def main(argv: list[str]) -> None:
    """Measures, prints and writes."""
    if not all(0 <= float(share) <= 1 for share in args.shares):
        raise ValueError(f"--shares must be numbers of 0 to 1, got {args.shares}.")
    rows = measure(argv[1])
    if args.json:
        write_json(Path(args.json), {"flags": own_flags(), "rows": rows})


if __name__ == "__main__":
    run(main, positional=["net.tflite"])
