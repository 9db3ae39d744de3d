"""Makes keras_seqpar/hierarchy/tables/: ImageNet-1k and what WordNet has above its categories.

    python recipes/make_tables.py --wordnet=PATH --wnids=PATH

--wordnet  a folder with WordNet 3.0's data.noun and index.noun. Debian and Ubuntu have them in
           the package wordnet-base (/usr/share/wordnet), nltk in its corpus "wordnet".
--wnids    a text file with the 1,000 ids of ImageNet-1k, one per line, in the order of the
           logits. timm carries one: timm/data/_info/imagenet_synsets.txt.

Takes a few seconds. The same input gives the same files, byte for byte.
"""

import os
import re
import sys
import types
from collections.abc import Iterable, Sequence
from pathlib import Path

from options import Options

from keras_seqpar.hierarchy.corpora import Corpus, Synset, open_corpus
from keras_seqpar.hierarchy.wordnet import superclasses, unique_labels

LEVELS = (2, 3, 4)
TABLES = Path(__file__).resolve().parents[1] / "keras_seqpar" / "hierarchy" / "tables"


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, {"out": "keras_seqpar/hierarchy/tables"})
    options.group(
        "Files",
        ("string", "wordnet", None, "Folder with data.noun and index.noun. Needed."),
        ("string", "wnids", None, "File with the ids of ImageNet-1k. Needed."),
        ("string", "out", str(TABLES), "Where to write."),
    )
    return options


def make(chosen: types.SimpleNamespace) -> None:
    """Makes all tables.

    Raises:
        ValueError: wrong input.
        OSError: a file cannot be read or written.
    """
    if not chosen.wordnet or not chosen.wnids:
        raise ValueError("Say where the sources are: --wordnet=FOLDER --wnids=FILE.")
    wnids = Path(chosen.wnids).read_text("utf-8").split()
    odd = [wnid for wnid in wnids if not re.fullmatch(r"n\d{8}", wnid)]
    if odd or len(wnids) != 1000:
        raise ValueError(
            f"{chosen.wnids} must have 1,000 ids such as n01440764, but has {len(wnids)} words, "
            f"{len(odd)} of which are no such id."
        )
    corpus = open_corpus(chosen.wordnet)
    paths = [corpus.path(corpus.of_wnid(wnid)) for wnid in wnids]
    labels = unique_labels(
        [path[-1].lemmas[0] for path in paths], [path[-2].lemmas[0] for path in paths]
    )
    chains = [superclasses(labels, paths, levels) for levels in LEVELS]
    synsets = {synset.id: synset for path in paths for synset in path}

    out = Path(chosen.out)
    out.mkdir(parents=True, exist_ok=True)
    write(
        out / "imagenet1k.tsv",
        f"The {len(wnids)} categories of ImageNet-1k in the order of the logits, their paths in "
        "WordNet 3.0 and their superclasses for 2, 3 and 4 split-points.",
        ["wnid", "label", "path", *(f"superclasses_{levels}" for levels in LEVELS)],
        (
            [wnid, label, joined(s.lemmas[0] for s in path), *map(joined, above)]
            for wnid, label, path, *above in zip(wnids, labels, paths, *chains, strict=True)
        ),
    )
    write(
        out / "wordnet_nouns.tsv",
        f"The {len(synsets)} synsets of WordNet 3.0 that are in ImageNet-1k or above it, each "
        "with its first hypernym, its words, and which of each word's meanings it is.",
        ["wnid", "hypernym", "lemmas", "senses"],
        (synset_row(synsets[id_], corpus) for id_ in sorted(synsets)),
    )
    lines = (Path(chosen.wordnet) / "data.noun").read_text("utf-8").splitlines()
    license = [re.sub(r"^ +\d+ ?", "", line).rstrip() for line in lines if line.startswith(" ")]
    replace(out / "WORDNET_LICENSE.txt", "\n".join(license).strip() + "\n")
    for levels, chain in zip(LEVELS, chains, strict=True):
        counts = [len({tuple(c[: i + 1]) for c in chain if len(c) > i}) for i in range(levels - 1)]
        print(f"{levels} split-points: {' + '.join(map(str, counts))} superclasses")
    print(f"Written to {out}.")


def joined(words: Iterable[str]) -> str:
    return " > ".join(words)


def synset_row(synset: Synset, corpus: Corpus) -> list[str]:
    senses = [corpus.senses(lemma).index(synset.id) + 1 for lemma in synset.lemmas]
    above = synset.hypernyms[0] if synset.hypernyms else ""
    return [synset.id, above, "|".join(synset.lemmas), "|".join(map(str, senses))]


def write(path: Path, what: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    comments = [what, "Made by recipes/make_tables.py. License: WORDNET_LICENSE.txt."]
    lines = [*(f"# {c}" for c in comments), *("\t".join(row) for row in [columns, *rows])]
    replace(path, "\n".join(lines) + "\n")


def replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8", newline="\n")
    os.replace(part, path)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        make(make_options().parse(argv)[0])
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
