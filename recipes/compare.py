"""Compares runs: the flags that differ, the best accuracy, size and time, and their curves.

    python recipes/compare.py runs/a runs/b
    python recipes/compare.py runs/* --json out/runs.json --figure out/runs.png

A run is the folder of a training (`--output` of recipes/train.py), finished or not, with one epoch
at least. The figure shows loss and accuracy on the validation images against the epoch.
"""

from keras_seqpar.utils.commands import flag_group, run

import dataclasses

from absl import flags

from keras_seqpar import plots
from keras_seqpar.plots.drawing import optional
from keras_seqpar.training.runs.comparing import comparison, differing_flags, read_run
from keras_seqpar.utils.files import write_json

args = flags.FLAGS
with flag_group("Output"):
    flags.DEFINE_string("figure", "comparison.png", "The curves: a .png, .svg or .pdf file.")
    flags.DEFINE_string("json", None, "Write all numbers to this file, too.")


def main(argv: list[str]) -> None:
    """Prints the table, and writes the figure."""
    runs = [read_run(folder) for folder in argv[1:]]
    print(comparison(runs))
    with optional(args.figure):
        plots.compare_curves({each.folder: each.history for each in runs}, args.figure)
        print(f"Curves: {args.figure}")
    if args.json:
        facts = {"differing": differing_flags(runs), "runs": [*map(dataclasses.asdict, runs)]}
        write_json(args.json, facts)


if __name__ == "__main__":
    run(main, positional=["RUN", "RUN..."])
