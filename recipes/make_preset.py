"""Makes a preset that comes with the package from a trained network.

    python recipes/make_preset.py runs/imagenette/best.keras --name imagenette_small \
        --license "Apache-2.0; trained on ..." --data_dir DIR

The network says how it was built; what it was trained with is read from the flags.json beside it.
The preset is made in memory first: its outputs are compared with the trained network's, and its
accuracy is measured, with its float16 weights, on the validation images. Only then are the two
files written to keras_seqpar/presets/. Above 6 MB it is refused. KERAS_BACKEND chooses the backend.
"""

import math
import sys
from pathlib import Path

import evaluate
import keras
import numpy as np
import run_folder
from options import Options

from keras_seqpar import data, presets
from keras_seqpar.mobile.network import read_network
from keras_seqpar.networks.loading import load_network

MOST_BYTES = 6_000_000
# Largest difference of any logit, relative to the range of all: some times what float16 kernels
# do to a deep network, far below what another stride or gain does.
MOST_ERROR = 0.02
COMPARED = 256  # images at most
# Flags that say where things lie, or how the run was called: not what was trained.
PLACES = ("data_dir", "output", "resume", "overwrite")


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, {"dataset": "what it was trained on"}, first="model")
    options.group(
        "Preset",
        ("string", "name", None, "What to call it: lower-case letters, digits, underscores."),
        ("string", "license", None, "License of the weights, and what the data's owners ask for."),
        ("string", "folder", None, "Where to write; default: the package."),
    )
    options.group(
        "Data",
        ("string", "dataset", None, f"What to measure on: {', '.join(data.SPECS)}."),
        ("string", "data_dir", None, "Where tensorflow-datasets keeps its data."),
        ("integer", "batch_size", 64, "Images per step.", 1),
    )
    return options


def portable(flags: dict) -> dict:
    """Flags without the paths of one machine: of absolute paths the last part is kept."""

    def short(value):
        if not isinstance(value, str):
            return value
        kind, colon, path = value.rpartition(":")
        return f"{kind}{colon}{Path(path).name if Path(path).is_absolute() else path}"

    return {name: short(value) for name, value in flags.items() if name not in PLACES}


def compare(network: keras.Model, twin: keras.Model, images: data.Split, batch: int) -> float:
    """The largest difference of any logit, relative to the range of the network's.

    Raises:
        ValueError: the two are not the same network.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, COMPARED).astype(int))
    names = tuple(images.names[row] for row in rows)
    some = data.Split(names, images.labels[rows], images.read(rows))
    want, got = (evaluate.run(net, some, batch) for net in (network, twin))
    error = float(np.abs(got - want).max() / max(np.ptp(want), 1e-30))
    if not error <= MOST_ERROR:  # also where it is NaN
        raise ValueError(
            f"The preset computes something else: its logits differ by {error:.1%} of their range. "
            "It may have constant gains (attend), which presets do not keep."
        )
    return error


def make(chosen) -> Path:
    """Makes the preset that the flags describe, and prints what it is.

    Returns:
        Its JSON file.

    Raises:
        ValueError: bad input, or a preset that is too large or computes something else.
        OSError: it could not be written.
    """
    if not chosen.name or not chosen.license:
        raise ValueError("A preset needs --name and --license.")
    presets.check_name(chosen.name)
    network = load_network(chosen.model)
    flags = run_folder.read_flags(Path(chosen.model).parent)["flags"]
    if "dataset" not in flags:
        raise ValueError("flags.json lacks dataset: it is not of recipes/train.py.")
    facts_of = read_network(network)
    mean, std = facts_of.normalization
    spec = chosen.dataset or flags["dataset"]
    facts, content = presets.pack(
        network,
        normalization={
            "takes": "pixels 0 to 255, RGB"
            if facts_of.takes_pixels is True
            else "(pixels - mean) / std, RGB",
            "mean": mean,
            "std": std,
        },
        data={"name": portable({"dataset": spec})["dataset"], "trained_with": portable(flags)},
        license=chosen.license,
    )
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"The weights have {len(content):,} bytes; a preset may have {MOST_BYTES:,}. Train a "
            f"network of {math.sqrt(MOST_BYTES / len(content)):.2f} times the width or less."
        )
    twin = presets.restore(facts, content)
    dataset = data.load(
        spec,
        image_size=evaluate.image_size(network, None),
        data_dir=chosen.data_dir or flags.get("data_dir"),
        splits=["validation"],
    )
    error = compare(network, twin, dataset.validation, chosen.batch_size)
    found = [
        evaluate.measure(net, dataset, "validation", chosen.batch_size) for net in (network, twin)
    ]
    facts["accuracy"] = {
        "top1": found[1]["own"]["top1"],
        "top1_before": found[0]["own"]["top1"],
        "images": found[1]["own"]["images"],
        "split": "validation",
        "command": f"python recipes/make_preset.py {Path(chosen.model).name} --name {chosen.name}",
    }
    folder = Path(chosen.folder) if chosen.folder else presets.FOLDER
    path = presets.write(chosen.name, facts, content, folder=folder)
    print(
        f"{path}: {found[1]['parameters']:,} parameters, {len(content):,} bytes of weights, "
        f"top-1 {found[1]['own']['top1']:.2%} on {found[1]['own']['images']} images "
        f"({found[0]['own']['top1']:.2%} in float32); logits differ by {error:.2e} of their range."
    )
    return path


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        make(chosen)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
