"""The tables of the package are what the command makes of WordNet."""

import pytest

from keras_seqpar import hierarchy
from keras_seqpar.hierarchy.corpora import table
from keras_seqpar.hierarchy.table_making import FOLDER
from tests import commands

pytest.importorskip("absl")

MAKE_TABLES = "recipes/make_tables.py"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """WordNet's files with the extract's synsets in their places, and the list of ids."""
    folder = tmp_path_factory.mktemp("sources")
    license = (FOLDER / "WORDNET_LICENSE.txt").read_text()
    head = "".join(f"{i:>3} {line}  \n" for i, line in enumerate(license.splitlines(), 1))
    content = bytearray(b"\n" * 16_000_000)
    content[: len(head)] = head.encode()
    senses: dict[str, dict[int, str]] = {}
    for wnid, hypernym, lemmas, ranks in table("wordnet_nouns.tsv"):
        words = [word.replace(" ", "_") for word in lemmas.split("|")]
        shown = " ".join(f"{word} 0" for word in words)
        above = f"001 @ {hypernym[1:]} n 0000" if hypernym else "000"
        line = f"{wnid[1:]} 03 n {len(words):02x} {shown} {above} | -  \n".encode()
        at = int(wnid[1:])
        content[at : at + len(line)] = line
        for word, rank in zip(words, ranks.split("|"), strict=True):
            senses.setdefault(word.lower(), {})[int(rank)] = wnid[1:]
    index = head
    for word, found in sorted(senses.items()):
        places = [found.get(i, "00000000") for i in range(1, max(found) + 1)]
        index += f"{word} n {len(places)} 1 @ {len(places)} 0 {' '.join(places)}  \n"
    (folder / "data.noun").write_bytes(content)
    (folder / "index.noun").write_text(index)
    (folder / "wnids.txt").write_text("\n".join(hierarchy.subset_wnids("imagenet1k")))
    return folder


def test_the_tables_are_what_the_recipe_makes(sources, tmp_path, capsys, root):
    flags = ["--wordnet", str(sources), "--wnids", str(sources / "wnids.txt")]
    assert commands.call(MAKE_TABLES, *flags, "--out", tmp_path) == 0
    assert "4 split-points: 5 + 29 + 175 superclasses" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 3
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (FOLDER / path.name).read_bytes()


def test_bad_sources_of_tables_are_refused(sources, tmp_path, capsys):
    few = tmp_path / "few.txt"
    few.write_text("n01440764 tench")
    for argv, message in (
        ([], "Say where the sources are"),
        (["--wordnet", str(sources), "--wnids", str(few)], "has 2 words, 1 of which"),
        (["--wordnet", "x", "--wnids", str(sources / "wnids.txt")], "There is no WordNet at 'x'"),
        (["--wordnet", "x", "--wnids", "nowhere.txt"], "nowhere.txt"),
    ):
        assert commands.call(MAKE_TABLES, *argv, "--out", tmp_path / "out") == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
