"""Cutouts, with gains, on a stream: the costs of each frame.

    python recipes/together.py highway.avi --output docs/figures

Cutouts of a preset with fewer and fewer categories, with a gain on the first of them, run on the
frames of a video. A frame costs the multiply-accumulates of the kept branches at the positions
that changed. together.png shows these costs frame by frame, beside dense runs of the same cutouts,
and over the share of the trunk's output that was computed; together.json has the numbers.
"""

from keras_seqpar.utils.commands import flag_group, own_flags, run

from pathlib import Path

import numpy as np
from absl import flags

import keras_seqpar as sp
from keras_seqpar import plots
from keras_seqpar.data.video import open_video
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.selective.measuring import count_stream_macs
from keras_seqpar.utils.files import write_json

args = flags.FLAGS
with flag_group("Network and video"):
    flags.DEFINE_string("preset", "imagenette_small", "The network; see keras_seqpar.preset_names.")
    flags.DEFINE_list(
        "keep", ["10", "5", "1"], "Numbers of categories to keep, one cutout for each."
    )
    flags.DEFINE_float("gain", 1.3, "Gain of the first category.", lower_bound=0.0)
    flags.DEFINE_float(
        "threshold", 24.0, "Difference from which on a pixel counts as changed.", lower_bound=0.0
    )
    flags.DEFINE_integer("frames", 60, "Number of frames of the video.", lower_bound=2)
    flags.DEFINE_string("output", "out/together", "Folder to write to.")


def main(argv: list[str]) -> None:
    """Runs the cutouts on the video, draws, writes and prints."""
    network = sp.load_preset(args.preset)
    labels = find_parts(network).hierarchy.categories
    counts = [int(count) for count in args.keep if count.isdigit()]
    if len(counts) < len(args.keep) or not all(0 < count <= len(labels) for count in counts):
        raise ValueError(f"--keep must be numbers from 1 to {len(labels)}, got {args.keep}.")
    with open_video(argv[1]) as clip:
        frames = list(clip.frames(args.frames))
    if len(frames) < 2:
        raise ValueError(f"{argv[1]} has fewer than two frames.")
    results = []
    for count in counts:
        cutout = sp.attend(sp.cutout(network, labels[:count]), {labels[0]: args.gain})
        macs = count_stream_macs(cutout, frames, args.threshold)
        results.append({"categories": count, **macs})
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    width, height = clip.frame_size
    title = f"{args.preset} on {clip.name}, {width}x{height}"
    plots.stream_costs(results, folder / "together.png", title=title)
    report = {"flags": own_flags() | {"video": argv[1]}, "results": results}
    write_json(folder / "together.json", report)
    full = results[0]["macs_dense"]
    for found in results:
        mean = float(np.mean(found["macs"]))
        print(
            f"{found['categories']:>3} categories: dense {found['macs_dense'] / 1e6:.0f} M, stream "
            f"{mean / 1e6:.0f} M on average ({mean / full:.1%} of the first network's dense run), "
            f"{np.mean(found['changed']):.1%} of the pixels changed"
        )


if __name__ == "__main__":
    run(main, positional=["VIDEO"])
