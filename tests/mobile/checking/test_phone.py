"""Benchmarks on a phone: the commands, and what the tool prints."""

import os
import subprocess
import sys

import pytest

from keras_seqpar.mobile.checking import phone
from tests.mobile.checking.conftest import NAMES
from tests.mobile.checking.phone_logs import LOG, OLD, log

pytestmark = pytest.mark.only_backend("tensorflow")


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
