"""Makes a hierarchy, prints it as a tree, writes it to a file and draws it.

    python recipes/group.py --subset imagewoof --levels 3 --figure woof.png
    python recipes/group.py --labels cat,dog,truck,ambulance --output pets.yaml --explain
    python recipes/group.py --source similarity --model runs/x/best.keras --dataset imagenette
    python recipes/group.py --source dissimilar --subset imagewoof --output control.json
    python recipes/group.py --source random --dataset digits --superclasses 3 --seed 1
    python recipes/group.py --source file --file pets.yaml --figure pets.svg

Sources: wordnet groups by meaning. similarity groups categories that a trained network finds
similar: by the mean features of its trunk (--by features), by its confusions (--by confusion) or by
its mean scores (--by scores), all on the validation images. dissimilar and random are
controls; dissimilar separates categories that similarity (without --model: WordNet) groups.
"""

from keras_seqpar.utils.commands import EXPECTED_ERRORS, flag_group, run

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

import keras_seqpar as sp
from keras_seqpar import data, hierarchy, plots
from keras_seqpar.hierarchy.clustering import METHODS
from keras_seqpar.hierarchy.corpora import open_corpus
from keras_seqpar.hierarchy.files import check_suffix
from keras_seqpar.hierarchy.subsets import SUBSETS
from keras_seqpar.hierarchy.wordnet import look_up
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.presets.sources import load_source
from keras_seqpar.training.class_means import BY, class_means

SOURCES = ("wordnet", "similarity", "dissimilar", "random", "file")

args = flags.FLAGS
with flag_group("Categories (one of them)"):
    flags.DEFINE_string("labels", None, "Names, separated by commas; for wordnet also ids.")
    flags.DEFINE_string("subset", None, f"A known set: {', '.join(SUBSETS)}.")
    flags.DEFINE_string("dataset", None, f"Those of a data set: {', '.join(data.SPECS)}.")
    flags.DEFINE_string("file", None, "For --source file: a hierarchy in .json or .yaml.")
with flag_group("Grouping"):
    flags.DEFINE_enum("source", "wordnet", SOURCES, "Where the grouping comes from.")
    flags.DEFINE_integer("levels", 2, "Split-points: 2 to 4.", lower_bound=2)
    flags.DEFINE_integer(
        "superclasses",
        None,
        "At the first split-point; not for wordnet. Default: categories ** (1 / levels).",
        lower_bound=2,
    )
    flags.DEFINE_integer("seed", 0, "Seed of --source random.", lower_bound=0)
    flags.DEFINE_string(
        "corpus", None, "Your own WordNet: a folder or .zip of nltk, a folder of wn."
    )
    flags.DEFINE_bool(
        "explain", False, "For wordnet: print the meaning that was found for each name."
    )
with flag_group("Trained network (similarity, dissimilar)"):
    flags.DEFINE_string("model", None, "A .keras file, as runs/x/best.keras, or preset:NAME.")
    flags.DEFINE_enum("by", "features", BY, "What to compare.")
    flags.DEFINE_enum("method", "average", METHODS, "Linkage of clusters; ward: features only.")
    flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data.")
    flags.DEFINE_integer("image_size", None, "Pixels, for a network of any size.", lower_bound=1)
    flags.DEFINE_bool("skip_unreadable", False, "Leave out images that cannot be decoded.")
with flag_group("Output"):
    flags.DEFINE_string("output", None, "Write the hierarchy to a .json or .yaml file.")
    flags.DEFINE_string("figure", None, "Draw it to a .png, .svg or .pdf file.")


def check_flags() -> None:
    """Checks that the flags fit each other.

    Raises:
        ValueError: they do not.
    """
    if args.source == "file":
        if not args.file or args.subset or args.dataset:
            raise ValueError("--source file needs --file, and takes no --subset or --dataset.")
        return
    if args.file:
        raise ValueError("--file is for --source file.")
    if sum(map(bool, (args.labels, args.subset, args.dataset))) != 1:
        raise ValueError("Say which categories: one of --labels, --subset and --dataset.")
    if args.model and args.source not in ("similarity", "dissimilar"):
        raise ValueError(f"--model is for similarity and dissimilar, not for {args.source}.")
    if args.source == "similarity" and not args.model:
        raise ValueError("--source similarity needs a trained network: --model and --dataset.")
    if args.model and not args.dataset:
        raise ValueError("--model needs images: --dataset.")
    if args.source == "wordnet" and args.superclasses:
        raise ValueError("--superclasses is not for wordnet: WordNet decides how many.")


