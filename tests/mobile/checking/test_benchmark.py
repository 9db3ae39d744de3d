"""Benchmarks: the files, what is measured of them, a phone's commands and log, the command."""

import functools
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile, plots
from keras_seqpar.mobile.checking import benchmark, benchmark_files, phone
from tests import harness
from tests.mobile import clients

pytestmark = pytest.mark.only_backend("tensorflow")

LABELS = ("tench", "chain saw", "church")
NAMES = ["plain-int8.tflite", *(f"cutout-{n}-int8.tflite" for n in (1, 2, 3))]

# What tflite/tools/benchmark/benchmark_model.cc prints on Android, as of 2025.
LOG = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [50]
INFO: Num threads: [{threads}]
INFO: Min warmup runs: [3]
INFO: Graph: [/data/local/tmp/{name}]
INFO: Signature to run: []
INFO: Use xnnpack: [1]
INFO: #threads used for CPU inference: [{threads}]
INFO: Loaded model /data/local/tmp/{name}
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 58 out of 58 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 \
partitions for subgraph 0.
INFO: The input model file size (MB): {size:g}
INFO: Initialized session in 6.395ms.
INFO: Running benchmark for at least 3 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=153 first=2761 curr=2885 min=2605 max=18080 avg=3243.58 std=2165 p5=2630 median=2763 \
p95=5331

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if \
exceeding 150 seconds.
INFO: count=337 first=2881 curr=2703 min=2605 max=20356 avg=2942.27 std=1190 p5=2647 \
median={median} p95=3169

