"""Draws what a trained network is and does: the figures of the documentation.

    python recipes/figures.py runs/imagenette/last.keras --dataset imagenette --data_dir DIR
    python recipes/figures.py NET.keras --dataset folder:PATH --study runs/studies/baselines.json

Writes to --output: topology.png (parameters and MACs per node), cost.png (cost against the number
of kept categories, beside the plain network of the family), features.png (what each category's
branch sees on one image), confusion.png (on the validation images) and, with the results of
a study of baselines, pareto.png (accuracy against cost).
"""

import json
import sys
from pathlib import Path

import numpy as np
from options import Options

import keras_seqpar as sp
from keras_seqpar import data, plots
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.training import evaluation


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="model")
    options.group(
        "Figures",
        ("string", "output", "docs/figures", "Folder to write to."),
        ("string", "family", None, "Family of the plain network; default: none is drawn."),
        ("float", "width", 1.0, "Its width."),
        ("enum", "stem", "standard", "Its first layers.", ["standard", "small"]),
        ("integer", "image", 0, "Number of the validation image for features.png.", 0),
        ("string", "study", None, "baselines.json of recipes/study.py."),
    )
    options.group(
        "Data",
        ("string", "dataset", "digits", f"What to measure on: {', '.join(data.SPECS)}."),
        ("string", "data_dir", None, "Where tensorflow-datasets keeps its data."),
    )
    return options


def points(results: dict) -> list[dict]:
    """Accuracy and cost of the networks in a study of baselines.

    Args:
        results: what recipes/study.py wrote.

    Returns:
        One mapping per network and subset, as `plots.pareto` takes them.
    """
    found = []
    subsets = [name for name in results["seqpar"]["cost"] if name != "all"]
    for name in subsets:
        for case, group, cost in (
            ("seqpar", "cutout of the SeqPar network", results["seqpar"]["cost"][name]),
            ("seqpar", "whole SeqPar network", results["seqpar"]["cost"]["all"]),
            ("plain on all", "plain, trained on all", results["plain on all"]["cost"]["all"]),
            (
                f"plain on {name}",
                "plain, trained on the subset",
                results[f"plain on {name}"]["cost"]["all"],
            ),
        ):
            top1 = float(np.mean(results[case]["top1"][name]))
            found.append({"name": name, "group": group, "cost": cost["macs"], "top1": top1})
    return found


def draw(chosen) -> list[Path]:
    """Draws as the flags say.

    Returns:
        The files.

    Raises:
        ValueError: bad input.
    """
    network = load_network(chosen.model)
    labels = find_parts(network).hierarchy.categories
    size = evaluation.size_of(network, None)
    dataset = data.load(
        chosen.dataset, image_size=size, data_dir=chosen.data_dir, splits=["validation"]
    )
    of_data = evaluation.match(network, dataset)
    images = dataset.validation
    if not chosen.image < len(images):
        raise ValueError(f"--image must be below {len(images)}, got {chosen.image}.")
    plain = None
    if chosen.family:
        shape = {"input_shape": (size, size, 3), "width": chosen.width, "stem": chosen.stem}
        plain = sp.build_plain(labels, family=chosen.family, **shape)
    truth = of_data[images.labels]
    said = evaluation.logits_of(network, images, 64).argmax(-1)
    matrix = np.zeros((len(labels), len(labels)), int)
    np.add.at(matrix, (truth[truth >= 0], said[truth >= 0]), 1)
    folder = Path(chosen.output)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{n}.png" for n in ("topology", "cost", "features", "confusion")]
    plots.topology(network, files[0])
    plots.cost_curve(network, plain, files[1])
    plots.feature_maps(network, images.read([chosen.image])[0], files[2], at="last")
    plots.confusion(matrix, labels, files[3])
    if chosen.study:
        results = json.loads(Path(chosen.study).read_text("utf-8"))
        files.append(folder / "pareto.png")
        plots.pareto(points(results), files[-1])
    return files


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        files = draw(chosen)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
