"""A file and its labels are written and moved together."""

import os

import pytest

from keras_seqpar import mobile
from tests import harness
from tests.mobile.networks import network

pytestmark = pytest.mark.only_backend("tensorflow")


def test_failed_writes_keep_the_old_file(monkeypatch, tmp_path):
    net, path = network(), tmp_path / "net.tflite"
    made = mobile.convert(net, path)
    before = path.read_bytes(), made.labels_path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, step, full)
            with pytest.raises(OSError, match="No space left"):
                mobile.convert(net, path, quantization="float32", labels=["x", "y"])
        assert (path.read_bytes(), made.labels_path.read_bytes()) == before
        assert sorted(os.listdir(tmp_path)) == ["net.labels.txt", "net.tflite"]


def test_move_takes_the_labels_along(tmp_path):
    (tmp_path / "to").mkdir()
    made = mobile.convert(network(), tmp_path / "a.tflite")
    moved = made.move(tmp_path / "to" / "b.tflite")
    assert sorted(os.listdir(tmp_path / "to")) == ["b.labels.txt", "b.tflite"]
    assert os.listdir(tmp_path) == ["to"]
    assert mobile.Runner(moved.path).labels == harness.LABELS[:2]
    mobile.convert(network(), tmp_path / "a.tflite", labels=False).move(moved.path)
    assert os.listdir(tmp_path / "to") == ["b.tflite"]  # no labels of another file
    with pytest.raises(ValueError, match="does not exist"):
        moved.move(tmp_path / "nowhere" / "b.tflite")
