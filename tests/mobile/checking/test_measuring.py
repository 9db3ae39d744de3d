"""What is measured of files on this machine."""

import sys

import pytest

from keras_seqpar.mobile.checking import benchmark, measuring
from keras_seqpar.utils.memory import resident
from tests.mobile.checking.conftest import NAMES

pytestmark = pytest.mark.only_backend("tensorflow")


def test_what_is_measured(measured, folder):
    assert len(measured.results) == 2 * 4
    for result in measured.results:
        assert min(result.load_ms, result.first_ms, result.latency_ms) > 0
        assert result.device.startswith("ai-edge-litert ") and not result.averaged
        assert sys.platform != "linux" or 0 < result.memory < 200 * benchmark.MIB
    rows = measured.rows()
    assert [(row["threads"], row["name"]) for row in rows] == [
        (n, f) for n in (1, 2) for f in NAMES
    ]
    for start in (0, 4):
        base = rows[start]
        assert base["ideal_ms"] == base["latency_ms"]
        for row in rows[start + 1 : start + 4]:
            share = row["macs"] / base["macs"]
            assert row["ideal_ms"] == pytest.approx(base["latency_ms"] * share)


def probe(path):
    """Load time, first latency and memory of a file, in a process of its own."""
    return measuring.in_own_process(measuring.__name__, "probe", str(path), 1, None)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
def test_memory_is_not_the_parents(files, folder):
    """This process is large; getrusage in a child would begin at that."""
    assert resident("VmHWM") > 200 * benchmark.MIB
    *_, memory = probe(folder / NAMES[1])
    assert 0 < memory < 200 * benchmark.MIB


def test_settings_and_files_that_cannot_be(files, folder, tmp_path):
    for options, words in (
        ({"threads": (1, 0)}, "threads must be whole numbers of 1 or more, got 0"),
        ({"threads": ()}, "threads .* got none"),
        ({"rounds": 1.5}, "rounds .* got 1.5"),
        ({"runs": True}, "runs .* got True"),
    ):
        with pytest.raises(ValueError, match=words):
            measuring.measure(files, folder, **options)
    with pytest.raises(FileNotFoundError, match="plain-int8.tflite"):
        measuring.measure(files, tmp_path)
    with pytest.raises(RuntimeError, match=r"no.tflite ended with 1: (.|\n)*no file"):
        probe(tmp_path / "no.tflite")
