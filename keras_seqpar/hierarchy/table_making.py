"""Makes the files of `tables/` from WordNet: ImageNet-1k's categories and what is above them."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_seqpar.hierarchy.corpora import Corpus, Synset, open_corpus
from keras_seqpar.hierarchy.wordnet import superclasses, unique_labels
from keras_seqpar.utils.files import write_file

LEVELS = (2, 3, 4)
FOLDER = Path(__file__).resolve().parent / "tables"


def make_tables(wordnet: str, wnids_file: str | os.PathLike, out: Path) -> dict[int, list[int]]:
    """Writes all tables. The same input gives the same files, byte for byte.

    Args:
        wordnet: folder with data.noun and index.noun of WordNet 3.0.
        wnids_file: text file with the 1,000 ids of ImageNet-1k in the order of the logits.
        out: folder to write to.

    Returns:
        Number of split-points -> number of superclasses of each level.

    Raises:
        ValueError: a file of other content.
        OSError: a file cannot be read or written.
    """
    wnids = Path(wnids_file).read_text("utf-8").split()
    invalid = [wnid for wnid in wnids if not re.fullmatch(r"n\d{8}", wnid)]
    if invalid or len(wnids) != 1000:
        raise ValueError(
            f"{wnids_file} must have 1,000 ids such as n01440764, but has {len(wnids)} words, "
            f"{len(invalid)} of which are no such id."
        )
    corpus = open_corpus(wordnet)
    paths = [corpus.path(corpus.of_wnid(wnid)) for wnid in wnids]
    labels = unique_labels(
        [path[-1].lemmas[0] for path in paths], [path[-2].lemmas[0] for path in paths]
    )
    chains = {levels: superclasses(labels, paths, levels) for levels in LEVELS}
    synsets = {synset.id: synset for path in paths for synset in path}

    out.mkdir(parents=True, exist_ok=True)
    _write_table(
        out / "imagenet1k.tsv",
        f"The {len(wnids)} categories of ImageNet-1k in the order of the logits, their paths in "
        "WordNet 3.0 and their superclasses for 2, 3 and 4 split-points.",
        ["wnid", "label", "path", *(f"superclasses_{levels}" for levels in LEVELS)],
        (
            [wnid, label, _join(s.lemmas[0] for s in path), *map(_join, above)]
            for wnid, label, path, *above in zip(
                wnids, labels, paths, *chains.values(), strict=True
            )
        ),
    )
    _write_table(
        out / "wordnet_nouns.tsv",
        f"The {len(synsets)} synsets of WordNet 3.0 that are in ImageNet-1k or above it, each "
        "with its first hypernym, its words, and which of each word's meanings it is.",
        ["wnid", "hypernym", "lemmas", "senses"],
        (_synset_row(synsets[id_], corpus) for id_ in sorted(synsets)),
    )
    lines = (Path(wordnet) / "data.noun").read_text("utf-8").splitlines()
    license = [re.sub(r"^ +\d+ ?", "", line).rstrip() for line in lines if line.startswith(" ")]
    write_file(out / "WORDNET_LICENSE.txt", "\n".join(license).strip() + "\n")
    return {
        levels: [
            len({tuple(names[: i + 1]) for names in chain if len(names) > i})
            for i in range(levels - 1)
        ]
        for levels, chain in chains.items()
    }


def _join(words: Iterable[str]) -> str:
    return " > ".join(words)


def _synset_row(synset: Synset, corpus: Corpus) -> list[str]:
    senses = [corpus.senses(lemma).index(synset.id) + 1 for lemma in synset.lemmas]
    above = synset.hypernyms[0] if synset.hypernyms else ""
    return [synset.id, above, "|".join(synset.lemmas), "|".join(map(str, senses))]


def _write_table(
    path: Path, about: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    comments = [about, "Made by recipes/make_tables.py. License: WORDNET_LICENSE.txt."]
    lines = [*(f"# {c}" for c in comments), *("\t".join(row) for row in [columns, *rows])]
    write_file(path, "\n".join(lines) + "\n")
