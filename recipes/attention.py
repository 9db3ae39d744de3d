"""Sweeps the gain of top-down attention: how much right cues help and wrong cues harm.

    python recipes/attention.py runs/digits/best.keras
    python recipes/attention.py runs/imagenette/best.keras --dataset imagenette --data_dir PATH \\
        --after stage4_block1_conv2,stage5_block1_relu --json out.json --plot out.png
    python recipes/attention.py preset:imagenette_mobile --dataset imagenette --data_dir PATH

Measures top-1 at every gain of a grid:
- right cue: the image's true category has the gain (arXiv 2308.05128, section 4.4);
- wrong cue: another category has it, averaged over all others;
- inhibition (gains below 1): categories that are known to be absent have it: --absent of the
  others, drawn for every image by --seed;
- in nested networks: the superclass of the true category has it, or a wrong superclass;
- with --after: the gain acts after other layers of the categories' branches;
- with --composites: the middle halves of two images of different categories stand side by side;
  how often the gain makes the cued one the top-1, and how often a category that is not there.

The calibrated gain is the best one on a random half of the images, measured on the other half. By
default it is the best for right cues only; with --trust 0.8, for cues of which 80 % are right.

Constant gains of the network are set to 1 first. KERAS_BACKEND selects the backend.
"""

from keras_seqpar.utils.commands import flag_group, run

from pathlib import Path

import numpy as np
from absl import flags

from keras_seqpar import plots
from keras_seqpar.data import Split
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.presets.sources import load_source
from keras_seqpar.training import evaluation
from keras_seqpar.training.composites import composite_table, run_composites
from keras_seqpar.training.flags import define_measured_data_flags
from keras_seqpar.training.gain_sweeps import (
    GAINS,
    SweepSettings,
    parse_gain_grid,
    run_sweeps,
    sweep_table,
)
from keras_seqpar.utils.files import make_folder, write_json

args = flags.FLAGS
with flag_group("What to measure"):
    grid = ", ".join(f"{gain:g}" for gain in GAINS)
    flags.DEFINE_list(
        "gains", None, f"Gains, separated by commas; 1 is always included. Default: {grid}."
    )
    flags.DEFINE_list(
        "after", [], "Layers of the categories' branches, without the branch's prefix."
    )
    flags.DEFINE_integer(
        "absent",
        None,
        "Number of categories to inhibit. Default: half of the others.",
        lower_bound=1,
    )
    flags.DEFINE_boolean("composites", False, "Measure two categories side by side, too.")
    flags.DEFINE_float(
        "trust", 1.0, "Share of right cues to calibrate for, 0 to 1.", lower_bound=0.0
    )
    flags.DEFINE_integer(
        "seed", 0, "Seed of the halves, the absent categories and the drawn cues.", lower_bound=0
    )
    flags.DEFINE_string("json", None, "Write all results to this file, too.")
    flags.DEFINE_string("plot", None, "Draw the curves to this file: .png, .svg or .pdf.")
define_measured_data_flags()


def main(argv: list[str]) -> None:
    """Measures, prints, writes and draws."""
    if args.plot and Path(args.plot).suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--plot must end in .png, .svg or .pdf, got {args.plot!r}.")
    settings = SweepSettings(
        gains=parse_gain_grid(args.gains),
        after=args.after,
        absent=args.absent,
        trust=args.trust,
        seed=args.seed,
        batch_size=args.batch_size,
    )
    network = load_source(argv[1])
    labels = find_parts(network).hierarchy.categories  # refuses a plain network
    dataset = evaluation.load_split(
        network,
        args.dataset,
        split=args.split,
        image_size=args.image_size,
        data_dir=args.data_dir,
        skip_unreadable=args.skip_unreadable,
    )
    split = dataset.splits[args.split]
    truth = evaluation.match(network, dataset)[split.labels]
    known = np.flatnonzero(truth >= 0)
    images = Split(
        tuple(split.names[i] for i in known), split.labels[known], lambda i: split.read(known[i])
    )
    reports = run_sweeps(network, images, truth[known], settings)
    print(f"{argv[1]} on {dataset.name}, {args.split}: {len(known)} images")
    for report in reports:
        print(f"\n{sweep_table(report)}")
    composites = None
    if args.composites:
        composites = run_composites(
            network,
            images,
            truth[known],
            gains=settings.gains,
            seed=args.seed,
            batch_size=args.batch_size,
        )
        print(f"\n{composite_table(composites)}")
    if args.json:
        facts = {
            "model": argv[1],
            "dataset": dataset.name,
            "split": args.split,
            "images": len(known),
            "categories": list(labels),
            "seed": args.seed,
            "sweeps": reports,
            "composites": composites,
        }
        write_json(args.json, facts)
    if args.plot:
        plots.attention(reports, make_folder(args.plot))


if __name__ == "__main__":
    run(main, positional=["MODEL"])
