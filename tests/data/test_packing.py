"""Archives of data sets: names of folders and files, and what is left after a fault."""

import zipfile

import numpy as np
import pytest

from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.data.packing import pack

pytest.importorskip("PIL")


def dataset(read):
    names, labels = ("first", "second", "third"), np.array([0, 1, 1])
    return Dataset("drawn", ("cat", "dog/wolf"), {"train": Split(names, labels, read)})


def test_folders_are_labels_or_ids(tmp_path):
    def read(rows):
        return np.zeros((len(rows), 8, 8, 3), "uint8")

    pack(tmp_path / "a.zip", dataset(read))
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == [
        "train/cat/000000.jpg",
        "train/dog_wolf/000001.jpg",
        "train/dog_wolf/000002.jpg",
    ]


def test_an_image_that_cannot_be_read_leaves_no_archive(tmp_path):
    def read(rows):
        raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"):
        pack(tmp_path / "a.zip", dataset(read))
    assert not list(tmp_path.iterdir())
