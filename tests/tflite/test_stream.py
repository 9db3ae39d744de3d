"""tflite/stream.py as users call it."""

import pytest

from tests.selective.litert_engine.files import File

pytestmark = pytest.mark.only_backend("tensorflow")


def test_write_a_stream(call, tmp_path):
    file = File((1, 20, 20, 3))
    file.outputs = [file.head(file.conv(file.frame, 4))]
    file.save(tmp_path / "net.tflite")
    code, out, err = call("stream.py", "net.tflite", "net.stream")
    assert code == 0, err
    assert "net.stream: 3 files of " in out and (tmp_path / "net.stream/manifest.json").is_file()
    code, _, err = call("stream.py", "net.tflite", "net.stream")
    assert code == 1 and "exists already" in err


def test_write_a_region_stream(call, tmp_path):
    file = File((1, 40, 40, 3))
    file.outputs = [file.conv(file.frame, 4, stride=2)]
    file.save(tmp_path / "net.tflite")
    code, out, err = call("stream.py", "net.tflite", "net.regions", "--crops", "20x20,20x30")
    assert code == 0, err
    assert "net.regions: 3 files of " in out
    code, _, err = call("stream.py", "net.tflite", "other.regions", "--crops", "20")
    assert code == 1 and "sizes like 44x56, got '20'" in err
