"""Writes files, images and Python's results for them, which the page's tests compare with.

    python tflite/web/test/make_files.py FOLDER

The networks are the preset and its cutouts. Images are drawn, or come with scikit-learn.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter needs it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.mobile.runtime.run import read_image

FIVE = ["tench", "church", "golf ball", "parachute", "English springer"]
THREE = ["golf ball", "tench", "church"]
INTEGERS = {"quantization": "int8", "input_dtype": "uint8", "output_dtype": "uint8"}
GAINS = [0.5, 2, 1, 1.25, 0]


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
    net = sp.load_preset("imagenette_small")
    five = sp.cutout(net, FIVE)
    squares = calibration()
    integers: dict[str, Any] = {**INTEGERS, "calibration": squares}
    logits = logits_of(net, squares)

    def file(name: str) -> Path:
        return folder / f"{name}.tflite"

    mobile.convert(five, file("uint8"), **integers)
    mobile.convert(five, file("float"), quantization="float32")
    mobile.convert(five, file("scored"), outputs="logits", **integers)
    mobile.convert(five, file("dynamic"))
    mobile.convert(five, file("int8"), **{**integers, "input_dtype": "int8"})
    mobile.convert(net, file("all"), quantization="float32")
    mobile.convert(sp.with_activation(net, None), file("logits"), quantization="float32")
    mobile.convert(sp.cutout(net, THREE), file("three"), quantization="float32")
    steerable = sp.attention_input(five)
    mobile.convert(steerable, file("gains"), quantization="float32")
    mobile.convert(steerable, file("gains_uint8"), max_gain=2, **integers)
    mobile.convert_signatures(net, file("several"), {"five": FIVE, "three": THREE}, **integers)
    thresholded = sp.with_threshold(net, sp.fit_threshold(logits, keep=0.5))
    mobile.convert(thresholded, file("unsure"))
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
    (folder / "expected.json").write_text(json.dumps(expected), "utf-8")


def logits_of(net, images: np.ndarray) -> np.ndarray:
    """Logits of images, for fitting a threshold."""
    return sp.with_activation(net, None).predict(images, verbose=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
