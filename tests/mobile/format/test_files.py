"""A file and its labels are written and moved together."""

import os

import pytest

from keras_seqpar import mobile
from keras_seqpar.mobile.format import files
from keras_seqpar.mobile.runtime import reading
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


class Killed(BaseException):
    """Stands for SIGKILL: what cleans up after it fails as well."""


def kill_points(monkeypatch, prepare, act):
    """Runs `act` again and again, and kills it before its first, second, ... change of a name."""
    for limit in range(20):
        prepare()
        done = 0

        def counting(function, limit=limit):
            def call(*args, **more):
                nonlocal done
                if done == limit:
                    raise Killed
                done += 1
                return function(*args, **more)

            return call

        with monkeypatch.context() as patched:
            for name in ("replace", "rename", "unlink", "remove"):
                patched.setattr(os, name, counting(getattr(os, name)))
            try:
                act()
            except Killed:
                pass
        yield
        if done < limit:
            return


@pytest.fixture(scope="module")
def two_files(tmp_path_factory):
    """The contents of two models with other labels, and of one without."""
    path = tmp_path_factory.mktemp("two") / "net.tflite"
    contents = []
    for labels in (["cat", "dog"], ["x", "y"], False):
        mobile.convert(network(), path, labels=labels)
        contents.append(path.read_bytes())
    return contents


@pytest.mark.parametrize("how", ["write", "move"])
@pytest.mark.parametrize("labelled", [True, False])
def test_no_model_is_ever_beside_the_labels_of_another(
    how, labelled, two_files, monkeypatch, tmp_path
):
    """Wherever a process is killed that replaces a model."""
    path, beside = tmp_path / "net.tflite", tmp_path / "net.labels.txt"
    source, labels = tmp_path / "source.tflite", tmp_path / "source.labels.txt"
    old, new = two_files[0], two_files[1 if labelled else 2]

    def prepare():
        for left in tmp_path.iterdir():
            left.unlink()
        path.write_bytes(old)
        beside.write_text("cat\ndog\n")
        if how == "move":
            source.write_bytes(new)
            labels.write_text("x\ny\n")

    def act():
        if how == "write":
            files.write(path, new, b"x\ny\n" if labelled else None)
        else:
            record = files.Converted(source, labels if labelled else None, "int8", len(new), {})
            record.move(path)

    seen = set()
    for _ in kill_points(monkeypatch, prepare, act):
        inside = reading.read_tflite(path).labels
        outside = tuple(beside.read_text().split()) if beside.is_file() else None
        assert outside in (None, inside)
        seen.add((inside, outside))
    last = (("x", "y"), ("x", "y")) if labelled else (None, None)
    assert {(("cat", "dog"), ("cat", "dog")), last} <= seen


def test_labels_in_the_way_are_refused_before_the_model_is_replaced(tmp_path):
    (tmp_path / "net.labels.txt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"net\.labels\.txt' is a folder"):
        mobile.convert(network(), tmp_path / "net.tflite")
    assert os.listdir(tmp_path) == ["net.labels.txt"]
