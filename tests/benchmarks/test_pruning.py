"""Streams that are not exact: one row per threshold, reach and share of pruning."""

import itertools

import numpy as np
import pytest

from keras_seqpar.data.video import VideoWriter
from tests import commands, harness

pytest.importorskip("absl")
pytest.importorskip("cv2")

pytestmark = pytest.mark.only_backend("tensorflow")
PRUNING = "benchmarks/pruning.py"
LABELS = ("blue", "green", "red")
SIZE = 48, 32  # width, height


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """8 frames in which a bright box moves."""
    path = tmp_path_factory.mktemp("video") / "box.mkv"
    writer = VideoWriter(path, 10)
    for i in range(8):
        frame = np.full((SIZE[1], SIZE[0], 3), 60, "uint8")
        frame[10:20, 4 + 3 * i : 12 + 3 * i] = (250, 40, 40)
        writer.write(frame)
    writer.close()
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.keras"
    harness.network(LABELS, include_preprocessing=True).save(path)
    return path


def test_thresholds_and_pruning_side_by_side(clip, saved, capsys):
    flags = [str(saved), f"--videos={clip}", "--size=48x32", "--frames=4"]
    some = ["--thresholds=5,auto", "--reaches=receptive_field,1", "--prunes=0,0.5", "--dilate=1"]
    assert commands.call(PRUNING, *flags, *some) == 0
    rows = [x.split(" | ") for x in capsys.readouterr().out.splitlines() if x.startswith("| ")]
    wanted = itertools.product(("| 5.0", "| auto"), ("receptive_field", "1"), ("0", "0.5"))
    assert [tuple(row[:3]) for row in rows[1:]] == list(wanted)
    for flag, message in (
        ("--videos=", "Give --videos"),
        ("--videos=missing.avi", "There is no file missing.avi"),
        ("--size=48", "WIDTHxHEIGHT"),
        ("--reaches=far", "whole number or receptive_field, got 'far'"),
    ):
        assert commands.call(PRUNING, *flags, flag) == 1
        assert message in capsys.readouterr().err
