"""Writes files, images and Python's results for them, which the tests of the Kotlin core read.

python tflite/android/make_cases.py FOLDER. The folder must not exist. Takes about a minute.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from PIL import Image, ImageDraw

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.networks.thresholds import Threshold

sys.path.append(str(Path(__file__).parents[2]))  # the tests' writer of small files

from stream_cases import regions, streams

PRESET = "imagenette_small"  # comes with the package: no data set, no download
# Images and the squares that Pillow makes of them, for all languages.
SQUARES = Path(__file__).parents[2] / "tests/references/squares.json"
KEPT = ["church", "tench", "golf ball"]
SIZES = [(150, 113), (64, 200), (96, 96), (96, 120), (61, 61), (700, 523)]
TREE = {"pets": ["cat", "dog"], "car": None, "ships": ["ferry", "tug"]}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    net = sp.load_preset(PRESET)
    names = [f"image{i}.png" for i in range(len(SIZES))]
    for seed, (name, size) in enumerate(zip(names, SIZES, strict=True)):
        draw(size, seed).save(folder / name)
    squares = np.stack([data.decode(folder / name, net.input_shape[1]) for name in names])
    for name, square in zip(names, squares, strict=True):
        (folder / name).with_suffix(".rgb").write_bytes(square.tobytes())
    small = np.stack([data.decode(folder / name, 32) for name in names])

    cases = {
        "images": names,
        "size": net.input_shape[1],
        "files": files(folder, net, squares),
        "nested_files": nested_files(folder, small),
        "packs": packs(folder, net, squares, small),
        "streams": streams(folder, squares),
        "regions": regions(folder),
    }
    signatures(folder)
    shutil.copy(SQUARES, folder)
    text = json.dumps(cases, indent=1)
    (folder / "cases.json").write_text(text, "utf-8")


def draw(size: tuple[int, int], seed: int) -> Image.Image:
    """Draws an image with smooth parts, sharp edges, noise and the full range of values."""
    rng = np.random.default_rng(seed)
    width, height = size
    noise = rng.integers(0, 256, (height, width, 3)).astype("uint8")
    ramp = np.linspace(0, 255, width)[None, :, None] * np.ones((height, 1, 3))
    mixed = np.where(np.arange(height)[:, None, None] % 3 == 0, noise, ramp).astype("uint8")
    image = Image.fromarray(mixed)
    pen = ImageDraw.Draw(image)
    for _ in range(8):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        radius = rng.uniform(3, min(size) / 4)
        color = tuple(rng.integers(0, 256, 3).tolist())
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x - radius, y - radius, x + radius, y + radius), fill=color)
    return image


def files(folder: Path, net: keras.Model, squares: np.ndarray) -> list[dict]:
    """Converts a cutout of the preset to a file of each kind."""
    cutout = sp.cutout(net, KEPT)
    kinds: dict[str, dict[str, Any]] = {
        "float32": {"quantization": "float32"},
        "dynamic": {"quantization": "dynamic"},
        "uint8": {"quantization": "int8", "input_dtype": "uint8", "output_dtype": "uint8"},
        "int8": {"quantization": "int8", "input_dtype": "int8", "output_dtype": "int8"},
    }
    kinds["logits"] = {**kinds["uint8"], "outputs": "logits"}
    found = []
    for kind, options in kinds.items():
        if options["quantization"] == "int8":
            options["calibration"] = squares
        path = mobile.convert(cutout, folder / f"{kind}.tflite", **options).path
        found.append(case(path, squares))
    return found


def nested_files(folder: Path, images: np.ndarray) -> list[dict]:
    """Small files with a gains input, with none_of_these, with normalized input."""
    normalized = nested(include_preprocessing=False)
    found = [case(mobile.convert(normalized, folder / "normalized.tflite").path, images)]
    pixels = nested()
    logits = sp.with_activation(pixels, None).predict(images.astype("float32"), verbose=0)
    median = float(np.median(logits.max(-1)))
    with_none = sp.with_threshold(pixels, Threshold(median, "max_logit"))
    path = mobile.convert(with_none, folder / "none.tflite", quantization="float32").path
    found.append(case(path, images))
    assert len(set(found[-1]["none"])) == 2, "the images should be on both sides of the threshold"
    steerable = sp.attention_input(pixels)
    path = mobile.convert(steerable, folder / "gains.tflite", quantization="float32").path
    rng = np.random.default_rng(0)
    for gains in (None, rng.uniform(0, 3, len(sp.gain_names(steerable))).astype("float32")):
        found.append(case(path, images, gains))
    found[-1]["gain_labels"] = list(sp.gain_names(steerable))
    path = mobile.convert(
        steerable,
        folder / "gains_int8.tflite",
        quantization="int8",
        calibration=images,
        max_gain=2,
    ).path
    found.append(case(path, images, np.array([3, 0, 1, 0.5, 2, 1, 1], "float32")))
    found[-1]["max_gain"] = mobile.Runner(path).about["max_gain"]
    return found


def signatures(folder: Path) -> None:
    """A file of two signatures, and a file of each cutout alone."""
    net = nested()
    mobile.convert_signatures(net, folder / "signatures.tflite", {"pets": ["pets"], "all": None})
    mobile.convert(sp.cutout(net, ["pets"]), folder / "pets.tflite")
    mobile.convert(net, folder / "nested.tflite")


def nested(**options) -> keras.Model:
    """A small network of two levels with random weights and different scores per category."""
    options = {"include_preprocessing": True, **options}
    net = sp.build_nhl(
        TREE,
        family="resnet18",
        width=0.125,
        input_shape=(32, 32, 3),
        stem="small",
        seed=0,
        **options,
    )
    rng = np.random.default_rng(1)
    for variable in net.trainable_variables:
        if variable.path.endswith("logit/kernel"):
            variable.assign(rng.normal(0, 2, variable.shape))
    return net


def case(path: Path, images: np.ndarray, gains: np.ndarray | None = None) -> dict:
    """The scores of Python's Runner for images."""
    runner = mobile.Runner(path)
    mean, std = (np.array(runner.about[key], "float32") for key in ("mean", "std"))
    inputs = images if not mean.any() and (std == 1).all() else (images - mean) / std
    scores, none = runner.decide(inputs, gains)
    return {
        "file": path.name,
        "labels": list(runner.labels or ()),
        "scores": scores.tolist(),
        "none": None if none is None else none.tolist(),
        "gains": None if gains is None else gains.tolist(),
        "steps": path.stem in ("uint8", "int8"),  # scores are multiples of 1/256
    }


