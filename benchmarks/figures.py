"""Draws structure, costs and accuracy of a trained network: figures of the documentation.

    python benchmarks/figures.py runs/imagenette/last.keras --dataset imagenette --data_dir DIR
    python benchmarks/figures.py NET.keras --dataset folder:PATH --study runs/studies/baselines.json

Writes to --output: topology.png (parameters and MACs per node), cost.png (cost against the number
of kept categories, beside the plain network of the same family), features.png (the features of
each category's branch on one image), confusion.png (on the validation images) and, with the
results of a study of baselines, pareto.png (accuracy against cost).
"""

from keras_seqpar.utils.commands import flag_group, run

import json
from pathlib import Path

import numpy as np
from absl import flags

import keras_seqpar as sp
from keras_seqpar import data, plots
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.presets.sources import load_source
from keras_seqpar.training.evaluation import logits_of, match, size_of

args = flags.FLAGS
with flag_group("Figures"):
    flags.DEFINE_string("output", "docs/figures", "Folder to write to.")
    flags.DEFINE_integer(
        "image", 0, "Number of the validation image for features.png.", lower_bound=0
    )
    flags.DEFINE_string("study", None, "baselines.json of recipes/study.py.")
with flag_group("Data"):
    flags.DEFINE_string("dataset", "digits", f"What to measure on: {', '.join(data.SPECS)}.")
    flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data.")


def study_points(results: dict) -> list[dict]:
    """Accuracy and cost of the networks in a study of baselines.

    Args:
        results: from recipes/study.py.

    Returns:
        One mapping per network and subset, as `plots.pareto` takes them.
    """
    points = []
    for name in results["seqpar"]["cost"]:
        if name == "all":
            continue
        for case, group, cost in (
            ("seqpar", "cutout of the SeqPar network", name),
            ("seqpar", "full SeqPar network", "all"),
            ("plain on all", "plain, trained on all", "all"),
            (f"plain on {name}", "plain, trained on the subset", "all"),
        ):
            macs = results[case]["cost"][cost]["macs"]
            top1 = float(np.mean(results[case]["top1"][name]))
            points.append({"name": name, "group": group, "cost": macs, "top1": top1})
    return points


def main(argv: list[str]) -> None:
    """Runs the network on the data and draws."""
    network = load_source(argv[1])
    labels = find_parts(network).hierarchy.categories
    dataset = data.load(
        args.dataset,
        image_size=size_of(network, None),
        data_dir=args.data_dir,
        splits=["validation"],
    )
    images = dataset.validation
    if not args.image < len(images):
        raise ValueError(f"--image must be below {len(images)}, got {args.image}.")
    truth = match(network, dataset)[images.labels]
    predicted = logits_of(network, images).argmax(-1)
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (truth[truth >= 0], predicted[truth >= 0]), 1)
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{n}.png" for n in ("topology", "cost", "features", "confusion")]
    plots.topology(network, files[0])
    plots.cost_curve(network, sp.plain_twin(network), files[1])
    plots.feature_maps(network, images.read([args.image])[0], files[2], at="last")
    plots.confusion(confusion, labels, files[3])
    if args.study:
        results = json.loads(Path(args.study).read_text("utf-8"))
        files.append(folder / "pareto.png")
        plots.pareto(study_points(results), files[-1])
    print("\n".join(map(str, files)))


if __name__ == "__main__":
    run(main, positional=["MODEL"])
