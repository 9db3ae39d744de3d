"""The command that trains and scores a segmenter: a run that is killed and resumed, messages."""

import json
import re

import keras
import numpy as np
import pytest

from keras_seqpar.training.runs.checkpoints import Checkpoint
from keras_seqpar.training.tasks import segmentation, segmenter
from tests import commands, harness
from tests.data.scenes import CLASSES, write_scenes
from tests.training.runner import JIT

pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes.zip")


def call(*arguments):
    return commands.call("recipes/segment.py", *arguments)


def tiny(classes, seed=0, **_):
    """A network of few layers, in place of the recipe's."""
    frame = keras.Input((None, None, 5), name="frame")
    init = keras.initializers.GlorotUniform(seed)
    conv = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer=init, name="conv")
    x = conv(keras.layers.Rescaling(1 / 255, name="scale")(frame))
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
    scores = keras.layers.Conv2D(classes, 1, kernel_initializer=init, name="scores")
    return keras.Model(frame, scores(x), name="tiny")


def test_a_killed_run_ends_in_the_same_weights(scenes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(segmentation, "build_segmenter", tiny)
    flags = [f"--data={scenes}", "--crop=32", "--batch_size=2", "--init=none", "--epochs=2"]
    flags += ["--grain=6", JIT]
    assert call(*flags, f"--output={tmp_path / 'one'}") == 0
    printed = capsys.readouterr().out
    assert "car" in printed and "mean IoU" in printed

    def stop(self, epoch, logs=None):
        original(self, epoch, logs)
        raise KeyboardInterrupt

    original = Checkpoint.on_epoch_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", stop)
        assert call(*flags, f"--output={tmp_path / 'two'}") == 130
    assert call(f"--output={tmp_path / 'two'}", "--resume") == 0
    assert "Resuming after epoch 1 of 2" in capsys.readouterr().out
    one, two = (
        segmenter.load_segmenter(str(tmp_path / x / "last.keras"), 3) for x in ("one", "two")
    )
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-5)
    found = json.loads((tmp_path / "one" / "test.json").read_text("utf-8"))
    assert found["images"] == 4 and set(found["iou"]) == set(CLASSES)


def test_a_dry_run_writes_nothing(scenes, tmp_path, capsys, monkeypatch, steady_clock):
    """With a clock that goes on by a second per look, each step takes one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segmentation, "build_segmenter", tiny)
    flags = [f"--data={scenes}", "--crop=32", "--batch_size=2", "--init=none", "--epochs=5", JIT]
    assert call(*flags, "--dry_run") == 0
    printed = capsys.readouterr().out
    assert not [*tmp_path.iterdir()]
    for line in (
        r"images +2 x 40 x 48 x 3",
        r"crops, augmented +2 x 32 x 32 x 5",
        r"scores +2 x 32 x 32 x 3",
        rf"Cost of an image: 215 parameters, {(5 * 9 * 4 + 4 * 3) * 40 * 48 / 1000:.2f} k MACs",
        r"training step +1 s, 2 an epoch",
        r"validation step +1 s, 2 an epoch",
        r"an epoch +4 s, 5 of them",
        r"scoring of the test images +2 s",
        r"all +23 s",  # the first step, five epochs, the test images
    ):
        assert re.search(line, printed), line


def test_a_network_is_scored(scenes, tmp_path, capsys):
    network = segmenter.build_segmenter(3, width=0.125, channels=8)
    harness.randomize(network)
    network.save(tmp_path / "net.keras")
    assert call(f"--data={scenes}", f"--evaluate={tmp_path / 'net.keras'}") == 0
    assert "mean IoU" in capsys.readouterr().out


def test_bad_flags(scenes, tmp_path, capsys):
    (tmp_path / "no.keras").write_text("no network")
    for flags, words in (
        ([], "Give --data"),
        ([f"--data={scenes}", "--stages=4"], "--stages must be 2 or 3, got 4"),
        ([f"--data={scenes}", "--agree=0", "--grain=6"], "--agree is 0. Give"),
        (
            [f"--data={scenes}", "--crop=64", "--batch_size=2"],
            "at most --batch_size 4 and --crop 40",
        ),
        (["--evaluate=a.keras", "--epochs=3"], "leave out --evaluate or --epochs"),
        (["--evaluate=a.keras", "--dry_run"], "leave out --evaluate or --dry_run"),
        (["--resume", "--overwrite"], "--resume continues a run, --overwrite replaces it"),
        ([f"--data={scenes}", f"--evaluate={tmp_path / 'no.keras'}"], "no readable .keras"),
        (["--resume", f"--output={tmp_path}"], "no run to resume"),
    ):
        assert call(*flags) == 1
        assert words in capsys.readouterr().err
