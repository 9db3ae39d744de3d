"""Makes a hierarchy, prints it as a tree, writes it to a file and draws it.

    python recipes/group.py --subset imagewoof --levels 3 --figure woof.png
    python recipes/group.py --labels cat,dog,truck,ambulance --output pets.yaml --explain
    python recipes/group.py --source similarity --model runs/x/best.keras --dataset imagenette
    python recipes/group.py --source dissimilar --subset imagewoof --output control.json
    python recipes/group.py --source random --dataset digits --superclasses 3 --seed 1
    python recipes/group.py --source file --file pets.yaml --figure pets.svg

Sources: wordnet groups by meaning. similarity groups what a trained network sees alike: the
mean features of its trunk (--by features), the confusions it makes (--by confusion), or what
its scores lean to (--by scores), all on the validation images. dissimilar and random are
controls; dissimilar deals out what similarity, or without --model WordNet, puts together.
"""

import sys
import types
from collections.abc import Sequence

import keras
import numpy as np
from options import Options

import keras_seqpar as sp
from keras_seqpar import data, hierarchy, plots
from keras_seqpar.hierarchy.clustering import METHODS
from keras_seqpar.hierarchy.corpora import open_corpus
from keras_seqpar.hierarchy.files import check_suffix
from keras_seqpar.hierarchy.subsets import SUBSETS
from keras_seqpar.hierarchy.wordnet import look_up
from keras_seqpar.mobile.network import from_pixels
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts

SOURCES = ("wordnet", "similarity", "dissimilar", "random", "file")
BY = ("features", "confusion", "scores")
BATCH = 64


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, {"superclasses": "categories ** (1 / levels)"})
    options.group(
        "Categories (one of them)",
        ("string", "labels", None, "Names, separated by commas; for wordnet also ids."),
        ("string", "subset", None, f"A known set: {', '.join(SUBSETS)}."),
        ("string", "dataset", None, f"Those of a data set: {', '.join(data.SPECS)}."),
        ("string", "file", None, "For --source file: a hierarchy in .json or .yaml."),
    )
    options.group(
        "Grouping",
        ("enum", "source", "wordnet", "Where the grouping comes from.", [*SOURCES]),
        ("integer", "levels", 2, "Split-points: 2 to 4.", 2),
        ("integer", "superclasses", None, "At the first split-point; not for wordnet.", 2),
        ("integer", "seed", 0, "Of --source random.", 0),
        ("string", "corpus", None, "WordNet of yours: a folder or .zip of nltk, a folder of wn."),
        ("boolean", "explain", False, "For wordnet: print which meaning each name was given."),
    )
    options.group(
        "Trained network (similarity, dissimilar)",
        ("string", "model", None, "A .keras file, for example runs/x/best.keras."),
        ("enum", "by", "features", "What of it to compare.", [*BY]),
        ("enum", "method", "average", "Linkage of clusters; ward for features only.", [*METHODS]),
        ("string", "data_dir", None, "Where tensorflow-datasets keeps its data."),
        ("integer", "image_size", None, "Pixels, for a network of any size.", 1),
        ("boolean", "skip_unreadable", False, "Leave out images that cannot be decoded."),
    )
    options.group(
        "Output",
        ("string", "output", None, "Write the hierarchy to a .json or .yaml file."),
        ("string", "figure", None, "Draw it to a .png, .svg or .pdf file."),
    )
    return options


def group(chosen: types.SimpleNamespace) -> sp.Hierarchy:
    """Makes the hierarchy that the flags describe.

    Raises:
        ValueError: flags that do not fit each other, or bad input.
    """
    if chosen.source == "file":
        if not chosen.file or chosen.subset or chosen.dataset:
            raise ValueError("--source file needs --file, and takes no --subset or --dataset.")
        made = hierarchy.from_file(chosen.file)
        return made.prune(_listed(chosen.labels)) if chosen.labels else made
    if chosen.file:
        raise ValueError("--file is for --source file.")
    if sum(map(bool, (chosen.labels, chosen.subset, chosen.dataset))) != 1:
        raise ValueError("Say which categories: one of --labels, --subset and --dataset.")
    if chosen.model and chosen.source not in ("similarity", "dissimilar"):
        raise ValueError(f"--model is for similarity and dissimilar, not for {chosen.source}.")
    if chosen.source == "similarity" and not chosen.model:
        raise ValueError("--source similarity needs a trained network: --model and --dataset.")
    if chosen.model and not chosen.dataset:
        raise ValueError("--model needs images: --dataset.")

    measured = {}
    if chosen.model:
        labels, measured = measure(chosen)
    elif chosen.dataset:
        split = {"splits": ["validation"], "skip_unreadable": chosen.skip_unreadable}
        labels = data.load(
            chosen.dataset, image_size=8, data_dir=chosen.data_dir, **split
        ).categories
    else:
        labels = hierarchy.subset_labels(chosen.subset) if chosen.subset else _listed(chosen.labels)

    if chosen.source == "wordnet":
        if chosen.superclasses:
            raise ValueError("--superclasses is not for wordnet: WordNet decides how many.")
        corpus = open_corpus(chosen.corpus)
        if chosen.explain:
            explain(labels, corpus)
        return hierarchy.from_wordnet(labels, levels=chosen.levels, corpus=corpus)
    options = {"superclasses": chosen.superclasses, "levels": chosen.levels}
    if chosen.source == "random":
        return hierarchy.random_hierarchy(labels, seed=chosen.seed, **options)
    if chosen.source == "similarity":
        return hierarchy.from_similarity(labels, method=chosen.method, **measured, **options)
    if not measured:
        alike = hierarchy.from_wordnet(labels, levels=4, corpus=chosen.corpus)
        measured = {"hierarchy": alike}
    return hierarchy.from_dissimilarity(labels, **measured, **options)


