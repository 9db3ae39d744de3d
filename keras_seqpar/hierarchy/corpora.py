"""Reads WordNet: the package's extract, WordNet's own files, or a database of the wn library.

Nothing is downloaded. A `Corpus` is four functions that look synsets up. ImageNet identifies a
synset by its `wnid`: "n" and eight digits, the synset's byte offset in `data.noun` of WordNet
3.0.
"""

import dataclasses
import difflib
import functools
import importlib.resources
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

MOST_BYTES = 100_000_000  # of one file; WordNet 3.0's data.noun has 15 million
MOST_STEPS = 100  # from a synset up to the root; WordNet 3.0 has at most 19
_WHAT = (
    "Point at a folder with data.noun and index.noun (WordNet's dict folder, or nltk's "
    "corpora/wordnet), at such a folder as a .zip, or at a data folder of the wn library "
    "(with wn.db)."
)


@dataclasses.dataclass(frozen=True)
class Synset:
    """A set of synonyms: the parts of it that hierarchies need.

    Args:
        id: its id in the corpus, for example the wnid "n02084071".
        lemmas: the synonyms, the most frequent first.
        hypernyms: ids of the synsets directly above, the principal one first.
        gloss: the definition; empty in the package's extract.
    """

    id: str
    lemmas: tuple[str, ...]
    hypernyms: tuple[str, ...]
    gloss: str = ""


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A source of synsets.

    Args:
        name: what to call the corpus in messages.
        synset: id -> synset; raises KeyError for an unknown id.
        senses: noun -> ids of its synsets, the most frequent meaning first.
        of_wnid: wnid -> id; raises ValueError if the corpus does not know wnids.
        nouns: returns all nouns, for suggestions.
    """

    name: str
    synset: Callable[[str], Synset]
    senses: Callable[[str], list[str]]
    of_wnid: Callable[[str], str]
    nouns: Callable[[], list[str]]

    def path(self, id_: str) -> list[Synset]:
        """The synsets from the root down to `id_`, along the first hypernym of each.

        Raises:
            ValueError: a synset is missing, or the hypernyms run in a circle.
        """
        path: list[Synset] = []
        above = (id_,)
        try:
            while above:
                path.insert(0, self.synset(above[0]))
                above = path[0].hypernyms
                if len(path) > MOST_STEPS:
                    raise ValueError(f"{self.name}: the hypernyms of {id_} run in a circle.")
        except KeyError as error:
            raise ValueError(f"{self.name} is broken: it has no synset {error}.") from error
        return path


def open_corpus(path=None) -> Corpus:
    """Opens a corpus.

    Args:
        path: a folder or .zip with WordNet's own `data.noun` and `index.noun` (nltk has
            the same files), or a folder with a `wn.db` of the wn library. Such a database stays
            open, and `wn.config.data_directory` is set to its folder. `None`: the extract of
            WordNet 3.0 that comes with the package; it has ImageNet-1k's categories and all
            synsets above them.

    Returns:
        The corpus.

    Raises:
        ValueError: there is no corpus at `path`, or it is broken.
        ImportError: a `wn.db` without the wn library.
    """
    if path is None:
        return _extract()
    path = Path(path).expanduser()
    if (path / "wn.db").is_file():
        return _wn(path)
    files = {}
    try:
        for name in ("data.noun", "index.noun"):
            files[name] = _read(path, name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"There is no WordNet at {str(path)!r} ({error}). {_WHAT}") from error
    return _wordnet(str(path), files["data.noun"], files["index.noun"])


def table(name: str) -> Iterator[list[str]]:
    """Yields the rows of one of the package's tables, without comments and column names.

    Args:
        name: file name, for example "imagenet1k.tsv".
    """
    tables = importlib.resources.files("keras_seqpar.hierarchy") / "tables"
    text = (tables / name).read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    next(rows)  # column names
    yield from rows


def _read(path: Path, name: str) -> bytes:
    if path.is_dir():
        size, read = (path / name).stat().st_size, (path / name).read_bytes
    else:
        archive = zipfile.ZipFile(path)
        inner = [i for i in archive.infolist() if i.filename.split("/")[-1] == name]
        if not inner:
            raise KeyError(f"no {name} in it")
        size, read = inner[0].file_size, functools.partial(archive.read, inner[0])
    if size > MOST_BYTES:
        raise ValueError(f"{path}: {name} has {size} bytes, more than {MOST_BYTES}. {_WHAT}")
    return read()


@functools.cache
def _extract() -> Corpus:
    synsets: dict[str, Synset] = {}
    ranked: dict[str, list[tuple[int, str]]] = {}
    for wnid, hypernym, lemmas, ranks in table("wordnet_nouns.tsv"):
        above = (hypernym,) if hypernym else ()
        synsets[wnid] = Synset(wnid, tuple(lemmas.split("|")), above)
        for word, rank in zip(synsets[wnid].lemmas, ranks.split("|"), strict=True):
            ranked.setdefault(word.lower(), []).append((int(rank), wnid))
    return Corpus(
        "the package's extract of WordNet 3.0",
        synsets.__getitem__,
        lambda noun: [wnid for _, wnid in sorted(ranked.get(noun.strip().lower(), []))],
        lambda wnid: wnid,
        lambda: [word for synset in synsets.values() for word in synset.lemmas],
    )


def _wordnet(name: str, data: bytes, index: bytes) -> Corpus:
    """WordNet's own files; the format is described in its manual page wndb(5WN)."""
    found = re.search(rb"WordNet (\d\.\d) Copyright", data[:4000])
    if not found:
        raise ValueError(f"{name}: data.noun is no file of WordNet. {_WHAT}")
    version = found[1].decode()
    broken = ValueError(f"{name}: data.noun or index.noun is broken or of another version.")

    def synset(id_: str) -> Synset:
        offset = int(id_[1:])
        line = data[offset : data.find(b"\n", offset)].decode("utf-8", "replace")
        if not line.startswith(f"{offset:08d} "):
            raise KeyError(id_)
        try:
            fields, _, gloss = line.partition(" | ")
            values = fields.split()
            words = int(values[3], 16)
            at = 4 + 2 * words  # after pairs of lemma and lex_id
            pointers = [values[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(values[at]))]
            return Synset(
                id_,
                tuple(word.replace("_", " ") for word in values[4:at:2]),
                tuple(f"n{target}" for symbol, target, _, _ in pointers if symbol in ("@", "@i")),
                gloss.strip(),
            )
        except (ValueError, IndexError) as error:
            raise broken from error

    def senses(noun: str) -> list[str]:
        key = re.sub(r"\s+", "_", noun.strip().lower())
        at = index.find(f"\n{key} n ".encode())
        if not key or at < 0:
            return []
        values = index[at + 1 : index.find(b"\n", at + 1)].decode().split()
        try:
            return [f"n{offset}" for offset in values[-int(values[2]) :]]
        except (ValueError, IndexError) as error:
            raise broken from error

    def of_wnid(wnid: str) -> str:
        if version != "3.0":
            raise ValueError(_no_wnids(wnid, f"{name} (WordNet {version})"))
        return wnid

    def nouns() -> list[str]:
        lines = index.decode("utf-8", "replace").splitlines()
        return [line.split(" ", 1)[0].replace("_", " ") for line in lines if line[:1] != " "]

    return Corpus(f"WordNet {version} in {name}", synset, senses, of_wnid, nouns)


