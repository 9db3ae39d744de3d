"""Fits and measures "none of these" for a cutout: how well does it know what it cannot name?

    python recipes/unknowns.py runs/digits/best.keras --categories 0,1,7
    python recipes/unknowns.py runs/imagenette/best.keras --dataset imagenette \
        --categories "tench,church,golf ball" --save out/three.keras --plot out/roc.png

The images of one split, those of the kept categories and the foreign ones alike, are halved at
random: one half fits a threshold for each score, the other measures it. AUROC is how often an own
image scores above a foreign one. With --save the cutout is written with the threshold of
--score; files that tflite/convert.py makes of it have an output none_of_these.

Foreign images in the field may be of other kinds than those here: then keep a fixed share of the
own ones (--keep 0.95), which does not look at them. KERAS_BACKEND chooses the backend.
"""

import sys
from pathlib import Path

import numpy as np
from options import DATA_FLAGS, Options

import keras_seqpar as sp
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.unknowns import KEEP, SCORES, Roc, Threshold, known_score, roc
from keras_seqpar.training import evaluation
from keras_seqpar.training.runs.checkpoints import save_model
from keras_seqpar.utils.files import make_folder, replacing, write_json


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="model")
    options.group(
        "What to fit",
        ("list", "categories", None, "Labels to cut out, with commas between; default: all."),
        (
            "float",
            "keep",
            None,
            "Least share of own images to keep; default: what has the highest balanced accuracy.",
        ),
        ("float", "temperature", 1.0, "Of the energy."),
        ("integer", "seed", 0, "Of the halves.", 0),
    )
    options.group("Data", *DATA_FLAGS)
    options.group(
        "Results",
        ("string", "json", None, "Write everything to this file, too."),
        ("string", "plot", None, "Draw the ROC of both scores: .png, .svg or .pdf."),
        ("string", "save", None, "Write the cutout with its threshold to this .keras file."),
        ("enum", "score", "energy", "Which threshold to save.", [*SCORES]),
    )
    return options


