"""tflite/benchmark.py as users call it."""

import os
import re

import pytest

from keras_seqpar.mobile.checking import benchmark, phone
from tests import harness
from tests.conftest import ROOT
from tests.mobile.checking.phone_logs import log

pytestmark = pytest.mark.only_backend("tensorflow")


def test_measure_then_phone(call, tmp_path):
    net = harness.network(("tench", "chain saw", "church"), include_preprocessing=True)
    net.save(tmp_path / "net.keras")
    few = ("--threads", 1, "--rounds", 1, "--runs", 2, "--sizes", "1,3")
    options = ("--quantization", "dynamic", "--categories", "church,tench, chain saw")
    code, out, err = call("benchmark.py", "net.keras", *few, *options, "--plot", "a.png")
    assert code == 0, err
    folder = tmp_path / "out" / "benchmark"
    names = [f"{name}-dynamic.tflite" for name in ("cutout-1", "cutout-3", "plain")]
    assert sorted(os.listdir(folder)) == ["benchmark.json", *names]
    assert (tmp_path / "a.png").stat().st_size > 1000
    found = benchmark.read(folder / "benchmark.json")
    assert out.strip() == str(found) and len(found.results) == 3

    code, out, _ = call("benchmark.py", "--phone", "--threads", "1,2")
    assert out.strip() == phone.commands(found, "out/benchmark", threads=[1, 2]).strip()
    (tmp_path / "phone.log").write_text(log(found, threads=[1]))
    code, out, err = call("benchmark.py", "--phone_log", "phone.log", "--device", "Pixel 8")
    assert code == 0, err
    assert out.count("| Pixel 8 | 1 |") == 3
    assert out.strip() == str(benchmark.read(folder / "benchmark.json"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["preset:imagenette_small", "--sizes", "1,x"], "--sizes takes whole numbers .*'x'"),
        (["--json", "no/where.json", "--phone"], "The folder of no/where.json does not exist"),
        (["a.keras", "b.keras"], "Name one .keras file, or preset:NAME"),
    ],
)
def test_bad_values(call, tmp_path, arguments, words):
    code, _, err = call("benchmark.py", *arguments)
    assert code == 1 and not os.listdir(tmp_path)
    assert re.search(words, err)


def test_networks_of_an_earlier_version(call):
    path = ROOT / "tests/references/network_without_build_config.keras"
    code, _, err = call("benchmark.py", path)
    assert code == 1 and "how it was built" in err
