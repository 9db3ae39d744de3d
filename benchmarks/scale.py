"""Measures networks of many categories: plain, with named branches, and fused.

    python benchmarks/scale.py             # prints the rows of docs/results/scale_BACKEND.json
    python benchmarks/scale.py --update    # and writes them into it; then docs/results/make.py
    python benchmarks/scale.py --counts=10,100 --family=efficientnet_lite0 --width=1
    python benchmarks/scale.py --large --counts=1000,10000 --train_most=1000

A table of N categories: seconds to build and to the first answer, milliseconds of inference and of
a training step, peak memory of the process. No data: images are noise. KERAS_BACKEND selects the
backend; default: tensorflow. Takes about 7 minutes on two busy cores; 100 named branches
(--named_most=100) compile much longer; --limit ends that. With --large, fused networks of three
families at the size of image they are made for, each with a cutout that is exported in int8.
"""

from keras_seqpar.utils.commands import flag_group, run

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from absl import flags

from keras_seqpar.benchmarking.large import measure_large
from keras_seqpar.benchmarking.results import update
from keras_seqpar.benchmarking.scale import measure_scale

RESULTS = Path(__file__).parent.parent / "docs" / "results"

args = flags.FLAGS
with flag_group("Networks"):
    flags.DEFINE_list("counts", ["10", "100", "1000"], "Numbers of categories.")
    flags.DEFINE_bool("large", False, "Measure networks of three families at 224 pixels instead.")
    flags.DEFINE_string("family", "resnet50", "Family of the networks.")
    flags.DEFINE_string("plan", "late_sp", "Plan of the PHL networks.")
    flags.DEFINE_float("width", 0.25, "Width of the networks.")
    flags.DEFINE_integer("size", 64, "Side of the images.", lower_bound=1)
with flag_group("Measuring"):
    flags.DEFINE_integer("named_most", 10, "Largest number to build with named branches.")
    flags.DEFINE_integer("train_most", 100, "Largest number to train with.")
    text = "Seconds that a first training step may take; 0: as long as it takes."
    flags.DEFINE_float("limit", 0.0, text, lower_bound=0.0)
    flags.DEFINE_integer("repeats", 5, "Turns, of which the median counts.", lower_bound=1)
with flag_group("Output"):
    flags.DEFINE_bool("update", False, "Write the rows into docs/results/.")


def main(_) -> None:
    """Measures all, and writes it."""
    options = {
        "family": args.family,
        "plan": args.plan,
        "width": args.width,
        "input_shape": (args.size, args.size, 3),
    }
    counts, backend = [int(count) for count in args.counts], keras.backend.backend()
    if args.large:
        rows = measure_large(counts, train_most=args.train_most)
        if args.update:
            update(RESULTS / f"scale_large_{backend}.json", rows)
        return
    rows = measure_scale(
        counts,
        options,
        named_most=args.named_most,
        train_most=args.train_most,
        repeats=args.repeats,
        limit=args.limit,
    )
    if args.update:
        update(RESULTS / f"scale_{backend}.json", rows)


if __name__ == "__main__":
    run(main)
