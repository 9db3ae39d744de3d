"""Measures what it costs to switch between subsets of a fused network's categories.

    python benchmarks/switching.py            # prints the rows of docs/results/switching.json
    python benchmarks/switching.py --update   # and writes them into it; then docs/results/make.py

A network of --count categories under --superclasses superclasses, without training; images are
noise. KERAS_BACKEND selects the backend, whose rows are replaced; default: tensorflow.
"""

from keras_seqpar.utils.commands import flag_group, run

import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from absl import flags

import keras_seqpar as sp
from keras_seqpar.benchmarking import results
from keras_seqpar.benchmarking.switching import measure_switching

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "switching.json"

args = flags.FLAGS
with flag_group("Network"):
    flags.DEFINE_integer("count", 100, "Number of categories.", lower_bound=1)
    flags.DEFINE_integer("superclasses", 10, "Number of superclasses.", lower_bound=1)
    flags.DEFINE_string("family", "resnet50", "Family of the network.")
    flags.DEFINE_float("width", 0.25, "Width of the network.")
    flags.DEFINE_integer("size", 64, "Side of the images.", lower_bound=1)
with flag_group("Measuring"):
    flags.DEFINE_list("asked", ["1", "5", "20"], "Numbers of categories to ask for.")
    flags.DEFINE_integer("turns", 100, "Measurements, of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("switches", 1000, "Switches while memory is watched.", lower_bound=1)
with flag_group("Output"):
    flags.DEFINE_bool("update", False, "Write the rows into docs/results/switching.json.")


def update(path: Path, rows: list[list]) -> None:
    """Writes rows into a file of results; those of other backends stay."""
    old, backend = json.loads(path.read_text("utf-8"))["rows"], keras.backend.backend()
    results.update(path, sorted([*(row for row in old if row[0] != backend), *rows]))


def main(_) -> None:
    """Measures and prints."""
    tree: dict[str, list[str]] = {}
    for i in range(args.count):
        tree.setdefault(f"superclass {i % args.superclasses}", []).append(f"category {i}")
    model = sp.build_nhl(
        tree,
        family=args.family,
        width=args.width,
        input_shape=(args.size, args.size, 3),
        fused=True,
        seed=0,
    )
    rows = measure_switching(
        model, [int(size) for size in args.asked], turns=args.turns, switches=args.switches
    )
    if args.update:
        update(RESULTS, rows)


if __name__ == "__main__":
    run(main)
