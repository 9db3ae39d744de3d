"""Folders of region streams for apps; what apps compute with them is tested in tflite/android."""

import json

import numpy as np
import pytest

from keras_seqpar import selective
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from tests.selective.litert_engine.files import Dense, File, noise

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend
CROPS = [(44, 44), (44, 64)]


def segmenter(kind="int8"):
    """A map of half the frame's resolution, with an enlargement by a stored size."""
    file = File((1, 64, 80, 3), kind)
    fine = file.conv(file.frame, 8, stride=2, activation=1)
    x = file.conv(file.pool(fine, "MAX_POOL_2D"), 8)
    x = file.both("ADD", file.resize(x, (32, 40)), fine)
    file.outputs = [file.conv(x, 4, (1, 1))]
    return file


def test_crops_give_the_scores_of_the_frame(tmp_path):
    path = segmenter().save(tmp_path / "net.tflite")
    folder = selective.export_region_stream(path, tmp_path / "net.regions", CROPS)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    frame = noise((64, 80, 3), "int8", np.random.default_rng(0))
    (whole,) = Dense(path)(frame)
    _, engine = find_interpreter()
    for entry in [manifest["full"], *manifest["crops"]]:
        loaded = engine(model_content=(folder / entry["file"]).read_bytes())
        loaded.allocate_tensors()
        (height, width), size = entry["size"], entry["output_size"]
        given, made = loaded.get_input_details()[0], loaded.get_output_details()[0]
        loaded.set_tensor(given["index"], frame[None, :height, :width])
        loaded.invoke()
        scores = loaded.get_tensor(made["index"])
        assert list(scores.shape) == [1, *size, 4]
        rows, cols = (
            side if n == axis["size"] else side - axis["after"]
            for side, n, axis in zip(
                size, (height, width), (manifest["rows"], manifest["cols"]), strict=True
            )
        )
        assert rows > 4 and (scores[:, :rows, :cols] == whole[:, :rows, :cols]).all()


@pytest.mark.parametrize(
    "crops, words",
    [
        ([], "pairs"),
        ([(44,)], "pairs"),
        ([(45, 44)], "Crops of 45x44 do not fit net.tflite: .* multiple of 4"),
        ([(44, 84)], "to 80 pixels"),
        ([(0, 44)], "do not fit"),
    ],
)
def test_crops_that_do_not_fit_are_refused(tmp_path, crops, words):
    path = segmenter().save(tmp_path / "net.tflite")
    with pytest.raises(ValueError, match=words):
        selective.export_region_stream(path, tmp_path / "net.regions", crops)
    assert not (tmp_path / "net.regions").exists()
