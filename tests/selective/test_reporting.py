"""What a report tells about a file before anything runs."""

import pytest

from keras_seqpar import selective
from tests.selective.litert_engine.files import File
from tests.selective.litert_engine.test_exactness import residual_net

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


def test_runs_and_bounds(tmp_path):
    report = selective.report(residual_net("int8").save(tmp_path / "net.tflite"))
    assert report.input_shape == (21, 19, 3) and report.shares == (0.01, 0.05, 0.10, 0.25)
    assert [run.grid for run in report.runs] == [(11, 10), (6, 5), (6, 5), (3, 3), None]
    assert report.runs[0].receptive_field == (3, 3)
    assert report.runs[1].receptive_field == (7, 7)
    assert report.runs[-1].operations == ("MEAN", "FULLY_CONNECTED")
    assert list(report.bounds) == sorted(report.bounds, reverse=True) and report.bounds[-1] > 1
    assert report.memory > report.state_bytes > 0
    assert report.macs == sum(run.macs for run in report.runs)
    text = str(report)
    assert "Computed whole from 'MEAN tensor" in text and "every output reads all" in text


def test_squeeze_and_excitation_is_named(tmp_path):
    file = File((1, 16, 16, 3), "float32")
    x = file.conv(file.frame, 8)
    gate = file.unary("LOGISTIC", file.conv(file.mean(x), 8, (1, 1)))
    file.outputs = [file.conv(file.both("MUL", x, gate), 4)]
    report = selective.report(file.save(tmp_path / "se.tflite"))
    (name,) = report.barriers
    assert name.startswith("MEAN") and "reads all positions" in report.barriers[name]
    assert [run.whole for run in report.runs] == [False, True]
    assert report.runs[1].operations[-2:] == ("MUL", "CONV_2D")


def test_unknown_operations_are_named(tmp_path):
    file = File((1, 16, 16, 3), "float32")
    x = file.add(
        "TRANSPOSE", [file.conv(file.frame, 8), file.integers([0, 2, 1, 3])], (1, 16, 16, 8)
    )
    file.outputs = [file.conv(x, 4)]
    report = selective.report(file.save(tmp_path / "turned.tflite"))
    (name,) = report.barriers
    assert name.startswith("TRANSPOSE") and "no rule" in report.barriers[name]


def test_dynamic_range_is_named(tmp_path):
    file = File((1, 16, 16, 3), "float32")
    file.kind = "int8"
    weights, _ = file.weights((4, 3, 3, 3), 0)
    file.kind = "float32"
    x = file.conv(file.conv(file.frame, 3), 4)
    file.operations[-1][1][1] = weights
    file.outputs = [x]
    report = selective.report(file.save(tmp_path / "dynamic.tflite"))
    assert ["dynamic range" in why for why in report.barriers.values()] == [True]


def test_shares_out_of_range(tmp_path):
    path = residual_net("int8").save(tmp_path / "net.tflite")
    for shares in ([2.0], [], 0.1, None, ["a"]):
        with pytest.raises(ValueError, match="shares must be numbers above 0"):
            selective.report(path, shares)


def test_a_small_network_is_computed_whole(tmp_path):
    """Starting its runs would take longer."""
    report = selective.report(residual_net("int8").save(tmp_path / "net.tflite"), [0.01, 1.0])
    assert report.bounds[0] > report.bounds[1] == 1
    assert report.expected[0] == report.expected[1] < 1
