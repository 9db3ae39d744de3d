"""The benchmark of streams: rivals in one run, videos, files that are made once, bad flags."""

import json
import pathlib
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from keras_seqpar.data.video import VideoWriter
from tests import commands, harness

pytest.importorskip("absl")
pytest.importorskip("ai_edge_litert")

pytestmark = pytest.mark.only_backend("tensorflow")
STREAMS = "benchmarks/streams.py"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.keras"
    harness.network(("cat", "dog"), include_preprocessing=True).save(path)
    return path


def test_all_rivals_in_one_run(saved, tmp_path, capsys):
    flags = [f"--network={saved}", "--size=32", "--rivals=int8,float32,keras", "--runs=2"]
    flags += ["--shares=0,0.05,1", f"--files={tmp_path}", f"--json={tmp_path / 'found.json'}"]
    assert commands.call(STREAMS, *flags) == 0
    printed = capsys.readouterr().out
    assert "net.keras, 32 pixels, 1 thread(s), 1 region(s):" in printed
    assert "| changed | dense int8 ms | stream int8 ms | faster | bound | mode | wrong |" in printed
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["flags"]["size"] == 32
    assert found["start"]["stream"]["first"] > 0 and "memory" in found["start"]["dense"]
    none, some, every = found["rows"]
    assert all(row["wrong"] == dict.fromkeys(row["wrong"], 0) for row in found["rows"])
    assert set(none["mode"].values()) == {"cached"} and none["bound"]["stream int8"] is None
    assert set(some["ms"]) == {f"{x} {y}" for x in ("dense", "stream") for y in NAMES}
    assert every["bound"]["stream float32"] == 1 < some["bound"]["stream float32"]
    (path,) = tmp_path.glob("net-*-32-int8.tflite")
    written = path.stat().st_mtime_ns
    more = [f"--network={saved}", "--size=32", "--runs=1", "--shares=0.1", "--regions=1,2"]
    assert commands.call(STREAMS, *more, f"--files={tmp_path}") == 0
    assert path.stat().st_mtime_ns == written  # made once
    assert "2 region(s)" in capsys.readouterr().out
    assert commands.call(STREAMS, f"--network={path}", "--runs=1", "--shares=0.1") == 0
    assert "dense file ms" in capsys.readouterr().out


NAMES = ("int8", "float32", "Keras")


def test_videos(saved, tmp_path, capsys):
    pytest.importorskip("cv2")
    with VideoWriter(tmp_path / "box.mkv", 10) as writer:
        for i in range(10):
            frame = np.full((40, 48, 3), 60, "uint8")
            frame[10:20, 4 + 3 * i : 12 + 3 * i] = (250, 40, 40)
            writer.write(frame)
    flags = [f"--network={saved}", "--size=32", f"--videos={tmp_path / 'box.mkv'}"]
    flags += [f"--files={tmp_path}", f"--json={tmp_path / 'found.json'}"]
    assert commands.call(STREAMS, *flags, "--threshold=0") == 0
    assert "| box.mkv | 10 |" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "found.json").read_text("utf-8"))["rows"]
    assert row["wrong"] == 0 and row["same_top1"] == 1 and 0 < row["changed"] < 1
    assert commands.call(STREAMS, *flags, "--threshold=30") == 0
    (row,) = json.loads((tmp_path / "found.json").read_text("utf-8"))["rows"]
    assert row["wrong"] == 0  # the output belongs to the accepted frame
    assert commands.call(STREAMS, *flags, "--noise=2,40") == 0
    little, much = json.loads((tmp_path / "found.json").read_text("utf-8"))["rows"]
    assert (little["noise"], much["noise"]) == (2, 40) and little["changed"] > much["changed"]


def test_all_tables_run_in_processes_of_their_own(tmp_path, monkeypatch):
    asked = []

    def fake(command):
        flags = dict(x.removeprefix("--").split("=", 1) for x in command[2:])
        asked.append(flags)
        pathlib.Path(flags["json"]).write_text(json.dumps({"network": flags["network"]}))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", fake)
    flags = ["--all", "--videos=a.avi,b.avi", "--files=kept", f"--json={tmp_path / 'all.json'}"]
    assert commands.call(STREAMS, *flags) == 0
    found = json.loads((tmp_path / "all.json").read_text("utf-8"))
    assert [x["network"] for x in found] == [x["network"] for x in asked]
    assert all(x["files"] == "kept" for x in asked) and asked[-1]["videos"] == "a.avi,b.avi"
    known = "network size threads regions rivals runs turn shares videos noise frames files json"
    assert {name for x in asked for name in x} <= set(known.split())


def test_bad_flags(tmp_path, capsys):
    for flags, words in (
        (["--shares=0,2"], "--shares must be numbers from 0 to 1, got '2'"),
        (["--regions=none"], "--regions must be numbers from 1"),
        (["--rivals=torch"], "--rivals must be int8, float32 or both"),
        (["--rivals=keras"], "--rivals must be int8, float32 or both"),
        (["--network=alexnet"], "alexnet"),
        (["--network=missing.keras"], "no file missing.keras"),
        (["--network=missing.tflite"], "missing.tflite"),
        (["--videos=missing.avi"], "no file"),
    ):
        assert commands.call(STREAMS, *flags, f"--files={tmp_path}") == 1
        assert words in capsys.readouterr().err
