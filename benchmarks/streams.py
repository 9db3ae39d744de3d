"""Compares streams with the dense networks that they replace, in turns within one run.

    python benchmarks/streams.py --network resnet50 --size 512 --threads 1 --regions 1,4
    python benchmarks/streams.py --network net.tflite --json out.json
    python benchmarks/streams.py --network resnet50 --rivals int8,float32,keras --runs 6
    python benchmarks/streams.py --network preset:imagenette_small --videos highway.avi,mall.mpg
    python benchmarks/streams.py --all --videos highway.avi,mall.mpg --json out.json

From frame to frame, one or several squares in random places change; together they have the given
share of the area. The same frames go through every rival: a .tflite file run whole, its stream, and
with `keras` Keras's own dense network and the stream of the Keras model, all with default settings.
The tables have medians in milliseconds first, then how many times faster a stream is than the dense
network in the same precision, and the bound by counted multiply-accumulates. Outputs of streams of
files must equal those of the whole file bit for bit, those of Keras within 1e-4 of their range;
frames with other outputs are counted as wrong. Loading, the first frame and memory are measured in
processes of their own, without Keras.

With --videos, the frames of videos go through the int8 file and its stream. Files are made once and
kept in --files; for int8 they are calibrated on noise, or on frames of the videos. --all runs the
tables of the documentation, each in a process of its own: about six minutes on two idle
cores, and two more to make the files.
"""

from keras_seqpar.utils.commands import flag_group, own_flags, run

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from keras_seqpar.benchmarking.files import network_files
from keras_seqpar.benchmarking.rivals import file_rivals
from keras_seqpar.benchmarking.shares import measure_shares, measure_start
from keras_seqpar.benchmarking.tables import share_table, start_table, video_table
from keras_seqpar.benchmarking.videos import measure_video
from keras_seqpar.data.video import open_video
from keras_seqpar.selective.detector import AUTO, Detector
from keras_seqpar.utils.files import write_json

RIVALS = ("int8", "float32", "keras")
# The tables of the documentation, as flags.
ALL = (
    "--network=resnet50 --size=512 --threads=1 --regions=1,4",
    "--network=resnet50 --size=512 --threads=2",
    "--network=resnet50 --size=224 --threads=1",
    "--network=resnet50 --size=224 --threads=2",
    *(
        f"--network={name} --size={size} --threads=1"
        for name in ("mobilenet_v2", "efficientnet_lite0", "preset:imagenette_small")
        for size in (512, 224)
    ),
    *(
        f"--network=resnet50 --size={size} --threads={threads} --rivals=int8,float32,keras"
        " --runs=5 --turn=4 --shares=0.01,0.05,0.25,1"
        for size in (512, 224)
        for threads in (1, 2)
    ),
)
VIDEOS = ("", "--noise=8,14,20 --frames=120")

args = flags.FLAGS
with flag_group("Network"):
    flags.DEFINE_string(
        "network",
        "resnet50",
        "A family of this package, mobilenet_v2 or vgg16 of keras.applications (random weights), "
        "preset:NAME, a .keras or a .tflite file.",
    )
    flags.DEFINE_integer("size", 512, "Side of the frames in pixels.", lower_bound=32)
    flags.DEFINE_list("rivals", ["int8"], f"What is run: {', '.join(RIVALS)}. Not for .tflite.")
    flags.DEFINE_integer("threads", 1, "CPU threads of every rival.", lower_bound=1)
    flags.DEFINE_string("files", "out/streams", "Folder of the converted files.")
with flag_group("Frames"):
    flags.DEFINE_list(
        "shares", ["0", "0.01", "0.05", "0.1", "0.25", "1"], "Shares of the area that change."
    )
    flags.DEFINE_list("regions", ["1"], "Numbers of squares that change.")
    flags.DEFINE_integer(
        "runs", 24, "Frames per share, after three that are not counted.", lower_bound=1
    )
    flags.DEFINE_integer("turn", 8, "Frames that one rival runs before the next.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of places and values.")
    flags.DEFINE_list("videos", [], "Videos of a fixed camera, in place of squares.")
    flags.DEFINE_integer("frames", 200, "Frames per video.", lower_bound=8)
    flags.DEFINE_string("threshold", AUTO, "Of videos: a number, or auto.")
    flags.DEFINE_list("noise", [], "Of videos: noise levels to compare, in place of learning it.")
