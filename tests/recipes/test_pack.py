"""One archive of small JPEGs is the data set it was made of."""

import zipfile

import numpy as np
import pytest

from keras_seqpar import data
from tests import commands

pytest.importorskip("absl")
pytest.importorskip("PIL")

PACK = "recipes/pack.py"


def test_an_archive_is_the_data_set_but_for_jpeg(tmp_path, capsys):
    path = tmp_path / "digits.zip"
    arguments = [str(path), "--dataset=digits", "--image_size=16", "--quality=95"]
    assert commands.call(PACK, *arguments) == 0
    assert "1,437 (train) and 360 (validation) images" in capsys.readouterr().out
    digits = data.load("digits", image_size=16)
    packed = data.load(f"archive:{path}", image_size=16)
    assert packed.categories == digits.categories
    for name, split in digits.splits.items():
        order = np.argsort(split.labels, kind="stable")  # archives are read category by category
        assert np.array_equal(packed.splits[name].labels, split.labels[order])
        one, other = packed.splits[name].read(range(40)), split.read(order[:40])
        assert np.abs(one.astype(float) - other).mean() < 4
    before = path.read_bytes()
    assert commands.call(PACK, *arguments) == 1
    assert "exists already. Replace it with --overwrite." in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["digits.zip"]
    assert zipfile.ZipFile(path).testzip() is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.tar"], "must end in .zip"),
        (["x.zip", "--quality=96"], "--quality must be 1 to 95, got 96"),
        (["x.zip", "--dataset=mnist"], "Unknown data set 'mnist'"),
        ([], "ARCHIVE is missing"),
    ],
)
def test_bad_flags(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert commands.call(PACK, *arguments) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
