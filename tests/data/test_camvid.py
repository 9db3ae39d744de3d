"""CamVid: reading the zip, and scores."""

import zipfile

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
    with pytest.raises(ValueError, match=r"c.zip' is damaged or cut off"):
        camvid.load(str(tmp_path / "c.zip"))


def test_damaged_zips_and_images_are_named(scenes, tmp_path):
    content = scenes.read_bytes()
    for length in (len(content) // 2, len(content) - 30):
        (tmp_path / "cut.zip").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut.zip' is damaged or cut off"):
            camvid.load(str(tmp_path / "cut.zip"))
    with zipfile.ZipFile(scenes) as file, zipfile.ZipFile(tmp_path / "odd.zip", "w") as odd:
        for name in file.namelist():
            odd.writestr(name, b"?" if name.endswith("val/1.png") else file.read(name))
    with pytest.raises(ValueError, match=r"The image .*val/1.png in .*odd.zip is damaged"):
        camvid.load(str(tmp_path / "odd.zip"))


def test_pixels_without_a_label_count_in_no_score():
    labels = np.array([[[0, 1, 2]]], "uint8")
    matrix = camvid.confusion(labels, np.array([[[0, 0, 1]]]), 2)
    assert matrix.tolist() == [[1, 0], [1, 0]]
    assert camvid.ious(matrix).tolist() == [0.5, 0.0]
