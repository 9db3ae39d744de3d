"""Reading WordNet's own files, the wn library and the package's extract."""

import sys
import zipfile

import pytest

from keras_seqpar.hierarchy import corpora
from keras_seqpar.hierarchy.wordnet import from_wordnet
from tests.hierarchy.small_wordnet import SYNSETS, write_wordnet


@pytest.fixture(scope="module")
def small_wordnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet") / "dict"
    return folder, write_wordnet(folder)


def test_wordnets_own_files_are_read(small_wordnet, tmp_path):
    folder, wnids = small_wordnet
    with zipfile.ZipFile(tmp_path / "wordnet.zip", "w") as archive:
        for name in ("data.noun", "index.noun"):
            archive.write(folder / name, f"wordnet/{name}")
    for place in (folder, str(folder), tmp_path / "wordnet.zip"):
        corpus = corpora.open_corpus(place)
        assert corpus.name.startswith("WordNet 3.0 in ")
        for wnid, (words, above, gloss) in zip(wnids, SYNSETS, strict=True):
            found = corpus.synset(wnid)
            assert found.lemmas == tuple(word.replace("_", " ") for word in words)
            assert found.hypernyms == tuple(wnids[i] for i in above)
            assert found.gloss == gloss
        assert corpus.senses("Jack") == [wnids[9], wnids[10]]
        assert corpus.senses("true cat") == [wnids[4]]
        assert corpus.senses("ca") == corpus.senses("") == corpus.senses("a license.") == []
        assert [s.lemmas[0] for s in corpus.path(wnids[5])] == [
            *("entity", "physical entity", "dog", "lapdog")
        ]


def test_the_wn_library_is_read(small_wordnet, tmp_path, monkeypatch):
    import wn

    folder, wnids = small_wordnet
    words = sorted({word for synset in SYNSETS for word in synset[0]})
    entries, synsets = "", ""
    for i, word in enumerate(words):
        senses = "".join(
            f'<Sense id="omw-en-{i}-{j}" synset="omw-en-{wnids[j][1:]}-n"/>'
            for j, synset in enumerate(SYNSETS)
            if word in synset[0]
        )
        lemma = f'<Lemma writtenForm="{word.replace("_", " ")}" partOfSpeech="n"/>'
        entries += f'<LexicalEntry id="omw-en-w{i}">{lemma}{senses}</LexicalEntry>'
    for j, (inside, above, gloss) in enumerate(SYNSETS):
        members = " ".join(f"omw-en-{words.index(word)}-{j}" for word in inside)
        relations = "".join(
            f'<SynsetRelation relType="hypernym" target="omw-en-{wnids[k][1:]}-n"/>' for k in above
        )
        synsets += (
            f'<Synset id="omw-en-{wnids[j][1:]}-n" ili="" partOfSpeech="n" members="{members}">'
            f"<Definition>{gloss}</Definition>{relations}</Synset>"
        )
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE LexicalResource SYSTEM '
        '"http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">\n'
    )
    for name in ("omw-en", "other"):
        lexicon = (
            f'<Lexicon id="{name}" label="a" language="en" email="a" license="a" version="1.4">'
            f"{entries}{synsets}</Lexicon>"
        ).replace("omw-en-", f"{name}-")
        place = tmp_path / name
        place.mkdir()
        (place / "a.xml").write_text(
            f'{head}<LexicalResource xmlns:dc="http://purl.org/dc/elements/1.1/">{lexicon}'
            "</LexicalResource>"
        )
        monkeypatch.setattr(wn.config, "data_directory", place)
        wn.add(place / "a.xml", progress_handler=None)
        corpus, reference = corpora.open_corpus(place), corpora.open_corpus(folder)
        for wnid in wnids:
            a, b = corpus.synset(f"{name}-{wnid[1:]}-n"), reference.synset(wnid)
            assert (a.lemmas, a.gloss) == (b.lemmas, b.gloss)
            assert [x.split("-")[-2] for x in a.hypernyms] == [x[1:] for x in b.hypernyms]
        labels = ["rache", "sleuth", "tom", "blue cat", "jack"]
        made = from_wordnet(labels, corpus=place)
        assert made == from_wordnet(labels, corpus=folder)
        with pytest.raises(ValueError, match="has no noun 'tomm'. Did you mean 'tom'"):
            from_wordnet(["tomm"], corpus=place)
        if name == "omw-en":
            assert from_wordnet([wnids[8]], corpus=place).categories == ("tom",)
            with pytest.raises(ValueError, match="has no synset 'omw-en-99999999-n'"):
                from_wordnet(["n99999999"], corpus=place)
        else:
            with pytest.raises(ValueError, match=r"other:1.4\) is another version"):
                from_wordnet([wnids[8]], corpus=place)


def test_broken_corpora_are_refused(tmp_path, monkeypatch):
    wnids = write_wordnet(tmp_path / "new", version="3.1")
    with pytest.raises(ValueError, match=r"is an id of WordNet 3.0, and .*\(WordNet 3.1\)"):
        from_wordnet(wnids[:1], corpus=tmp_path / "new")
    assert from_wordnet(["cur"], corpus=tmp_path / "new").categories == ("cur",)

    circle = [(["a"], [1], ""), (["b"], [0], "")]
    write_wordnet(tmp_path / "circle", circle)
    with pytest.raises(ValueError, match="hypernyms of n0.* run in a circle"):
        from_wordnet(["a"], corpus=tmp_path / "circle")

    write_wordnet(tmp_path / "broken")
    data = tmp_path / "broken" / "data.noun"
    data.write_bytes(data.read_bytes().replace(b" @ ", b" @@@ 7 "))
    with pytest.raises((ValueError, KeyError), match="broken or of another version|n0"):
        from_wordnet(["cur"], corpus=tmp_path / "broken")
    data.write_text("something else")
    with pytest.raises(ValueError, match="data.noun is no file of WordNet"):
        from_wordnet(["cur"], corpus=tmp_path / "broken")
    (tmp_path / "broken" / "index.noun").unlink()
    with pytest.raises(ValueError, match="There is no WordNet at"):
        from_wordnet(["cur"], corpus=tmp_path / "broken")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("something", "else")
    with pytest.raises(ValueError, match=r"no data\.noun in it"):
        from_wordnet(["cur"], corpus=tmp_path / "a.zip")
    monkeypatch.setattr(corpora, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="more than 10"):
        from_wordnet(["cur"], corpus=tmp_path / "new")
    (tmp_path / "wn.db").touch()
    monkeypatch.setitem(sys.modules, "wn", None)
    with pytest.raises(ImportError, match="pip install wn"):
        from_wordnet(["cur"], corpus=tmp_path)