def measure(chosen: types.SimpleNamespace) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Runs a trained network over the validation images.

    Returns:
        The network's labels, and the array that `similarity` and `dissimilar` take.

    Raises:
        ValueError: no network of this package, or one of other categories than the data.
    """
    model = load_network(chosen.model)
    parts = find_parts(model, allow_plain=True)
    labels = parts.hierarchy.categories
    size = model.inputs[0].shape[1] or chosen.image_size
    if not size:
        raise ValueError("This network takes images of any size: say one with --image_size.")
    images = data.load(
        chosen.dataset,
        image_size=size,
        data_dir=chosen.data_dir,
        skip_unreadable=chosen.skip_unreadable,
        splits=["validation"],
    )
    if set(images.categories) != set(labels):
        odd = sorted(set(images.categories) ^ set(labels))
        raise ValueError(
            f"{chosen.model} and {chosen.dataset} have different categories; only one of them has "
            f"{', '.join(odd[:10])}{', ...' if len(odd) > 10 else ''}."
        )
    column = np.array([labels.index(label) for label in images.categories])
    truth = column[images.validation.labels]
    network = parts.trunk if chosen.by == "features" else sp.with_activation(model, "softmax")

    rows = []
    for start in range(0, len(truth), BATCH):
        batch = images.validation.read(range(start, min(start + BATCH, len(truth))))
        found = network(from_pixels(model, batch).astype("float32"), training=False)
        found = keras.ops.convert_to_numpy(found).astype("float64")
        if chosen.by == "features":
            found = found.mean((1, 2))
        elif chosen.by == "confusion":
            found = np.eye(len(labels))[found.argmax(-1)]
        rows.append(found)
    found = np.concatenate(rows)
    means = np.stack([found[truth == i].mean(0) for i in range(len(labels))])
    if chosen.by != "features":
        print(f"Top-1 on {len(truth)} validation images: {_top1(found, truth):.2%}.")
    return labels, {"features" if chosen.by == "features" else "confusion": means}


def explain(labels: Sequence[str], corpus) -> None:
    """Prints which synset each name was taken for."""
    for label, synset in look_up(labels, corpus).items():
        what = synset.gloss or "a kind of " + ", ".join(corpus.path(synset.id)[-2:][0].lemmas)
        print(f"{label}: {synset.id} {', '.join(synset.lemmas)}: {what}")
    print()


def _top1(scores: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(scores.argmax(-1) == truth))


def _listed(labels: str) -> list[str]:
    return [label.strip() for label in labels.split(",")]


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        if chosen.output:
            check_suffix(chosen.output)
        tree = group(chosen)
        print(f"{tree}\n\n{summary(tree)}")
        if chosen.source == "wordnet" and tree.depth < chosen.levels:
            print("Fewer split-points than --levels: WordNet has no finer grouping of these.")
        if chosen.output:
            hierarchy.to_file(tree, chosen.output)
            print(f"Written to {chosen.output}.")
        if chosen.figure:
            plots.tree(tree, chosen.figure)
            print(f"Drawn to {chosen.figure}.")
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def summary(tree: sp.Hierarchy) -> str:
    """A line on every level of superclasses: how many children they have."""
    lines = []
    for level in range(1, tree.depth):
        sizes = [len(n.children) for n in tree.superclasses if tree.level(n) == level]
        lines.append(
            f"Split-point {level}: superclasses with {', '.join(map(str, sizes))} children."
        )
    if alone := sum(node.is_category for node in tree.roots):
        lines.append(f"{alone} of {len(tree.categories)} categories hang at the trunk.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
