"""Writes files, images and Python's results for them, which the page's tests compare with.

    python tflite/web/test/make_files.py FOLDER

The networks are small and have random weights. Single files are of a flat network. What a server
offers is of a nested network in float32, and of one of ten categories in int8. Images are drawn,
or come with scikit-learn.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter needs it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.mobile.explorer.page_data import write_page_data
from keras_seqpar.mobile.explorer.server import data_of_file
from keras_seqpar.mobile.explorer.validation import write_validation
from keras_seqpar.mobile.runtime.run import read_image
from keras_seqpar.networks.thresholds import known_score
from keras_seqpar.selective.detector import Detector

FIVE = ["tench", "church", "golf ball", "parachute", "English springer"]
THREE = ["golf ball", "tench", "church"]
INTEGERS = {"quantization": "int8", "input_dtype": "uint8", "output_dtype": "uint8"}
GAINS = [0.5, 2, 1, 1.25, 0]
TREE = {"animal": ["cat", "dog"], "ship": None}
STEERED = {"animal": 1.5, "cat": 0.5, "ship": 2.0}
TEN = [f"category {i}" for i in range(10)]


def small(builder, categories, size: int):
    """A small network of random weights that takes pixels."""
    shape = (size, size, 3)
    options = {"family": "resnet18", "width": 0.125, "include_preprocessing": True, "seed": 1}
    return builder(categories, input_shape=shape, **options)


def draw_images(folder: Path) -> list[str]:
    """Images that need enlarging, reducing, cropping, rotation and partial decoding."""
    flower = Image.fromarray(load_sample_images().images[1])
    shapes = Image.new("RGB", (301, 200), "skyblue")
    pen = ImageDraw.Draw(shapes)
    pen.polygon([(20, 190), (150, 30), (280, 190)], fill="darkgreen")
    pen.ellipse((180, 10, 240, 70), fill="gold", outline="red", width=3)
    shapes.save(folder / "shapes.png")
    shapes.crop((100, 20, 160, 100)).save(folder / "small.png")
    flower.convert("L").crop((0, 0, 401, 400)).save(folder / "gray.png")
    flower.save(folder / "flower.png")
    flower.crop((300, 0, 420, 160)).save(folder / "tall.png")
    clear = flower.crop((100, 50, 340, 240))
    ramp = np.linspace(-40, 300, 240).clip(0, 255).astype("uint8")
    clear.putalpha(Image.fromarray(np.tile(ramp, (190, 1))))
    clear.save(folder / "transparent.png")
    flower.crop((200, 100, 380, 260)).save(folder / "part.jpg", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation: a quarter turn
    flower.crop((200, 100, 380, 260)).save(folder / "turned.jpg", quality=95, exif=turned)
    flower.save(folder / "flower.jpg", quality=95)
    return sorted(path.name for path in folder.iterdir())


def calibration() -> np.ndarray:
    """Squares of several sizes from two photographs: (60, 96, 96, 3)."""
    rng, found = np.random.default_rng(0), []
    for i in range(60):
        photo = Image.fromarray(load_sample_images().images[i % 2])
        side = int(rng.integers(96, 420))
        left, top = (int(rng.integers(0, length - side)) for length in photo.size)
        box = (left, top, left + side, top + side)
        found.append(np.asarray(photo.resize((96, 96), Image.Resampling.BICUBIC, box=box)))
    return np.stack(found)


def main(folder: Path) -> None:
    """Writes files, images and expected.json."""
    images = draw_images(folder)
    net = small(sp.build_phl, FIVE, 96)
    squares = calibration()
    integers: dict[str, Any] = {**INTEGERS, "calibration": squares}
    logits = logits_of(net, squares)

    def file(name: str) -> Path:
        return folder / f"{name}.tflite"

    mobile.convert(net, file("uint8"), **integers)
    mobile.convert(net, file("float"), quantization="float32")
    mobile.convert(net, file("int8"), outputs="logits", **{**integers, "input_dtype": "int8"})
    mobile.convert(sp.cutout(net, THREE), file("three"), quantization="float32")
    mobile.convert(sp.attention_input(net), file("gains"), max_gain=2, **integers)
    mobile.convert_signatures(net, file("several"), {"five": FIVE, "three": THREE}, **integers)
    mobile.convert(sp.with_threshold(net, sp.fit_threshold(logits, keep=0.5)), file("unsure"))
    expected: dict = {"categories": FIVE, "three": THREE, "gains": GAINS, "pixels": {}}
    expected["scores"] = {}
    for image in images:
        expected["pixels"][image] = data.decode(folder / image, 96).ravel().tolist()
    for path in sorted(folder.glob("*.tflite")):
        for signature in mobile.Runner(path).signatures or [None]:
            runner = mobile.Runner(path, signature=signature)
            gains = np.array(GAINS) if runner._gains else None
            name = path.stem if signature is None else f"{path.stem}.{signature}"
            expected["scores"][name] = {}
            for image in images:
                pixels = read_image(runner, str(folder / image))
                scores, none = runner.decide(pixels, gains)
                decision = None if none is None else bool(none)
                result = {"scores": scores[0].tolist(), "none": decision}
                expected["scores"][name][image] = result
    expected["packs"] = write_packs(folder, images, squares)
    expected["changes"] = changes()
    (folder / "expected.json").write_text(json.dumps(expected), "utf-8")


def write_packs(folder: Path, images: list[str], squares: np.ndarray) -> dict:
    """Writes what servers offer; returns the results of PackRunner and of Keras."""
    squares = np.stack([np.asarray(Image.fromarray(x).resize((32, 32))) for x in squares])
    nested = small(sp.build_nhl, TREE, 32)
    nested.save(folder / "nested.keras")
    ten = small(sp.build_phl, TEN, 32)
    ten = sp.with_threshold(ten, sp.fit_threshold(logits_of(ten, squares), keep=0.5))
    photos = {name: data.decode(folder / name, 96) for name in ("flower.png", "shapes.png")}
    source = str(folder / "nested.keras")
    write_page_data(nested, folder / "nested", title="Nested", source=source, examples=photos)
    labels = np.arange(len(squares), dtype="int32") % 3
    names = tuple(f"square {i}" for i in range(len(squares)))
    validation = data.Split(names, labels, squares)
    dataset = data.Dataset("squares", ("cat", "dog", "ship"), {"validation": validation})
    facts = write_validation(nested, dataset, folder / "nested", gains=(1, 2))
    write_page_data(ten, folder / "ten", title="Ten", calibration=squares, examples=photos)
    data_of_file(folder / "ten" / "pack", folder / "only_pack")
    shutil.make_archive(str(folder / "ten.pack"), "zip", folder / "ten" / "pack")
    pixels = np.stack([data.decode(folder / image, 32) for image in images])
    found: dict = {"images": images, "validation": accuracies(facts, [0, 2])}
    for name, some in (("nested", ["ship", "cat"]), ("ten", TEN[3:6])):
        runner = mobile.PackRunner(folder / name / "pack")
        results: dict[str, Any] = {
            "some": [runner.manifest.hierarchy.find(label).id for label in some]
        }
        for choice, categories in (("all", None), ("chosen", some)):
            logits = runner.logits(pixels, categories)
            scores, none = runner.decide(pixels, categories)
            results[choice] = {
                "logits": logits.tolist(),
                "scores": scores.tolist(),
                "energy": known_score(logits).tolist(),
                "none": None if none is None else none.tolist(),
            }
        found[name] = results
    attended = sp.with_activation(sp.attend(nested, STEERED), None)
    before, _ = sp.split_branch(sp.attend(nested, STEERED), "cat")
    found["steered"] = {
        "gains": STEERED,
        "logits": attended.predict(pixels, verbose=0).tolist(),
        "cat": np.abs(before.predict(pixels, verbose=0)).mean(-1).reshape(len(pixels), -1).tolist(),
    }
    return found


def accuracies(facts: dict, columns: list[int]) -> dict:
    """Shares of right predictions of a cutout and of the network, on the cutout's images."""
    logits, truth = np.array(facts["logits"]), np.array(facts["truth"])
    rows = np.isin(truth, columns)
    cutout = np.array(columns)[logits[rows][:, columns].argmax(-1)]
    both = {"cutout": cutout, "full": logits[rows].argmax(-1)}
    return {name: float(np.mean(found == truth[rows])) for name, found in both.items()}


def changes() -> dict:
    """Two frames, and where the Python detector sees the second one change."""
    rng = np.random.default_rng(0)
    accepted = rng.integers(0, 256, (8, 8, 3), "uint8")
    frame = accepted.copy()
    frame[2:5, 3:6] = rng.integers(0, 256, (3, 3, 3), "uint8")
    changed = Detector(threshold=20)(frame, accepted)
    frames = [x.ravel().tolist() for x in (accepted, frame)]
    return {"frames": frames, "changed": np.asarray(changed).astype(int).ravel().tolist()}


def logits_of(net, images: np.ndarray) -> np.ndarray:
    """Logits of images, for fitting a threshold."""
    return sp.with_activation(net, None).predict(images, verbose=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