def halves(labels: np.ndarray, seed: int) -> np.ndarray:
    """Halves images at random, category by category.

    Args:
        labels: `(images,)` category of each.
        seed: of the choice.

    Returns:
        `(images,)` bool: in the half that fits. The other has at most one more of a category.
    """
    rng = np.random.default_rng(seed)
    fits = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        here = rng.permutation(np.flatnonzero(labels == label))
        fits[here[: len(here) // 2]] = True
    return fits


def measure(logits: np.ndarray, truth: np.ndarray, threshold: Threshold) -> tuple[dict, Roc]:
    """Measures a threshold on images that it was not fitted on.

    Args:
        logits: `(images, categories)`.
        truth: `(images,)` index of the true category, -1 for foreign images.
        threshold: what to measure.

    Returns:
        JSON-ready figures, and the curve. `top1` is over the own images and ignores the
        threshold; `top1_kept` counts a rejected one as wrong; `accuracy` and
        `accuracy_without` are over all images, a foreign one being right when rejected.
    """
    own = truth >= 0
    right = logits.argmax(-1) == truth
    kept = ~threshold.rejects(logits)
    scores = known_score(logits, threshold.score, threshold.temperature)
    curve = roc(scores[own], scores[~own])
    figures = {
        "threshold": threshold.get_config(),
        "auroc": curve.area,
        f"foreign_kept_at_{KEEP:g}": curve.out_of_distribution_at(KEEP),
        "own": int(own.sum()),
        "own_kept": float(kept[own].mean()),
        "foreign": int((~own).sum()),
        "foreign_rejected": float((~kept[~own]).mean()),
        "top1": float(right[own].mean()),
        "top1_kept": float((right & kept)[own].mean()),
        "accuracy_without": float(right.mean()),
        "accuracy": float(np.where(own, right & kept, ~kept).mean()),
    }
    return figures, curve


ROWS = {
    "AUROC": "auroc",
    f"foreign kept where {KEEP:.0%} of own are": f"foreign_kept_at_{KEEP:g}",
    "own images kept": "own_kept",
    "foreign images rejected": "foreign_rejected",
    "top-1 of own, no rejection": "top1",
    "top-1 of own, rejected are wrong": "top1_kept",
    "accuracy over all, no rejection": "accuracy_without",
    "accuracy over all": "accuracy",
}


def table(reports: dict[str, dict]) -> str:
    """Draws the figures of the scores side by side."""
    width = max(map(len, ROWS))
    lines = [f"  {'':{width}}" + "".join(f"{score:>11}" for score in reports)]
    for title, key in ROWS.items():
        cells = (f"{report[key]:.2%}" for report in reports.values())
        lines.append(f"  {title:{width}}" + "".join(f"{cell:>11}" for cell in cells))
    values = (f"{report['threshold']['value']:.3f}" for report in reports.values())
    lines.append(f"  {'threshold':{width}}" + "".join(f"{value:>11}" for value in values))
    return "\n".join(lines)


def draw(path: Path, curves: dict[str, Roc], reports: dict[str, dict]) -> None:
    """Draws the ROC of all scores, with the point of each threshold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 4.5), layout="constrained")
    axes = figure.subplots()
    for score, curve in curves.items():
        (line,) = axes.plot(
            curve.out_of_distribution,
            curve.in_distribution,
            label=f"{score}, AUROC {curve.area:.3f}",
        )
        report = reports[score]
        axes.plot(1 - report["foreign_rejected"], report["own_kept"], "o", color=line.get_color())
    axes.plot([0, 1], [0, 1], ":", color="0.6")
    axes.set(xlabel="foreign images kept", ylabel="own images kept", aspect="equal")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def fit(chosen) -> dict:
    """Fits and measures as the flags say, prints and writes what was found.

    Returns:
        The report: `network`, `categories`, and score -> figures.

    Raises:
        ValueError: bad input.
    """
    for name, endings in (("save", [".keras"]), ("plot", [".png", ".svg", ".pdf"])):
        path = getattr(chosen, name)
        if path and Path(path).suffix not in endings:
            raise ValueError(f"--{name} must end in {' or '.join(endings)}, got {path!r}.")
    network = load_network(chosen.model)
    if chosen.categories:
        network = sp.cutout(network, chosen.categories)
    dataset = evaluation.load_split(
        network,
        chosen.dataset,
        split=chosen.split,
        image_size=chosen.image_size,
        data_dir=chosen.data_dir,
        skip_unreadable=chosen.skip_unreadable,
    )
    images = dataset.splits[chosen.split]
    truth = evaluation.match(network, dataset)[images.labels]
    fits = halves(images.labels, chosen.seed)
    for half, what in ((fits, "fit"), (~fits, "measure")):
        counts = {"own": (half & (truth >= 0)).sum(), "foreign": (half & (truth < 0)).sum()}
        if not all(counts.values()):
            raise ValueError(
                f"The half to {what} on has {counts['own']} own and {counts['foreign']} foreign "
                "images; it needs both. Cut fewer categories out with --categories, or take "
                "data with images of other categories, at least two of each."
            )
    logits = evaluation.logits_of(network, images, chosen.batch_size)
    thresholds, reports, curves = {}, {}, {}
    for score in SCORES:
        thresholds[score] = sp.fit_threshold(
            logits[fits & (truth >= 0)],
            logits[fits & (truth < 0)],
            score=score,
            temperature=chosen.temperature if score == "energy" else 1.0,
            keep=chosen.keep,
        )
        reports[score], curves[score] = measure(logits[~fits], truth[~fits], thresholds[score])
    labels = find_parts(network, allow_plain=True).hierarchy.categories
    first = reports[SCORES[0]]
    print(
        f"\n{', '.join(labels)}: fitted on {int(fits.sum())} images of {dataset.name}, "
        f"{chosen.split}, measured on {first['own']} own and {first['foreign']} foreign ones"
    )
    print(table(reports))
    if chosen.plot:
        draw(make_folder(chosen.plot), curves, reports)
        print(f"ROC: {chosen.plot}")
    if chosen.save:
        stored = sp.with_threshold(network, thresholds[chosen.score])
        save_model(stored, make_folder(chosen.save))
        print(f"Network with the threshold of {chosen.score}: {chosen.save}")
    report = {"network": chosen.model, "categories": list(labels), "seed": chosen.seed, **reports}
    if chosen.json:
        write_json(chosen.json, report)
    return report


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        fit(chosen)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
