"""Measures networks of many categories: plain, with named branches, and fused.

    python benchmarks/scale.py             # prints the rows of docs/results/scale_BACKEND.json
    python benchmarks/scale.py --update    # and writes them into it; then docs/results/make.py
    python benchmarks/scale.py --counts=10,100 --family=efficientnet_lite0 --width=1

A table of N categories: seconds to build and to the first answer, milliseconds of inference and of
a training step, peak memory of the process. No data: images are noise. KERAS_BACKEND selects the
backend; default: tensorflow. Takes about 7 minutes on two busy cores with --repeats=3; 100 named
branches (--named_most=100) compile much longer.
"""

from keras_seqpar.utils.commands import flag_group, run

import datetime
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from absl import flags

from keras_seqpar.benchmarking.scale import measure_scale
from keras_seqpar.utils.files import write_json

RESULTS = Path(__file__).parent.parent / "docs" / "results"

args = flags.FLAGS
with flag_group("Networks"):
    flags.DEFINE_list("counts", ["10", "100", "1000"], "Numbers of categories.")
    flags.DEFINE_string("family", "resnet50", "Family of the networks.")
    flags.DEFINE_string("plan", "late_sp", "Plan of the PHL networks.")
    flags.DEFINE_float("width", 0.25, "Width of the networks.")
    flags.DEFINE_integer("size", 64, "Side of the images.", lower_bound=1)
with flag_group("Measuring"):
    flags.DEFINE_integer("named_most", 10, "Largest number to build with named branches.")
    flags.DEFINE_integer("train_most", 100, "Largest number to train with.")
    flags.DEFINE_integer("repeats", 5, "Measurements, of which the median counts.", lower_bound=1)
with flag_group("Output"):
    flags.DEFINE_bool("update", False, "Write the rows into docs/results/scale_BACKEND.json.")


def update(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Writes rows and today's date into a file of results; the rest of it stays."""
    table = json.loads(path.read_text("utf-8"))
    write_json(path, {**table, "date": datetime.date.today().isoformat(), "rows": rows})


def main(_) -> None:
    """Measures all, and writes it."""
    options = {
        "family": args.family,
        "plan": args.plan,
        "width": args.width,
        "input_shape": (args.size, args.size, 3),
    }
    rows = measure_scale(
        [int(count) for count in args.counts],
        options,
        named_most=args.named_most,
        train_most=args.train_most,
        repeats=args.repeats,
    )
    if args.update:
        update(RESULTS / f"scale_{keras.backend.backend()}.json", rows)


if __name__ == "__main__":
    run(main)
