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
