"""Archives of data sets: names of folders and files, and what is left after a fault."""

import warnings
import zipfile

import numpy as np
import pytest

from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.data.loading import load
from keras_seqpar.data.packing import pack

pytest.importorskip("PIL")


def dataset(read):
    names, labels = ("first", "second", "third"), np.array([0, 1, 1])
    return Dataset("drawn", ("cat", "dog/wolf"), {"train": Split(names, labels, read)})


LABELS = ("cat", "dog/wolf", "dog_wolf", ".net", "50%2F", "C\\C++", "Thumbs.db", "猫", "a b.")


def test_labels_are_read_again_as_they_were(tmp_path):
    def read(rows):
        return np.zeros((len(rows), 8, 8, 3), "uint8")

    images = Split(tuple(LABELS), np.arange(len(LABELS)), read)
    drawn = Dataset("drawn", LABELS, {"train": images, "validation": images})
    pack(tmp_path / "a.zip", drawn)
    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert names[:2] == ["train/cat/000000.jpg", "train/dog%2Fwolf/000001.jpg"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load(f"archive:{tmp_path / 'a.zip'}", image_size=8)
    assert found.categories == tuple(sorted(LABELS))
    assert len(found.train) == len(found.validation) == len(LABELS)


def test_an_image_that_cannot_be_read_leaves_no_archive(tmp_path):
    def read(rows):
        raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"):
        pack(tmp_path / "a.zip", dataset(read))
    assert not list(tmp_path.iterdir())
