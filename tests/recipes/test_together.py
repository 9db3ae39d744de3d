"""Cutouts with gains on a stream: what each frame costs."""

import json

import numpy as np
import pytest

from keras_seqpar.data.video import VideoWriter
from tests import commands

pytest.importorskip("absl")
pytest.importorskip("cv2")
pytest.importorskip("ai_edge_litert")

pytestmark = pytest.mark.only_backend("tensorflow")
TOGETHER = "recipes/together.py"
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


def test_everything_together(clip, tmp_path, capsys):
    flags = ["--keep=2,1", "--frames=8", "--size=48x32", f"--output={tmp_path}"]
    assert commands.call(TOGETHER, clip, *flags) == 0
    assert (tmp_path / "together.png").is_file()
    printed = capsys.readouterr().out
    assert "2 categories: dense" in printed and "1 categories" in printed
    two, one = json.loads((tmp_path / "together.json").read_text("utf-8"))["results"]
    assert two["wrong"] == one["wrong"] == 0
    assert len(one["per_frame"]["ms"]) == len(one["per_frame"]["computed"]) == 2
    assert one["whole"] > 0
    assert commands.call(TOGETHER, clip, "--keep=11") == 1
    assert "from 1 to 10" in capsys.readouterr().err
