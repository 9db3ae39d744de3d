r"""Measures cutouts of every size as .tflite files, beside the plain network of their family.

    python tflite/benchmark.py preset:imagenette_small --plot latency.png
    python tflite/benchmark.py runs/digits/best.keras --sizes 1,5,10 --quantization dynamic

prints a table: bytes, load time, first and median latency, peak memory, and the latency that the
plain network's predicts by the share of its MACs. The files and benchmark.json stay in --output.
The files are for timing only: int8 is calibrated on noise, the plain network is not trained.

    python tflite/benchmark.py --phone > phone.sh
    sh phone.sh
    python tflite/benchmark.py --phone_log phone.log --device "Pixel 8" --plot latency.png

Without a network, the command goes on from benchmark.json: `--phone` prints what measures the same
files on a phone (it needs adb, and TensorFlow Lite's benchmark_model for the phone in the working
folder, see https://ai.google.dev/edge/litert/models/measurement), and `--phone_log` adds what that
printed to the table.
"""

from keras_seqpar.utils.commands import EXPECTED_ERRORS, flag_group, run

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's

from collections.abc import Sequence
from pathlib import Path

import keras
from absl import flags

from keras_seqpar import mobile, plots
from keras_seqpar.mobile.checking import benchmark, benchmark_files, measuring, phone
from keras_seqpar.presets.sources import load_source

args = flags.FLAGS
with flag_group("Network"):
    flags.DEFINE_list(
        "categories",
        [],
        "Cutouts keep the first so many of these; by default the network's order.",
    )
    flags.DEFINE_list("sizes", [], "How many categories cutouts keep; by default 1 to all.")
    flags.DEFINE_enum("quantization", "int8", mobile.QUANTIZATIONS, "Of the files.")
with flag_group("Measurement"):
    flags.DEFINE_list("threads", ["1", "2", "4"], "Numbers of CPU threads.")
    flags.DEFINE_integer("rounds", 10, "How many turns each file has.", lower_bound=1)
    flags.DEFINE_integer("runs", 20, "How many runs a turn has.", lower_bound=1)
    flags.DEFINE_enum(
        "interpreter", None, list(mobile.INTERPRETERS), "By default the first that is installed."
    )
with flag_group("Phone"):
    flags.DEFINE_bool("phone", False, "Print the commands for a phone, nothing else.")
    flags.DEFINE_string("phone_log", None, "What benchmark_model printed, to add.")
    flags.DEFINE_string("device", "phone", "What to call the phone of --phone_log.")
with flag_group("Output"):
    flags.DEFINE_string("output", "out/benchmark", "A folder for the files.")
    flags.DEFINE_string("json", None, "The results; by default benchmark.json in --output.")
    flags.DEFINE_string("plot", None, "A figure: latency by the number of kept categories.")


def whole_numbers(flag: str, texts: Sequence[str]) -> list[int]:
    """The whole numbers of a flag."""
    wrong = [text for text in texts if not text.strip().isdecimal() or int(text) < 1]
    if wrong:
        raise ValueError(f"--{flag} takes whole numbers of 1 or more, got {wrong[0]!r}.")
    return [int(text) for text in texts]


def make_and_measure(
    model: keras.Model, folder: Path, sizes: list[int], threads: list[int]
) -> benchmark.Benchmark:
    """Writes the files of all cutouts and of the plain network, and measures them."""
    files = benchmark_files.make(
        model,
        folder,
        quantization=args.quantization,
        sizes=sizes or None,
        order=[name.strip() for name in args.categories] or None,
    )
    return measuring.measure(
        files,
        folder,
        threads=threads,
        rounds=args.rounds,
        runs=args.runs,
        interpreter=args.interpreter,
    )


def main(argv: list[str]) -> None:
    """Measures, or goes on from what was measured; prints."""
    named = len(argv) == 2
    if len(argv) > 2:
        raise ValueError("Name one .keras file, or preset:NAME, or none of them.")
    folder, threads = Path(args.output).expanduser(), whole_numbers("threads", args.threads)
    path = Path(args.json).expanduser() if args.json else folder / "benchmark.json"
    for file in (args.json, args.plot):  # before hours of measuring, not after
        if file and not Path(file).expanduser().parent.is_dir():
            raise ValueError(f"The folder of {file} does not exist. Make it first.")
    log = None
    if args.phone_log:
        if not Path(args.phone_log).is_file():
            raise ValueError(f"There is no file {args.phone_log}.")
        log = Path(args.phone_log).read_text("utf-8", "replace")
    if named:
        sizes = whole_numbers("sizes", args.sizes)
        found = make_and_measure(load_source(argv[1]), folder, sizes, threads)
        benchmark.write(found, path)
    else:
        found = benchmark.read(path)
    if log is not None:
        found = phone.with_log(found, log, device=args.device)
        benchmark.write(found, path)
    if args.plot:
        plots.latency(found, Path(args.plot).expanduser())
    print(phone.commands(found, folder, threads=threads) if args.phone else found)


if __name__ == "__main__":
    run(main, positional=["network.keras..."], errors=(*EXPECTED_ERRORS, RuntimeError))
