"""Cutouts, with gains, on a stream: what each frame costs in int8.

    python recipes/together.py highway.avi --output docs/figures

Cutouts of a preset with fewer and fewer categories, with a gain on the first of them, are converted
to int8, calibrated on frames of the video, and run on it as streams (threshold="auto"). A frame
costs the kept branches where it changed. In the same run, in turns, the same file runs dense, and
so does that of the whole network. together.png shows the milliseconds of the streams frame by
frame, beside the dense runs, and over the share of the arithmetic that was done; together.json has
the numbers. It takes a few minutes.
"""

from keras_seqpar.utils.commands import flag_group, own_flags, run

import tempfile
from pathlib import Path

import numpy as np
from absl import flags

import keras_seqpar as sp
from keras_seqpar import plots
from keras_seqpar.benchmarking.networks import convert_quietly
from keras_seqpar.benchmarking.videos import measure_video
from keras_seqpar.data.video import open_video, parse_size
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.selective.detector import AUTO, Detector
from keras_seqpar.utils.files import write_json

args = flags.FLAGS
with flag_group("Network and video"):
    flags.DEFINE_string("preset", "imagenette_small", "The network; see keras_seqpar.preset_names.")
    flags.DEFINE_list(
        "keep", ["10", "5", "1"], "Numbers of categories to keep, one cutout for each."
    )
    flags.DEFINE_float("gain", 1.3, "Gain of the first category.", lower_bound=0.0)
    flags.DEFINE_string("size", "640x480", "Size that frames are resized to.")
    flags.DEFINE_integer("frames", 100, "Number of frames of the video.", lower_bound=7)
    flags.DEFINE_integer("threads", 1, "CPU threads.", lower_bound=1)
    flags.DEFINE_string("output", "out/together", "Folder to write to.")


def main(argv: list[str]) -> None:
    """Converts the cutouts, runs them on the video, draws, writes and prints."""
    network = sp.load_preset(args.preset)
    labels = find_parts(network).hierarchy.categories
    counts = [int(count) for count in args.keep if count.isdigit()]
    if len(counts) < len(args.keep) or not all(0 < count <= len(labels) for count in counts):
        raise ValueError(f"--keep must be numbers from 1 to {len(labels)}, got {args.keep}.")
    with open_video(argv[1], parse_size(args.size)) as clip:
        frames = list(clip.frames(args.frames))
    if not frames:
        raise ValueError(f"{argv[1]} has no frames that can be decoded.")
    results, size = [], frames[0].shape[:2]
    samples = np.stack(frames[:: max(1, len(frames) // 50)])
    with tempfile.TemporaryDirectory() as temporary:

        def make_file(model, name: str) -> Path:
            return convert_quietly(model, Path(temporary, name), "int8", size, lambda: samples)

        whole = make_file(network, "whole.tflite")
        for count in counts:
            cutout = sp.attend(sp.cutout(network, labels[:count]), {labels[0]: args.gain})
            path = make_file(cutout, f"{count}.tflite")
            found = measure_video(path, frames, Detector(AUTO), threads=args.threads, whole=whole)
            results.append({"categories": count, **found})
            print(
                f"{count:>3} categories: dense {found['dense']:.1f} ms, stream "
                f"{found['stream']:.1f} ms ({found['whole'] / found['stream']:.1f} times as fast "
                f"as the whole network's {found['whole']:.1f} ms), {found['changed']:.1%} of the "
                f"pixels changed, {found['computed']:.0%} computed (medians)",
                flush=True,
            )
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{args.preset} in int8 on {clip.name}, {size[1]}x{size[0]}, {args.threads} thread(s)"
    plots.stream_costs(results, folder / "together.png", title=title)
    report = {"flags": own_flags() | {"video": argv[1]}, "results": results}
    write_json(folder / "together.json", report)


if __name__ == "__main__":
    run(main, positional=["VIDEO"])