def packs(folder: Path, net: keras.Model, squares: np.ndarray, small: np.ndarray) -> list[dict]:
    """Branch packs, and the scores of Python's PackRunner for some of their categories."""
    flat = sp.cutout(net, ["tench", "church", "parachute", "golf ball"])
    flat = sp.with_threshold(flat, Threshold(2.0, "energy", temperature=1.5))
    mobile.pack(flat, folder / "int8.pack", calibration=squares, input_dtype="uint8")
    deep = nested()
    mobile.pack(deep, folder / "nested.pack", quantization="float32")
    other = nested()
    other.get_layer("trunk").set_weights([1.01 * w for w in other.get_layer("trunk").get_weights()])
    mobile.pack(other, folder / "other.pack", quantization="float32")
    shutil.copytree(folder / "int8.pack", folder / "reduced.pack")
    mobile.remove_branch(folder / "reduced.pack", "church")
    for name in ("int8", "nested", "other"):
        without_hashes(folder / f"{name}.pack")
    flat_choices = [None, ["golf ball", "tench"], ["church"], ["parachute", "church", "tench"]]
    deep_choices = [None, ["ships"], ["tug", "car"], ["pets", "ferry"], ["cat"]]
    return [
        pack_case(folder / "int8.pack", squares, flat_choices),
        pack_case(folder / "nested.pack", small, deep_choices),
        pack_case(folder / "reduced.pack", squares, [None]),
    ]


def without_hashes(folder: Path) -> None:
    """Gives the files of a pack their names of earlier versions, which apps have stored."""
    path = folder / "manifest.json"
    text = path.read_text("utf-8")
    for file in folder.glob("*.tflite"):
        name = f"{file.name.split('.')[0]}.tflite"
        text = text.replace(file.name, name)
        file.rename(folder / name)
    path.write_text(text, "utf-8")


def pack_case(folder: Path, images: np.ndarray, choices: list) -> dict:
    runner = mobile.PackRunner(folder)
    found = []
    for choice in choices:
        scores, none = runner.decide(images, choice)
        one = mobile.PackRunner(folder, choice)
        found.append(
            {
                "choice": choice,
                "categories": list(one.categories),
                "loaded": sorted(one.loaded),
                "scores": scores.tolist(),
                "none": None if none is None else none.tolist(),
            }
        )
    return {"folder": folder.name, "choices": found}


if __name__ == "__main__":
    main()
