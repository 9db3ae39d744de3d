"""All steps on scikit-learn's digits: train, cut out, quantize, verify, compare.

    make demo                                    # sets everything up and runs this
    python recipes/demo.py --categories 0,1,7    # the categories of the cutout
    python recipes/demo.py --reuse               # another cutout without training again

Trains a small PHL network on ten categories and the plain network of its family beside it,
cuts some categories out of the former without retraining, converts all three to int8
and runs the files in the LiteRT interpreter beside Keras.
"""

from keras_seqpar.utils.commands import run, without_notices

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's

import dataclasses
from pathlib import Path

import keras
import numpy as np
from absl import flags

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.costs.counting import Cost
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.training.config import PLAIN, SEQPAR
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.runs.checkpoints import save_model
from keras_seqpar.training.tasks import classification

flags.DEFINE_list("categories", ["3", "5", "8"], "What the cutout keeps.")
flags.DEFINE_string("output", "runs/demo", "Folder of everything that is made.")
flags.DEFINE_boolean("reuse", False, "Load the networks that an earlier demo trained.")

IMAGE_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Row:
    """One network of the table."""

    name: str
    cost: Cost
    report: mobile.Report
    accuracy: float


def trained(network: str, folder: Path) -> keras.Model:
    """Trains one network with the defaults of train.py, or loads the one that is there."""
    best = folder / "best.keras"
    if not (flags.FLAGS.reuse and best.exists()):
        config, run_config = parse_train_flags(
            ["--dataset=digits", f"--network={network}", f"--output={folder}", "--overwrite"]
        )
        classification.train(config, run_config)
    return load_network(best)


def measure(
    name: str, model: keras.Model, file: Path, digits: data.Dataset, kept: tuple[str, ...]
) -> Row:
    """Converts a network to int8, checks the file, and scores it on the kept categories."""
    labels = find_parts(model, allow_plain=True).hierarchy.categories
    made = mobile.convert(
        model,
        file,
        quantization="int8",
        calibration=images_of(digits.train, digits.categories, labels, labels)[0][:300],
        input_dtype="uint8",
    )
    images, answers = images_of(digits.validation, digits.categories, labels, labels)
    report = mobile.verify(made.path, model, images, answers).check()
    images, answers = images_of(digits.validation, digits.categories, kept, labels)
    scores = mobile.Runner(made.path)(images)
    return Row(name, sp.cost(model), report, float(np.mean(scores.argmax(-1) == answers)))


def images_of(split: data.Split, of_data, kept, outputs) -> tuple[np.ndarray, np.ndarray]:
    """The images of the kept categories, and the index of the right output for each."""
    output_of = [outputs.index(label) if label in kept else -1 for label in of_data]
    answers = np.array(output_of)[split.labels]
    return split.read(np.flatnonzero(answers >= 0)), answers[answers >= 0]


def table(rows: list[Row], kept: tuple[str, ...]) -> str:
    """The networks side by side; in brackets the change against the plain network."""
    plain = rows[-1]
    titles = [row.name for row in rows]
    lines: dict[str, list[tuple[str, float]]] = {
        "parameters": [(f"{r.cost.params:,}", r.cost.params) for r in rows],
        "MACs": [(f"{r.cost.macs / 1e6:.2f} M", r.cost.macs) for r in rows],
        "int8 file": [(f"{r.report.bytes / 1e3:.0f} kB", r.report.bytes) for r in rows],
        "latency": [(f"{r.report.milliseconds:.2f} ms", r.report.milliseconds) for r in rows],
    }
    text = [f"{'':<22}" + "".join(f"{title:>22}" for title in titles)]
    for name, cells in lines.items():
        base = cells[-1][1]
        shown = [
            value if row is plain else f"{value} ({number / base - 1:+.0%})"
            for row, (value, number) in zip(rows, cells, strict=True)
        ]
        text.append(f"{name:<22}" + "".join(f"{cell:>22}" for cell in shown))
    for name, values in {
        f"accuracy on {','.join(kept)}": [row.accuracy for row in rows],
        "agreement with Keras": [row.report.agreement for row in rows],
    }.items():
        text.append(f"{name:<22}" + "".join(f"{value:>22.1%}" for value in values))
    interpreter = plain.report.interpreter
    text.append(
        f"In brackets: against the plain network. Latency: {interpreter}, 1 thread, this machine.\n"
        "Accuracy and agreement: the int8 files on validation images."
    )
    return "\n".join(text)


def main(_: list[str]) -> None:
    """Runs the demo."""
    args = flags.FLAGS
    digits = data.load("digits", image_size=IMAGE_SIZE)
    kept = sp.Hierarchy.of(digits.categories).prune([c.strip() for c in args.categories])
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Training a PHL network on {len(digits.categories)} categories ...")
    full = trained(SEQPAR, folder / "phl")
    print("Training the plain network of the family ...")
    plain = trained(PLAIN, folder / "plain")
    cutout = sp.cutout(full, kept.categories)
    save_model(cutout, folder / "cutout.keras")
    print(f"\n{sp.cost(cutout)}\n\nConverting three networks to int8 ...")
    networks = {"full net": full, "cutout": cutout, "plain net": plain}
    with without_notices():
        rows = [
            measure(name, model, folder / f"{name.split()[0]}.tflite", digits, kept.categories)
            for name, model in networks.items()
        ]
    print(f"\n{table(rows, kept.categories)}")
    print(
        f"""
The files are in {folder}. Next:
  python recipes/demo.py --reuse --categories 0,1,7
  python recipes/evaluate.py {folder}/phl/best.keras --dataset digits --categories 3,5,8
  python recipes/train.py --dataset folder:PATH     (PATH/train/<category>/*.jpg, ...)
  docs/how_to/index.md: your photos, nested categories, cameras, Android"""
    )


if __name__ == "__main__":
    run(main)
