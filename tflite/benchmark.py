"""Measures cutouts of every size as .tflite files, beside the plain network of their family.

    python tflite/benchmark.py --preset imagenette_small --plot latency.png
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

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import sys
from pathlib import Path

import shared
from absl import app, flags, logging

from keras_seqpar import mobile, plots, presets
from keras_seqpar.mobile.checking import benchmark, benchmark_files, phone

PRESET = flags.DEFINE_string("preset", None, "Name of a trained network in place of a file.")
FAMILY = flags.DEFINE_string(
    "family", None, "That the network was built with; by default its preset's or its run's."
)
WIDTH = flags.DEFINE_float("width", None, "Likewise; 1 where --family is given.", lower_bound=0)
STEM = flags.DEFINE_string("stem", None, "Likewise; standard where --family is given.")
CATEGORIES = flags.DEFINE_list(
    "categories", [], "Cutouts keep the first so many of these; by default the network's order."
)
SIZES = flags.DEFINE_list("sizes", [], "How many categories cutouts keep; by default 1 to all.")
QUANTIZATION = flags.DEFINE_enum("quantization", "int8", mobile.QUANTIZATIONS, "Of the files.")
THREADS = flags.DEFINE_list("threads", ["1", "2", "4"], "Numbers of CPU threads.")
ROUNDS = flags.DEFINE_integer("rounds", 10, "How often a file has its turn.", lower_bound=1)
RUNS = flags.DEFINE_integer("runs", 20, "How many runs a turn has.", lower_bound=1)
INTERPRETER = flags.DEFINE_enum(
    "interpreter", None, list(mobile.INTERPRETERS), "By default the first that is installed."
)
OUTPUT = flags.DEFINE_string("output", "out/benchmark", "A folder for the files.")
JSON = flags.DEFINE_string("json", None, "The results; by default benchmark.json in --output.")
PLOT = flags.DEFINE_string("plot", None, "A figure: latency by the number of kept categories.")
PHONE = flags.DEFINE_bool("phone", False, "Print the commands for a phone, nothing else.")
PHONE_LOG = flags.DEFINE_string("phone_log", None, "What benchmark_model printed, to add.")
DEVICE = flags.DEFINE_string("device", "phone", "What to call the phone of --phone_log.")


def numbers(flag: flags.FlagHolder) -> list[int]:
    """The whole numbers of a flag."""
    wrong = [text for text in flag.value if not text.strip().isdecimal() or int(text) < 1]
    if wrong:
        raise ValueError(f"--{flag.name} takes whole numbers of 1 or more, got {wrong[0]!r}.")
    return [int(text) for text in flag.value]


def built_with(source: str | None) -> dict:
    """Family, width and stem: of the flags, else of the preset, else of the run's folder."""
    if FAMILY.value:
        return {
            "family": FAMILY.value,
            "width": 1.0 if WIDTH.value is None else WIDTH.value,
            "stem": STEM.value or "standard",
        }
    if WIDTH.value is not None or STEM.value:
        raise ValueError("--width and --stem go with --family: give it as well.")
    keys = ("family", "width", "stem")
    if PRESET.value:
        known = presets.about(PRESET.value)["arguments"]
    else:
        path = Path(source or "").with_name("flags.json")
        try:
            known = json.loads(path.read_text("utf-8"))["flags"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"Nothing says which plain network to measure beside {source}: {path}, which a "
                f"training run writes, cannot be read ({error}). Give --family, --width and --stem."
            ) from error
    if lacking := [key for key in keys if key not in known]:
        raise ValueError(f"The network does not say its {', '.join(lacking)}: give --family.")
    return {key: known[key] for key in keys}


def measured(source: str | None, folder: Path, threads: list[int]) -> benchmark.Benchmark:
    """Loads a network, makes the files and measures them."""
    sizes, options = numbers(SIZES), built_with(source)
    if PRESET.value:
        model = presets.load_preset(PRESET.value)
    else:
        model = shared.load_network(source, [])
    files = benchmark_files.make(
        model,
        benchmark_files.plain_network(model, **options),
        folder,
        quantization=QUANTIZATION.value,
        sizes=sizes or None,
        order=[name.strip() for name in CATEGORIES.value] or None,
    )
    return benchmark.measure(
        files,
        folder,
        threads=threads,
        rounds=ROUNDS.value,
        runs=RUNS.value,
        interpreter=INTERPRETER.value,
    )


def main(arguments: list[str]) -> None:
    """Measures, or goes on from what was measured; prints."""
    named = len(arguments) == 2
    if len(arguments) > 2 or (named and PRESET.value):
        raise app.UsageError("Name one .keras file, or a --preset, or none of them.")
    logging.set_verbosity(logging.ERROR)
    folder, threads = Path(OUTPUT.value).expanduser(), numbers(THREADS)
    path = Path(JSON.value).expanduser() if JSON.value else folder / "benchmark.json"
    for place in (JSON.value, PLOT.value):  # said before hours of measuring, not after
        if place and not Path(place).expanduser().parent.is_dir():
            raise ValueError(f"The folder of {place} does not exist. Make it first.")
    text = None
    if PHONE_LOG.value:
        if not Path(PHONE_LOG.value).is_file():
            raise ValueError(f"There is no file {PHONE_LOG.value}.")
        text = Path(PHONE_LOG.value).read_text("utf-8", "replace")
    if named or PRESET.value:
        found = measured(arguments[1] if named else None, folder, threads)
        benchmark.write(found, path)
    else:
        found = benchmark.read(path)
    if text is not None:
        found = phone.with_log(found, text, device=DEVICE.value)
        benchmark.write(found, path)
    if PLOT.value:
        plots.latency(found, Path(PLOT.value).expanduser())
    print(phone.commands(found, folder, threads=threads) if PHONE.value else found)


if __name__ == "__main__":
    try:
        app.run(main)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        sys.exit(f"Error: {error}")
