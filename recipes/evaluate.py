"""Measures a trained network, and cutouts of it, on labeled images.

    python recipes/evaluate.py runs/digits/best.keras
    python recipes/evaluate.py runs/digits/best.keras --categories 0,1,7 --json out/017.json
    python recipes/evaluate.py best.keras --dataset folder:PATH

Prints top-1 accuracy over all images and per category. With --categories it also cuts these
out of the network and runs the cutout: on their images, and on the images of all other
categories, which a cutout cannot name: where do they go, and how sure is it?

The data set must have all categories of the network. It may have more (matched by label, or
by the id made from it): their images count as foreign ones. KERAS_BACKEND chooses the backend.
"""

import functools
import sys

import keras
import numpy as np
import run_folder
from options import Options

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.mobile.network import from_pixels
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.prediction import predict
from keras_seqpar.utils.names import make_id

# Flags of every recipe that measures a network on images; `load` reads them.
DATA_FLAGS = (
    ("string", "dataset", "digits", f"What to measure on: {', '.join(data.SPECS)}."),
    ("enum", "split", "validation", "Which of its splits.", [*data.SPLITS]),
    ("string", "data_dir", None, "Where tensorflow-datasets keeps its data."),
    (
        "integer",
        "image_size",
        None,
        "Side of the images; default: what the network takes.",
        1,
    ),
    ("boolean", "skip_unreadable", False, "Leave out images that cannot be decoded."),
    ("integer", "batch_size", 64, "Images per step.", 1),
)


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="model")
    options.group(
        "What to measure",
        ("list", "categories", None, "Labels to cut out, with commas between."),
        ("string", "json", None, "Write everything to this file, too."),
    )
    options.group("Data", *DATA_FLAGS)
    return options


def image_size(network: keras.Model, wanted: int | None) -> int:
    """The side of the images that a network takes.

    Args:
        network: the network.
        wanted: a side, or `None` for the network's own.

    Raises:
        ValueError: the network takes another size, or no squares, or leaves it open.
    """
    height, width = network.inputs[0].shape[1:3]
    if height != width:
        raise ValueError(f"The network takes {height} x {width} pixels; only squares are read.")
    if height is None and wanted is None:
        raise ValueError("The network takes images of any size. Choose one: --image_size.")
    if wanted is not None and height not in (None, wanted):
        raise ValueError(f"The network takes {height} pixels, --image_size says {wanted}.")
    return wanted or height


def load(network: keras.Model, chosen) -> data.Dataset:
    """Loads the split that the flags of `DATA_FLAGS` name, and says what it leaves out.

    Args:
        network: the network that looks at the images.
        chosen: the flags.

    Raises:
        ValueError: the network takes no such images, or they cannot be loaded.
    """
    dataset = data.load(
        chosen.dataset,
        image_size=image_size(network, chosen.image_size),
        data_dir=chosen.data_dir,
        skip_unreadable=chosen.skip_unreadable,
        splits=[chosen.split],
    )
    if dataset.skipped:
        print(f"Left out {len(dataset.skipped)} unreadable images: {', '.join(dataset.skipped)}.")
    return dataset


def match(network: keras.Model, dataset: data.Dataset) -> np.ndarray:
    """Finds the data set's categories in the network.

    Args:
        network: the network.
        dataset: the data.

    Returns:
        For each category of the data its logit, or -1 if it is foreign to the network.

    Raises:
        ValueError: a category of the network is not in the data.
    """
    known = find_parts(network, allow_plain=True).hierarchy.categories
    ids = [make_id(label) for label in known]
    found = [make_id(label) for label in dataset.categories]
    missing = [label for label, id_ in zip(known, ids, strict=True) if id_ not in found]
    if missing:
        raise ValueError(
            f"The data set has no images of {', '.join(missing)}.\n"
            f"  The network knows: {', '.join(known)}.\n"
            f"  The data set has: {', '.join(dataset.categories)}.\n"
            "Evaluate on the data it was made for, or cut the network to what the data has."
        )
    return np.array([ids.index(id_) if id_ in ids else -1 for id_ in found])


def run(network: keras.Model, split: data.Split, batch_size: int) -> np.ndarray:
    """Returns the network's logits, `(images, categories)`."""
    logits = sp.with_activation(network, None)
    prepare = functools.partial(from_pixels, network)
    return predict(logits, split, batch_size=batch_size, prepare=prepare, label="Evaluating")


