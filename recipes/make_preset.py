"""Makes a preset that comes with the package from a trained network.

    python recipes/make_preset.py runs/imagenette/best.keras --name imagenette_small \
        --license "Apache-2.0; trained on ..." --data_dir DIR

The network knows how it was built; flags.json beside it has the flags of its training.
The preset is made in memory first: its outputs are compared with the trained network's, and its
accuracy is measured, with its float16 weights, on the validation images. Only then are the two
files written to keras_seqpar/presets/. Above 6 MB it is refused. KERAS_BACKEND selects the backend.
"""

from keras_seqpar.utils.commands import flag_group, run

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import flags

from keras_seqpar import data, presets
from keras_seqpar.networks.inputs import normalization_of
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.training import evaluation
from keras_seqpar.training.runs.flags import CALL_FLAGS, located_flags, read_flags

# Largest difference of any logit, relative to the range of all: a few times the effect of float16
# kernels on a deep network, far below the effect of another stride or gain.
MOST_ERROR = 0.02
COMPARED = 256  # images at most
with flag_group("Preset"):
    flags.DEFINE_string("name", None, "Its name: lower-case letters, digits, underscores.")
    flags.DEFINE_string("license", None, "License of the weights, and what the data requires.")
    flags.DEFINE_string("folder", None, "Where to write; default: the package.")
    flags.DEFINE_integer("most_bytes", 6_000_000, "Largest size of the weights.", lower_bound=1)
with flag_group("Data"):
    flags.DEFINE_string(
        "dataset",
        None,
        f"What to measure on: {', '.join(data.SPECS)}; default: the data of the training.",
    )
    flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data.")
    flags.DEFINE_integer("batch_size", 64, "Images per step.", lower_bound=1)


def portable(values: dict[str, Any]) -> dict[str, Any]:
    """Flags without the paths of this machine: absolute paths are cut to their last part."""

    def short(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        kind, colon, path = value.rpartition(":")
        return f"{kind}{colon}{Path(path).name if Path(path).is_absolute() else path}"

    return {name: short(value) for name, value in values.items() if name not in CALL_FLAGS}


def compare(network: keras.Model, twin: keras.Model, images: data.Split, batch: int) -> float:
    """The largest difference of any logit, relative to the range of the network's.

    Raises:
        ValueError: the two are not the same network.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, COMPARED).astype(int))
    names = tuple(images.names[row] for row in rows)
    some = data.Split(names, images.labels[rows], images.read(rows))
    want, got = (evaluation.logits_of(net, some, batch) for net in (network, twin))
    error = float(np.abs(got - want).max() / max(np.ptp(want), 1e-30))
    if not error <= MOST_ERROR:  # also where it is NaN
        raise ValueError(
            f"The preset computes something else: its logits differ by {error:.1%} of their range. "
            "It may have constant gains (attend), which presets do not keep."
        )
    return error


def make(
    model: str,
    *,
    name: str,
    license: str,
    folder: Path,
    dataset: str | None,
    data_dir: str | None,
    batch_size: int,
    most_bytes: int,
) -> Path:
    """Makes a preset, and prints what it is.

    Args:
        model: the .keras file of the trained network; flags.json is beside it.
        name: name of the preset.
        license: license of the weights.
        folder: where to write.
        dataset: what to measure on; `None` for the data of the training.
        data_dir: where tensorflow-datasets keeps its data; `None` for the folder in flags.json.
        batch_size: images per step.
        most_bytes: largest size of the weights.

    Returns:
        Its JSON file.

    Raises:
        ValueError: bad input, or a preset that is too large or computes something else.
        OSError: it could not be written.
    """
    presets.check_name(name)
    network = load_network(model)
    about = read_flags(Path(model).parent)
    trained_with = about["flags"]
    if "dataset" not in trained_with:
        raise ValueError("flags.json lacks dataset: it is not of recipes/train.py.")
    pixels, known = normalization_of(find_parts(network, allow_plain=True), 3)
    if known is None:
        raise ValueError("Nothing says how the network's images are normalized.")
    mean, std = known
    located = located_flags(about, Path(model).parent)
    facts, content = presets.pack(
        network,
        normalization={
            "takes": "pixels 0 to 255, RGB" if pixels else "(pixels - mean) / std, RGB",
            "mean": mean,
            "std": std,
        },
        data={
            "name": portable({"dataset": dataset or trained_with["dataset"]})["dataset"],
            "trained_with": portable(trained_with),
        },
        license=license,
    )
    if len(content) > most_bytes:
        raise ValueError(
            f"The weights have {len(content):,} bytes; a preset may have {most_bytes:,}. Train a "
            f"network of {math.sqrt(most_bytes / len(content)):.2f} times the width or less."
        )
    twin = presets.restore(facts, content)
    loaded = data.load(
        dataset or located["dataset"],
        image_size=evaluation.size_of(network, None),
        data_dir=data_dir or located.get("data_dir"),
        splits=["validation"],
    )
    error = compare(network, twin, loaded.validation, batch_size)
    before, after = (
        evaluation.measure(net, loaded, "validation", batch_size) for net in (network, twin)
    )
    measured = after["in_distribution"]
    facts["accuracy"] = {
        "top1": measured["top1"],
        "top1_before": before["in_distribution"]["top1"],
        "images": measured["images"],
        "split": "validation",
        "command": f"python recipes/make_preset.py {Path(model).name} --name {name}",
    }
    path = presets.write(name, facts, content, folder=folder)
    print(
        f"{path}: {after['parameters']:,} parameters, {len(content):,} bytes of weights, "
        f"top-1 {measured['top1']:.2%} on {measured['images']} images "
        f"({before['in_distribution']['top1']:.2%} in float32); logits differ by {error:.2e} of "
        "their range."
    )
    return path


def main(argv: list[str]) -> None:
    """Makes the preset that the flags describe."""
    args = flags.FLAGS
    if not args.name or not args.license:
        raise ValueError("A preset needs --name and --license.")
    make(
        argv[1],
        name=args.name,
        license=args.license,
        folder=Path(args.folder) if args.folder else presets.FOLDER,
        dataset=args.dataset,
        data_dir=args.data_dir,
        batch_size=args.batch_size,
        most_bytes=args.most_bytes,
    )


if __name__ == "__main__":
    run(main, positional=["MODEL"])