with flag_group("Output"):
    flags.DEFINE_bool("all", False, "Run all tables of the documentation.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def number(name: str, text: str, largest: float = float("inf"), smallest: float = 0) -> float:
    """A number of a flag.

    Raises:
        ValueError: another text, or a number out of range.
    """
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not smallest <= found <= largest:
        raise ValueError(
            f"--{name} must be numbers from {smallest:g} to {largest:g}, got {text!r}."
        )
    return found


def make_files(quantizations: list[str], calibration=None) -> dict[str, Path]:
    """The .tflite files of --network, made where they are missing."""
    options = {"quantizations": quantizations, "calibration": calibration}
    return network_files(args.network, args.size, args.files, **options)


def measure_squares() -> dict:
    """Measures frames with changed squares; prints tables."""
    shares = [number("shares", x, 1) for x in args.shares]
    regions = [int(number("regions", x, 1000, 1)) for x in args.regions]
    unknown = set(args.rivals) - set(RIVALS)
    if unknown or not set(args.rivals) - {"keras"}:
        raise ValueError(f"--rivals must be int8, float32 or both, perhaps keras: {args.rivals}.")
    paths = make_files([x for x in args.rivals if x != "keras"])
    rivals: dict = {}
    for name, path in reversed(paths.items()):  # the first one gives the values of frames
        made, dense = file_rivals(name, path, args.threads)
        rivals = made | rivals
    if "keras" in args.rivals and "file" not in paths:
        from keras_seqpar.benchmarking.keras_rivals import keras_rivals  # imports Keras

        rivals |= keras_rivals(args.network, args.size)
    start = measure_start(next(iter(paths.values())), args.threads)
    print(f"\n{start_table(title(), start)}", flush=True)
    rows = []
    for count in regions:
        options = {"regions": count, "runs": args.runs, "turn": args.turn, "seed": args.seed}
        measured = measure_shares(rivals, dense.scale, dense.input_shape, shares=shares, **options)
        rows += (found := list(measured))
        print(f"\n{title()}, {count} region(s):\n\n{share_table(found)}", flush=True)
    return {"start": start, "rows": rows}


def measure_videos() -> dict:
    """Measures the frames of videos; prints a table."""
    threshold = args.threshold if args.threshold == AUTO else number("threshold", args.threshold)
    clips = {}
    for source in args.videos:
        with open_video(source, (args.size, args.size)) as clip:
            clips[clip.name] = list(clip.frames(args.frames))

    def calibration() -> np.ndarray:
        return np.concatenate([frames[:: max(1, len(frames) // 40)] for frames in clips.values()])

    (path,) = make_files(["int8"], calibration).values()
    options = {"threads": args.threads, "turn": args.turn}
    noises: list[float | None] = [number("noise", x) for x in args.noise]
    rows = []
    for name, frames in clips.items():
        for noise in noises or [None]:
            detector = Detector(threshold, noise=noise)
            found = {"video": name, **measure_video(path, frames, detector, **options)}
            rows.append(found)
    print(f"\n{title()}, threshold {args.threshold}:\n\n{video_table(rows)}", flush=True)
    return {"rows": rows}


def title() -> str:
    """The network and its conditions."""
    return f"{Path(args.network).name}, {args.size} pixels, {args.threads} thread(s)"


def measure_all() -> list[dict]:
    """Runs all tables of the documentation, each in a process of its own."""
    calls = [each.split() for each in ALL]
    if args.videos:
        videos = ["--network=preset:imagenette_small", f"--videos={','.join(args.videos)}"]
        calls += [[*videos, *each.split()] for each in VIDEOS]
    found = []
    for call in calls:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "found.json"
            command = [sys.executable, __file__, *call, f"--files={args.files}", f"--json={path}"]
            if (code := subprocess.run(command).returncode) != 0:
                raise ValueError(f"{' '.join(call)} ended with {code}.")
            found.append(json.loads(path.read_text("utf-8")))
    return found


def main(_) -> None:
    """Measures, prints and writes."""
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(args.threads))  # of Keras's rivals
    if args.all:
        report: Any = measure_all()
    else:
        found = measure_videos() if args.videos else measure_squares()
        report = {"flags": own_flags(), **found}
    if args.json:
        write_json(Path(args.json), report)


if __name__ == "__main__":
    run(main)
