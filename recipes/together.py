"""Everything together: cutouts, with gains, on a stream, and what each frame costs.

    python recipes/together.py highway.avi --output docs/figures

Cutouts of a preset with fewer and fewer categories, the first of them favored by a gain, run on
the frames of a video. A frame costs the multiply-accumulates of the branches that are kept, at
the positions that changed: the figure together.png has them frame by frame, beside the dense
runs of the same cutouts, and over the share of the trunk's output that a change reaches;
together.json has the numbers.
"""

import sys
from pathlib import Path

import numpy as np
import run_folder
import video
from options import Options

import keras_seqpar as sp
from keras_seqpar import selective
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.plots import figure as figures


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="video")
    options.group(
        "Everything",
        ("string", "preset", "imagenette_small", "The network; see keras_seqpar.preset_names."),
        ("list", "keep", ["10", "5", "1"], "Numbers of categories that are kept."),
        ("float", "gain", 1.3, "Of the first category.", 0.0),
        ("float", "threshold", 24.0, "From which difference on a pixel changed.", 0.0),
        ("integer", "frames", 60, "Of the video.", 2),
        ("string", "output", "out/together", "Folder to write to."),
    )
    return options


def run(network, frames, kept: int, chosen) -> dict:
    """One cutout on all frames.

    Args:
        network: the whole network.
        frames: `(height, width, 3)` each.
        kept: number of categories.
        chosen: all flags.

    Returns:
        Multiply-accumulates of every frame and of a dense run, and the shares of the pixels that
        changed and of the trunk's output that had to be computed.
    """
    labels = find_parts(network).hierarchy.categories[:kept]
    part = sp.attend(sp.cutout(network, labels), {labels[0]: chosen.gain})
    camera = selective.stream(
        selective.open_sizes(part),
        input_shape=frames[0].shape,
        threshold=chosen.threshold,
        drop_single=chosen.threshold > 0,
        calibrate=0,  # what counts here is arithmetic, not this machine's speed
        mode="positions",
    )
    trunk = find_parts(part).trunk.layers[-1].name
    stats = [camera(frame).stats for frame in frames][1:]  # the first is dense
    return {
        "categories": kept,
        "macs": [x.macs for x in stats],
        "macs_dense": stats[0].macs_dense,
        "changed": [x.changed for x in stats],
        "trunk": [x.layers[trunk] for x in stats],
    }


def draw(results: list[dict], path: Path, title: str) -> None:
    """Draws multiply-accumulates over frames, and over the share that a change reaches."""
    figure = figures.new(9.5, 4)
    by_frame, by_share = figure.subplots(1, 2, sharey=True)
    for found, (color, marker, _) in zip(results, figures.STYLES, strict=False):
        count = found["categories"]
        name = f"{count} categor{'y' if count == 1 else 'ies'}"
        macs = np.array(found["macs"]) / 1e6
        by_frame.plot(np.arange(1, len(macs) + 1), macs, color=color, label=f"{name}, stream")
        by_frame.axhline(found["macs_dense"] / 1e6, color=color, ls="--", label=f"{name}, dense")
        shares = 100 * np.array(found["trunk"])
        by_share.plot(shares, macs, marker, color=color, markersize=4, label=name)
    by_frame.set(xlabel="frame", ylabel="million multiply-accumulates per frame", ylim=(0, None))
    by_share.set(xlabel="positions of the trunk's output to compute (%)", xlim=(0, None))
    for axes in (by_frame, by_share):
        axes.grid(color="0.9")
        figures.legend(axes)
    figures.finish(figure, path, title)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        network = sp.load_preset(chosen.preset)
        most = len(find_parts(network).hierarchy.categories)
        counts = [int(count) for count in chosen.keep if count.isdigit()]
        if len(counts) < len(chosen.keep) or not all(0 < count <= most for count in counts):
            raise ValueError(f"--keep must be numbers from 1 to {most}, got {chosen.keep}.")
        clip = video.open_video(chosen.video)
        frames = list(clip.frames(chosen.frames))
        clip.close()
        if len(frames) < 2:
            raise ValueError(f"{chosen.video} has fewer than two frames.")
        results = [run(network, frames, count, chosen) for count in counts]
        folder = Path(chosen.output)
        folder.mkdir(parents=True, exist_ok=True)
        height, width = frames[0].shape[:2]
        title = f"{chosen.preset} on {clip.name}, {width}x{height}"
        draw(results, folder / "together.png", title)
        facts = {"flags": vars(chosen), "results": results}
        run_folder.write_json(folder / "together.json", facts)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    full = results[0]["macs_dense"]
    for found in results:
        mean = float(np.mean(found["macs"]))
        print(
            f"{found['categories']:>3} categories: dense {found['macs_dense'] / 1e6:.0f} M, stream "
            f"{mean / 1e6:.0f} M on average ({mean / full:.1%} of the first network's dense run), "
            f"{np.mean(found['changed']):.1%} of the pixels changed"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
