"""CamVid: reading the zip, and scores."""

import numpy as np
import pytest

from keras_seqpar.data import camvid
from tests.data.scenes import CLASSES, HEIGHT, WIDTH, write_scenes

pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes.zip")


def test_reading(scenes, tmp_path):
    found = camvid.load(str(scenes))
    assert found.categories == CLASSES
    assert {name: len(split) for name, split in found.splits.items()} == dict.fromkeys(
        camvid.SPLITS, 4
    )
    split = found.splits["test"]
    assert split.images.shape == (4, HEIGHT, WIDTH, 3) and split.images.dtype == "uint8"
    assert set(np.unique(split.labels)) == {0, 1, 2, 3}
    for made, words in (
        (tmp_path / "missing.zip", "no file"),
        (write_scenes(tmp_path / "a.zip", unlabeled=False), "last line of classes.txt"),
        (write_scenes(tmp_path / "b.zip", drop="valannot/1.png"), "valannot/1.png is missing"),
    ):
        with pytest.raises(ValueError, match=words):
            camvid.load(str(made))
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="no readable zip"):
        camvid.load(str(tmp_path / "c.zip"))


def test_pixels_without_a_label_count_in_no_score():
    labels = np.array([[[0, 1, 2]]], "uint8")
    matrix = camvid.confusion(labels, np.array([[[0, 0, 1]]]), 2)
    assert matrix.tolist() == [[1, 0], [1, 0]]
    assert camvid.ious(matrix).tolist() == [0.5, 0.0]