def measure(network: keras.Model, dataset: data.Dataset, split: str, batch_size: int) -> dict:
    """Measures a network on a split.

    Args:
        network: a full network, a cutout, or a plain network.
        dataset: the data.
        split: which split of it.
        batch_size: images per step.

    Returns:
        JSON-ready data. `own`: images of the network's categories, with top-1 accuracy and
        mean confidence (the highest score), in all and per category. `foreign`, unless there
        are none: for images of each other category the share that each category of the
        network gets, and the mean confidence.
    """
    images = dataset.splits[split]
    parts = find_parts(network, allow_plain=True)
    labels = parts.hierarchy.categories
    of_data = match(network, dataset)
    logits = run(network, images, batch_size)
    scores = keras.activations.get(parts.classifier_activation)(logits)
    sure = np.max(keras.ops.convert_to_numpy(scores), axis=-1)
    said, truth = np.argmax(logits, axis=-1), of_data[images.labels]
    own = truth >= 0

    def figures(chosen: np.ndarray) -> dict:
        if not chosen.any():
            return {"images": 0, "top1": None, "confidence": None}
        return {
            "images": int(chosen.sum()),
            "top1": float(np.mean(said[chosen] == truth[chosen])),
            "confidence": float(np.mean(sure[chosen])),
        }

    report = {
        "categories": list(labels),
        "parameters": sp.cost(network, images.read([0]).shape[1:]).params,
        "own": figures(own)
        | {"per_category": {n: figures(truth == i) for i, n in enumerate(labels)}},
    }
    if not own.all():
        shares, confidence = {}, {}
        for i in np.flatnonzero(of_data < 0):
            if (here := images.labels == i).any():
                counts = np.bincount(said[here], minlength=len(labels)) / here.sum()
                shares[dataset.categories[i]] = dict(zip(labels, counts.tolist(), strict=True))
                confidence[dataset.categories[i]] = float(np.mean(sure[here]))
        report["foreign"] = {
            "images": int((~own).sum()),
            "confidence": float(np.mean(sure[~own])),
            "confidence_per_category": confidence,
            "shares": shares,
        }
    return report


def accuracy_table(labels, reports: dict[str, dict]) -> str:
    """Draws top-1 of some categories, and over all their images, in several networks.

    Args:
        labels: the categories, one line each.
        reports: title of a column -> report.
    """
    width = max(len("category"), *map(len, labels))
    columns = {}
    for title, report in reports.items():
        found = [report["own"]["per_category"][label] for label in labels]
        right = sum(f["images"] * f["top1"] for f in found if f["images"])
        columns[title] = (
            [f["top1"] for f in found],
            right / max(1, sum(f["images"] for f in found)),
        )
    counts = [f["images"] for f in found]
    lines = [f"  {'category':{width}}  images" + "".join(f"{title:>12}" for title in columns)]
    for i, (label, count) in enumerate(zip(labels, counts, strict=True)):
        cells = ["-" if top1[i] is None else f"{top1[i]:.2%}" for top1, _ in columns.values()]
        lines.append(f"  {label:{width}}  {count:8}" + "".join(f"{cell:>12}" for cell in cells))
    cells = "".join(f"{f'{mean:.2%}':>12}" for _, mean in columns.values())
    return "\n".join([*lines, f"  {'all':{width}}  {sum(counts):8}{cells}"])


def foreign_table(report: dict, most: int = 3) -> str:
    """Draws where the images of foreign categories go.

    Args:
        report: of a network that has met some.
        most: how many of the network's categories to show for each.
    """
    foreign, own = report["foreign"], report["own"]
    width = max(len("category"), *map(len, foreign["shares"]))
    lines = [f"  {'category':{width}}  confidence  goes to"]
    for label, shares in foreign["shares"].items():
        ranked = sorted(shares.items(), key=lambda item: -item[1])[:most]
        goes = ", ".join(f"{name} {share:.0%}" for name, share in ranked if share)
        sure = foreign["confidence_per_category"][label]
        lines.append(f"  {label:{width}}  {sure:10.2f}  {goes}")
    sure = "-" if own["confidence"] is None else f"{own['confidence']:.2f}"
    lines.append(f"  {'all':{width}}  {foreign['confidence']:10.2f}  (own images: {sure})")
    return "\n".join(lines)


def evaluate(chosen) -> dict[str, dict]:
    """Measures as the flags say, and prints what was found.

    Returns:
        The reports: `network`, and `cutout` where categories were chosen.

    Raises:
        ValueError: bad input.
    """
    network = load_network(chosen.model)
    cut = sp.cutout(network, chosen.categories) if chosen.categories else None
    dataset = load(network, chosen)
    reports = {"network": measure(network, dataset, chosen.split, chosen.batch_size)}
    show(f"{chosen.model} on {dataset.name}, {chosen.split}", reports["network"])
    print(accuracy_table(reports["network"]["categories"], {"top-1": reports["network"]}))
    if cut:
        reports["cutout"] = measure(cut, dataset, chosen.split, chosen.batch_size)
        show("Cutout on its own images, beside the network it was cut from", reports["cutout"])
        print(
            accuracy_table(
                reports["cutout"]["categories"],
                {"network": reports["network"], "cutout": reports["cutout"]},
            )
        )
    last = reports.get("cutout", reports["network"])
    if "foreign" in last:
        print(f"\nImages of other categories ({last['foreign']['images']}), which it must misname")
        print(foreign_table(last))
    return reports


def show(title: str, report: dict) -> None:
    """Prints the head of a table."""
    print(
        f"\n{title}\n  {len(report['categories'])} categories, {report['parameters']:,} parameters"
    )


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        reports = evaluate(chosen)
        if chosen.json:
            run_folder.write_json(chosen.json, reports)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
