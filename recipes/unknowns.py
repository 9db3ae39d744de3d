"""Fits and measures "none of these": how well a cutout rejects images of other categories.

    python recipes/unknowns.py runs/digits/best.keras --categories 0,1,7
    python recipes/unknowns.py runs/imagenette/best.keras --dataset imagenette \
        --categories "tench,church,golf ball" --save out/three.keras --plot out/roc.png
    python recipes/unknowns.py preset:imagenette_mobile --dataset imagenette --data_dir PATH

The images of one split, in-distribution (of the kept categories) and out-of-distribution (of the
others), are halved at random: one half fits a threshold for each score, the other measures it.
AUROC is how often an in-distribution image scores above an out-of-distribution one. With --save
the cutout is written with the threshold of --score; files that tflite/convert.py makes of it have
an output none_of_these.

In use, out-of-distribution images may be of other kinds than in the data. A threshold that keeps a
fixed share of the in-distribution images (--keep 0.95) does not depend on them. KERAS_BACKEND
selects the backend.
"""

from keras_seqpar.utils.commands import flag_group, run

from pathlib import Path

from absl import flags

import keras_seqpar as sp
from keras_seqpar import plots
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.presets.sources import load_source
from keras_seqpar.surgery.unknowns import SCORES
from keras_seqpar.training import evaluation
from keras_seqpar.training.flags import define_measured_data_flags
from keras_seqpar.training.rejection import (
    check_halves,
    fit_scores,
    rejection_table,
    split_halves,
)
from keras_seqpar.utils.files import make_folder, replacing, write_json

args = flags.FLAGS
with flag_group("What to fit"):
    flags.DEFINE_list("categories", None, "Labels to cut out, separated by commas; default: all.")
    flags.DEFINE_float(
        "keep",
        None,
        "Smallest share of in-distribution images to keep; default: the threshold has the highest "
        "balanced accuracy.",
    )
    flags.DEFINE_float("temperature", 1.0, "Temperature of the energy score.")
    flags.DEFINE_integer("seed", 0, "Seed of the halves.", lower_bound=0)
define_measured_data_flags()
with flag_group("Results"):
    flags.DEFINE_string("json", None, "Write all results to this file, too.")
    flags.DEFINE_string("plot", None, "Draw the ROC of both scores: .png, .svg or .pdf.")
    flags.DEFINE_string("save", None, "Write the cutout with its threshold to this .keras file.")
    flags.DEFINE_enum("score", "energy", SCORES, "Which threshold to save.")


def main(argv: list[str]) -> None:
    """Fits, measures, prints and writes."""
    for name, endings in (("save", [".keras"]), ("plot", [".png", ".svg", ".pdf"])):
        path = args[name].value
        if path and Path(path).suffix not in endings:
            raise ValueError(f"--{name} must end in {' or '.join(endings)}, got {path!r}.")
    network = load_source(argv[1])
    if args.categories:
        network = sp.cutout(network, args.categories)
    dataset = evaluation.load_split(
        network,
        args.dataset,
        split=args.split,
        image_size=args.image_size,
        data_dir=args.data_dir,
        skip_unreadable=args.skip_unreadable,
    )
    images = dataset.splits[args.split]
    truth = evaluation.match(network, dataset)[images.labels]
    first = split_halves(images.labels, args.seed)
    check_halves(first, truth)
    logits = evaluation.logits_of(network, images, args.batch_size)
    fitted = fit_scores(logits, truth, first, keep=args.keep, temperature=args.temperature)
    figures = {score: fit.figures for score, fit in fitted.items()}
    labels = find_parts(network, allow_plain=True).hierarchy.categories
    inside, outside = (int((~first & x).sum()) for x in (truth >= 0, truth < 0))
    print(
        f"\n{', '.join(labels)}: fitted on {int(first.sum())} images of {dataset.name}, "
        f"{args.split}, measured on {inside} in-distribution and {outside} out-of-distribution "
        "images"
    )
    print(rejection_table(figures))
    if args.plot:
        draw(fitted)
        print(f"ROC: {args.plot}")
    if args.save:
        stored = sp.with_threshold(network, fitted[args.score].threshold)
        with replacing(make_folder(args.save)) as temporary:
            stored.save(temporary)
        print(f"Network with the threshold of {args.score}: {args.save}")
    if args.json:
        report = {"network": argv[1], "categories": list(labels), "seed": args.seed, **figures}
        write_json(args.json, report)


def draw(fitted: dict) -> None:
    """Draws the ROC of all scores, with the point of each threshold."""
    curves, points = {}, {}
    for score, fit in fitted.items():
        name = f"{score}, AUROC {fit.curve.area:.3f}"
        curves[name] = fit.curve.out_of_distribution, fit.curve.in_distribution
        points[name] = (
            1 - fit.figures["out_of_distribution_rejected"],
            fit.figures["in_distribution_kept"],
        )
    plots.rejection(curves, points, make_folder(args.plot))


if __name__ == "__main__":
    run(main, positional=["MODEL"])