def make_hierarchy() -> sp.Hierarchy:
    """Makes the hierarchy that the flags describe."""
    listed = [label.strip() for label in args.labels.split(",")] if args.labels else []
    if args.source == "file":
        made = hierarchy.from_file(args.file)
        return made.prune(listed) if listed else made
    measured: dict[str, Any] = {}
    if args.model:
        labels, measured = measure()
    elif args.dataset:
        labels = load_images(8).categories
    else:
        labels = hierarchy.subset_labels(args.subset) if args.subset else listed
    if args.source == "wordnet":
        corpus = open_corpus(args.corpus)
        if args.explain:
            explain(labels, corpus)
        return hierarchy.from_wordnet(labels, levels=args.levels, corpus=corpus)
    options = {"superclasses": args.superclasses, "levels": args.levels}
    if args.source == "random":
        return hierarchy.random_hierarchy(labels, seed=args.seed, **options)
    if args.source == "similarity":
        return hierarchy.from_similarity(labels, method=args.method, **measured, **options)
    if not measured:
        grouped = hierarchy.from_wordnet(labels, levels=4, corpus=args.corpus)
        measured = {"hierarchy": grouped}
    return hierarchy.from_dissimilarity(labels, **measured, **options)


def load_images(size: int) -> data.Dataset:
    """The validation images of --dataset."""
    return data.load(
        args.dataset,
        image_size=size,
        data_dir=args.data_dir,
        skip_unreadable=args.skip_unreadable,
        splits=["validation"],
    )


def measure() -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Runs --model on the validation images.

    Returns:
        The network's labels, and an argument for `from_similarity` and `from_dissimilarity`.
    """
    model = load_source(args.model)
    size = model.inputs[0].shape[1] or args.image_size
    if not size:
        raise ValueError("This network takes images of any size: choose one with --image_size.")
    images = load_images(size)
    means, top1 = class_means(model, images, args.by)
    if top1 is not None:
        count = len(images.validation)
        print(f"Top-1 on {count} validation images: {top1:.2%}.")
    labels = find_parts(model, allow_plain=True).hierarchy.categories
    return labels, {"features" if args.by == "features" else "confusion": means}


def explain(labels: Sequence[str], corpus) -> None:
    """Prints the synset of each name."""
    for label, synset in look_up(labels, corpus).items():
        meaning = synset.gloss or "a kind of " + ", ".join(corpus.path(synset.id)[-2:][0].lemmas)
        print(f"{label}: {synset.id} {', '.join(synset.lemmas)}: {meaning}")
    print()


def summarize(tree: sp.Hierarchy) -> str:
    """A line per level of superclasses with the numbers of their children."""
    lines = []
    for level in range(1, tree.depth):
        sizes = [len(n.children) for n in tree.superclasses if tree.level(n) == level]
        lines.append(
            f"Split-point {level}: superclasses with {', '.join(map(str, sizes))} children."
        )
    if count := sum(node.is_category for node in tree.roots):
        lines.append(f"{count} of {len(tree.categories)} categories are directly under the trunk.")
    return "\n".join(lines)


def main(_) -> None:
    """Makes, prints, writes and draws."""
    if args.output:
        check_suffix(args.output)
    check_flags()
    tree = make_hierarchy()
    print(f"{tree}\n\n{summarize(tree)}")
    if args.source == "wordnet" and tree.depth < args.levels:
        print("Fewer split-points than --levels: WordNet has no finer grouping of these.")
    if args.output:
        hierarchy.to_file(tree, args.output)
        print(f"Written to {args.output}.")
    if args.figure:
        plots.tree(tree, args.figure)
        print(f"Drawn to {args.figure}.")


if __name__ == "__main__":
    run(main, errors=(*EXPECTED_ERRORS, TypeError))
