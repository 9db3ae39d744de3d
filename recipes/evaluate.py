"""Measures a trained network, and cutouts of it, on labeled images.

    python recipes/evaluate.py runs/digits/best.keras
    python recipes/evaluate.py runs/digits/best.keras --categories 0,1,7 --json out/017.json
    python recipes/evaluate.py best.keras --dataset folder:PATH
    python recipes/evaluate.py preset:imagenette_mobile --dataset imagenette --data_dir PATH

Prints top-1 accuracy over all images, per category, and balanced: the mean over the categories,
which also shows rare ones. With --categories it also cuts these
categories out and runs the cutout on their images, and on images of all other categories, which it
must misclassify: the table shows as which category, and with what confidence.

The data set must have all categories of the network (matched by label, or by the id made from
it). Images of further categories count as out-of-distribution. KERAS_BACKEND selects the backend.
"""

from keras_seqpar.utils.commands import flag_group, run

from collections.abc import Mapping
from typing import Any

from absl import flags

import keras_seqpar as sp
from keras_seqpar.presets.sources import load_source
from keras_seqpar.training import evaluation
from keras_seqpar.training.balance import missed_note
from keras_seqpar.training.flags import define_measured_data_flags
from keras_seqpar.utils.files import write_json

with flag_group("What to measure"):
    flags.DEFINE_list("categories", None, "Labels to cut out, separated by commas.")
    flags.DEFINE_string("json", None, "Write all results to this file, too.")
define_measured_data_flags()


def show(title: str, report: Mapping[str, Any]) -> None:
    """Prints the head of a table."""
    print(
        f"\n{title}\n  {len(report['categories'])} categories, {report['parameters']:,} parameters"
    )


def main(argv: list[str]) -> None:
    """Measures the network and the cutout, and prints the results."""
    args = flags.FLAGS
    network = load_source(argv[1])
    cut = sp.cutout(network, args.categories) if args.categories else None
    dataset = evaluation.load_split(
        network,
        args.dataset,
        split=args.split,
        image_size=args.image_size,
        data_dir=args.data_dir,
        skip_unreadable=args.skip_unreadable,
    )
    full = evaluation.measure(network, dataset, args.split, args.batch_size)
    reports = {"network": full}
    show(f"{argv[1]} on {dataset.name}, {args.split}", full)
    print(evaluation.accuracy_table(full["categories"], {"top-1": full}))
    if cut:
        reports["cutout"] = evaluation.measure(cut, dataset, args.split, args.batch_size)
        show("Cutout on images of its categories, beside the full network", reports["cutout"])
        print(evaluation.accuracy_table(reports["cutout"]["categories"], reports))
    for name, report in reports.items():
        if note := missed_note(evaluation.missed_categories(report), f"The {name}"):
            print(f"\n{note}")
    last = reports.get("cutout", full)
    if "out_of_distribution" in last:
        count = last["out_of_distribution"]["images"]
        print(f"\nImages of other categories ({count}), which it must misclassify")
        print(evaluation.others_table(last))
    if args.json:
        write_json(args.json, reports)


if __name__ == "__main__":
    run(main, positional=["MODEL"])