INFO: Inference timings in us: Init: 6395, First inference: 2761, Warmup (avg): 3243.58, \
Inference (avg): 2942.27
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only \
APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your \
discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=39.4531 overall=40.8281
"""
# TensorFlow 2.4: no median, another name of the memory. The mean in scientific notation.
OLD = """\
STARTING!
Num threads: [{threads}]
Graph: [/data/local/tmp/{name}]
#threads used for CPU inference: [{threads}]
Loaded model /data/local/tmp/{name}
Initialized session in 17.187ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding \
150 seconds.
count=1 curr=3512391

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding \
150 seconds.
count=50 first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798

Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51239e+06, \
Inference (avg): 2.95034e+06
Peak memory footprint (MB): init=4.21094 overall=46.0859
"""


@pytest.fixture(scope="module")
def net():
    return harness.network(LABELS, include_preprocessing=True)


@pytest.fixture(scope="module")
def plain(net):
    return benchmark_files.plain_network(net, "resnet18", width=0.125, stem="small")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("with space")


@pytest.fixture(scope="module")
def files(net, plain, folder):
    return benchmark_files.make(net, plain, folder)


@pytest.fixture(scope="module")
def measured(files, folder):
    return benchmark.measure(files, folder, threads=(1, 2), rounds=2, runs=2)


def test_files_are_all_cutouts_and_the_plain_network(net, plain, files, folder):
    assert sorted(os.listdir(folder)) == sorted(NAMES)
    assert [file.name for file in files.files] == NAMES
    assert [file.categories for file in files.files] == [3, 1, 2, 3]
    assert [file.plain for file in files.files] == [True, False, False, False]
    cutouts = [sp.cutout(net, LABELS[:n]) for n in (1, 2, 3)]
    assert [file.macs for file in files.files] == [sp.cost(m).macs for m in (plain, *cutouts)]
    assert [file.bytes for file in files.files] == [
        (folder / name).stat().st_size for name in NAMES
    ]
    assert files.files[1].bytes < files.files[2].bytes < files.files[3].bytes
    runner = mobile.Runner(folder / NAMES[2])
    assert runner.input_dtype == np.uint8 and runner.input_shape == (1, 16, 16, 3)
    assert plain.input_shape == net.input_shape and plain.output_shape == net.output_shape


def test_noise_gives_files_of_the_same_size(net, files, tmp_path):
    other = np.random.default_rng(1).integers(50, 200, (60, 16, 16, 3)).astype("uint8")
    made = mobile.convert(
        sp.cutout(net, LABELS[:1]),
        tmp_path / "net.tflite",
        quantization="int8",
        calibration=other,
        input_dtype="uint8",
        labels=False,
        description="For timing only: its scores are of no use.",
    )
    assert made.bytes == files.files[1].bytes


def test_sizes_order_and_kinds_of_networks(tmp_path):
    nested = harness.network({"pets": ["cat", "dog"], "car": None})  # takes normalized images
    plain = benchmark_files.plain_network(nested, "resnet18", width=0.125, stem="small")
    options = {"quantization": "int8", "sizes": [2, 1, 2], "order": ["car", "pets"]}
    made = benchmark_files.make(nested, plain, tmp_path, **options)
    assert [file.categories for file in made.files] == [3, 1, 2]
    macs = [sp.cost(sp.cutout(nested, names)).macs for names in (["car"], ["car", "cat"])]
    assert [file.macs for file in made.files[1:]] == macs
    assert mobile.Runner(tmp_path / made.files[1].name).input_dtype == np.float32

    threshold = sp.fit_threshold(np.random.default_rng(0).normal(size=(50, 3)))
    steerable = sp.with_threshold(sp.attention_input(nested), threshold)
    made = benchmark_files.make(
        steerable, plain, tmp_path, quantization="dynamic", sizes=[3], order=None
    )
    runner = mobile.Runner(tmp_path / made.files[1].name)
    assert runner._gains is not None and runner._none is None
    assert benchmark.probe(str(runner.path), 1, None)[1] > 0


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


def test_the_table_holds_every_number(measured):
    title, empty, head, rule, *lines = str(measured).splitlines()
    assert title.endswith(", int8") and not empty and len(lines) == 8
    assert len({line.count("|") for line in (head, rule, *lines)}) == 1
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    row = measured.rows()[2]
    ratio = row["latency_ms"] / row["ideal_ms"]
    assert cells[1:4] == ["1", "cutout, 2", f"{row['macs'] / 1e6:.1f}"]
    assert cells[4:8] == [
        *(f"{row['bytes']:,}", f"{row['load_ms']:.2f}", f"{row['first_ms']:.2f}"),
        f"{row['latency_ms']:.2f}",
    ]
    assert cells[8:10] == [f"{row['ideal_ms']:.2f}", f"{ratio:.2f}"]
    lonely = benchmark.Benchmark(
        "a|b", "int8", measured.files, (benchmark.Result(NAMES[1], "x|y", 1, 1, 1, 1, None, True),)
    )
    assert "| x/y | 1 | cutout, 1 |" in str(lonely) and "| 1.00 (mean) | - | - | - |" in str(lonely)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
def test_memory_is_not_the_parents(files, folder):
    """This process is large; getrusage in a child would begin at that."""
    assert benchmark._resident("VmHWM") > 200 * benchmark.MIB
    *_, memory = benchmark._probed(folder / NAMES[1], 1, None)
    assert 0 < memory < 200 * benchmark.MIB


def test_json_holds_everything(measured, tmp_path):
    path = tmp_path / "b.json"
    benchmark.write(measured, path)
    assert benchmark.read(path) == measured
    facts = json.loads(path.read_text())
    assert facts["rows"] == json.loads(json.dumps(measured.rows()))
    assert os.listdir(tmp_path) == ["b.json"]
    for change, words in (
        ({"format": 9}, "its format is 9, wanted is 1"),
        ({"files": []}, "has results of .*plain-int8.tflite, but no such file"),
        ({"results": [{"file": 1}]}, "holds no benchmark: .*missing"),
        ({"files": None}, "holds no benchmark"),
    ):
        path.write_text(json.dumps({**facts, **change}))
        with pytest.raises(ValueError, match=words):
            benchmark.read(path)
    path.write_bytes(b"\xff{")
    with pytest.raises(ValueError, match="b.json holds no benchmark.*Measure again"):
        benchmark.read(path)
    with pytest.raises(ValueError, match="no file .*nowhere.json: measure a network first"):
        benchmark.read(tmp_path / "nowhere.json")


def log(files, threads=(1, 2), medians=(3000, 1000, 2000), template=LOG) -> str:
    """What the tool prints in as many rounds as there are medians."""
    return "\n".join(
        template.format(name=file.name, threads=n, size=file.bytes / 1e6, median=median + n)
        for median in medians
        for n in threads
        for file in files.files
    )


def test_a_phones_log_lands_in_the_table(measured, tmp_path):
    both = phone.with_log(measured, log(measured), device="Pixel 8")
    rows = [row for row in both.rows() if row["device"] == "Pixel 8"]
    assert len(rows) == 8 and len(both.results) == 16
    assert rows[5]["latency_ms"] == 2.002 and not rows[5]["averaged"]
    assert (rows[5]["load_ms"], rows[5]["first_ms"]) == (6.395, 2.761)
    assert rows[5]["memory"] == int(40.8281 * 2**20)
    share = rows[5]["macs"] / rows[4]["macs"]
    assert rows[5]["ideal_ms"] == pytest.approx(2.002 * share)
    assert str(both).count("| Pixel 8 |") == 8 and str(measured) in str(both)
    again = phone.with_log(both, log(measured, threads=[4]), device="Pixel 8")
    assert {r.threads for r in again.results if r.device == "Pixel 8"} == {4}


def test_logcats_columns_and_old_tools(files):
    lines = [f"07-08 15:33:55.768 I/tflite  ( 5395): {line}" for line in log(files).splitlines()]
    assert phone.with_log(files, "\r\n".join(lines)) == phone.with_log(files, log(files))
    result = phone.with_log(files, log(files, template=OLD)).results[0]
    assert result.averaged and result.latency_ms == 2950.34 and result.first_ms == 3512.391
    assert result.memory == int(46.0859 * 2**20)
    assert "2950.34 (mean)" in str(phone.with_log(files, log(files, template=OLD)))
    without = "\n".join(line for line in log(files).splitlines() if "footprint" not in line)
    assert phone.with_log(files, without).results[0].memory is None


def test_logs_that_do_not_fit(files):
    good = log(files)
    for text, words in (
        ("adb: no devices/emulators found", "no output of benchmark_model.*Graph"),
        (good.replace(NAMES[1], "x.tflite"), "The log is of 'x.tflite'.*files plain-int8.tflite"),
        (good.replace("(MB): 0.", "(MB): 9."), "plain-int8.tflite had 9,.* bytes on the phone"),
        (good.replace("inference: [2]", "inference: [-1]"), "-1 threads: run .* --num_threads"),
        (good.replace("#threads", "?"), "plain-int8.tflite names no number of threads"),
    ):
        with pytest.raises(ValueError, match=words):
            phone.with_log(files, text)
    head = LOG.format(name=NAMES[2], threads=1, size=files.files[2].bytes / 1e6, median=1)
    broken = head[: head.index("INFO: Initialized session")] + "ERROR: Segmentation fault\n\n"
    with pytest.raises(
        ValueError, match=r"did not finish on cutout-2.*'ERROR: Segmentation fault'"
    ):
        phone.with_log(files, broken + good)


ADB = """\
#!/bin/sh
# A phone that keeps what is pushed, and whose tool prints what the real one does.
command=$1; shift
if [ $command = push ]; then
  for last; do :; done
  [ "$last" = /data/local/tmp ] || exit 1
  for file; do [ "$file" = "$last" ] || cp "$file" "$PHONE" || exit 1; done
  exit