def _wn(folder: Path) -> Corpus:
    try:
        import wn
    except ImportError as error:
        raise ImportError(f"{folder} needs the wn library: pip install wn") from error
    wn.config.data_directory = folder
    english = [lexicon for lexicon in wn.lexicons() if lexicon.language == "en"]
    english.sort(key=lambda lexicon: lexicon.id != "omw-en")  # the one with WordNet 3.0's ids
    if not english:
        raise ValueError(
            f"There is no English wordnet in {folder}. Add one, for example with "
            "python -m wn download omw-en:1.4"
        )
    lexicon = english[0].specifier()
    words = wn.Wordnet(lexicon, expand="")

    def synset(id_: str) -> Synset:
        try:
            found = words.synset(id_)
        except wn.Error as error:
            raise KeyError(id_) from error
        above = found.get_related("hypernym", "instance_hypernym")
        return Synset(
            id_, tuple(found.lemmas()), tuple(x.id for x in above), found.definition() or ""
        )

    def of_wnid(wnid: str) -> str:
        if english[0].id != "omw-en":
            raise ValueError(_no_wnids(wnid, f"{folder} ({lexicon})"))
        return f"omw-en-{wnid[1:]}-n"

    return Corpus(
        f"{lexicon} in {folder}",
        synset,
        lambda noun: [sense.synset().id for sense in words.senses(noun.strip(), pos="n")],
        of_wnid,
        lambda: [word.lemma() for word in words.words(pos="n")],
    )


def _no_wnids(wnid: str, where: str) -> str:
    return (
        f"{wnid!r} is an id of WordNet 3.0, and {where} is another version, with other ids. "
        "Give names instead, or another corpus (omw-en:1.4 of the wn library has these ids)."
    )


def suggestions(noun: str, corpus: Corpus) -> str:
    """A sentence that names the nouns most similar to `noun`; empty if there are none."""
    near = difflib.get_close_matches(noun, corpus.nouns(), n=3, cutoff=0.7)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