fi
cat >/dev/null  # adb reads what it is given
case $1 in chmod) exec chmod "$2" "$PHONE/${3##*/}" ;; esac
[ -x "$PHONE/${1##*/}" ] || exit 1
for word; do case $word in
  --graph=/data/local/tmp/*) name=${word##*/} ;;
  --num_threads=*) threads=${word#*=} ;;
esac; done
size=$(wc -c <"$PHONE/$name") || exit 1
"$PYTHON" - "$name" "$threads" "$size" <<'EOF'
import sys
name, threads, size = sys.argv[1:]
print(open("template").read().format(name=name, threads=threads, size=int(size) / 1e6, median=7))
EOF
"""


def test_the_commands_do_it(files, folder, tmp_path):
    """The script runs against a stand-in for adb; what that prints can be read."""
    (tmp_path / "phone").mkdir()
    (tmp_path / "benchmark_model").write_text("")
    (tmp_path / "template").write_text(LOG)
    (tmp_path / "adb").write_text(ADB)
    (tmp_path / "adb").chmod(0o755)
    script = phone.commands(files, folder, threads=(1, 4), log="my log")
    phones = {"PHONE": str(tmp_path / "phone"), "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh"],  # from standard input, which adb must leave alone
        input=script,
        cwd=tmp_path,
        env={**os.environ, **phones, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "phone")) == sorted(["benchmark_model", *NAMES])
    text = (tmp_path / "my log").read_text()
    assert text.count("Inference timings") == phone.ROUNDS * 2 * 4
    found = phone.with_log(files, text).results
    assert {(r.file, r.threads) for r in found} == {(name, n) for name in NAMES for n in (1, 4)}
    assert {r.latency_ms for r in found} == {0.007}
    real = "adb shell /data/local/tmp/benchmark_model --graph=/data/local/tmp/$file"
    assert real in script and "--num_threads=$threads --use_xnnpack=true" in script


def test_the_figure_shows_measured_ideal_and_plain(measured, files, tmp_path):
    both = phone.with_log(measured, log(measured, threads=[2]), device="Phone $x_{")
    figure = plots.latency(both, tmp_path / "latency.png")
    assert os.listdir(tmp_path) == ["latency.png"]
    assert [axes.axison for axes in figure.axes] == [True, True, False, True]
    rows = both.rows()[:4]
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines["cutouts, measured"] == [[r["categories"], r["latency_ms"]] for r in rows[1:]]
    assert lines["cutouts, by their MACs"] == [[r["categories"], r["ideal_ms"]] for r in rows[1:]]
    assert {y for _, y in lines["plain network"]} == {rows[0]["latency_ms"]}
    assert figure.axes[3].get_title() == "Phone $x_{, 2 threads"
    with pytest.raises(ValueError, match="no results of cutouts to draw"):
        plots.latency(files)


def test_bad_input(net, plain, files, folder, tmp_path):
    for change, words in (
        ({"width": 0.25}, "is no resnet18 of width 0.25 with the stem 'small': stem_conv/kernel"),
        ({"family": "resnet50"}, "is no resnet50 of width 0.125"),
        ({"family": "resnet19"}, "Unknown family 'resnet19'"),
    ):
        with pytest.raises(ValueError, match=words):
            benchmark_files.plain_network(
                net, **{"family": "resnet18", "width": 0.125, "stem": "small", **change}
            )
    for options, words in (
        ({"sizes": [1, 4]}, "no cutout of 4 categories.*from 1 to 3"),
        ({"sizes": [2], "order": ["church"]}, "no cutout of 2 categories.*from 1 to 1"),
        ({"sizes": [True]}, "no cutout of True"),
        ({"order": ["trench"]}, "Unknown .*'trench'"),
        ({"quantization": "int4"}, "Unknown quantization 'int4'"),
    ):
        with pytest.raises(ValueError, match=words):
            benchmark_files.make(net, plain, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="is a plain network"):
        benchmark_files.make(plain, plain, tmp_path / "new")
    for options, words in (
        ({"threads": (1, 0)}, "threads must be whole numbers of 1 or more, got 0"),
        ({"threads": ()}, "threads .* got none"),
        ({"rounds": 1.5}, "rounds .* got 1.5"),
        ({"runs": True}, "runs .* got True"),
    ):
        with pytest.raises(ValueError, match=words):
            benchmark.measure(files, folder, **options)
    with pytest.raises(FileNotFoundError, match="plain-int8.tflite"):
        benchmark.measure(files, tmp_path)
    with pytest.raises(RuntimeError, match=r"no.tflite ended with 1 and said: (.|\n)*no file"):
        benchmark._probed(tmp_path / "no.tflite", 1, None)


call = functools.partial(clients.call, "benchmark.py")


def test_the_command(root, net, tmp_path):
    net.save(tmp_path / "net.keras")
    done = call(root, "net.keras", folder=tmp_path)
    assert done.returncode == 1 and "Error: Nothing says which plain network" in done.stderr
    assert "flags.json" in done.stderr and "Give --family" in done.stderr
    about = {"flags": {"family": "resnet18", "width": 0.125, "stem": "small"}}
    (tmp_path / "flags.json").write_text(json.dumps(about))
    few = ("--threads", 1, "--rounds", 1, "--runs", 2, "--sizes", "1,3")
    options = ("--quantization", "dynamic", "--categories", "church,tench, chain saw")
    done = call(root, "net.keras", *few, *options, "--plot", "a.png", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out" / "benchmark"
    names = [f"{name}-dynamic.tflite" for name in ("cutout-1", "cutout-3", "plain")]
    assert sorted(os.listdir(out)) == ["benchmark.json", *names]
    assert (tmp_path / "a.png").stat().st_size > 1000
    found = benchmark.read(out / "benchmark.json")
    assert done.stdout.strip() == str(found) and len(found.results) == 3

    done = call(root, "--phone", "--threads", "1,2", folder=tmp_path)
    assert done.stdout.strip() == phone.commands(found, "out/benchmark", threads=[1, 2]).strip()
    (tmp_path / "phone.log").write_text(log(found, threads=[1]))
    done = call(root, "--phone_log", "phone.log", "--device", "Pixel 8", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| Pixel 8 | 1 |") == 3
    assert done.stdout.strip() == str(benchmark.read(out / "benchmark.json"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--sizes", "1,x", "--preset", "imagenette_small"], "--sizes takes whole numbers .*'x'"),
        (["--json", "no/where.json", "--phone"], "The folder of no/where.json does not exist"),
    ],
)
def test_the_command_names_bad_values(root, tmp_path, arguments, words):
    done = call(root, *arguments, folder=tmp_path)
    assert done.returncode == 1 and not os.listdir(tmp_path)
    assert re.search(words, done.stderr)
