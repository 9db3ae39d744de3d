"""The parts of arm64.sh: makes files, runs them on one machine, compares the results of two.

python tflite/arm64.py make FOLDER
python tflite/arm64.py run FOLDER FOUND.npz      (needs NumPy and ai-edge-litert only)
python tflite/arm64.py compare ONE.npz OTHER.npz
"""

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PRESET = "imagenette_small"  # comes with the package: no data set, no download
KEPT = ["church", "tench", "golf ball", "French horn"]
COUNT = 8  # images to run
DIFFERENCES = "stream differences"
INT8 = ("uint8", "int8", "pack")  # must agree bit for bit; floats need not


def make(folder: Path) -> None:
    """Writes int8 files, a branch pack, a float file, and images."""
    import keras_seqpar as sp
    from keras_seqpar import mobile

    folder.mkdir()
    cut = sp.cutout(sp.load_preset(PRESET), KEPT)
    images = draw(60 + COUNT, cut.input_shape[1])
    calibration, images = images[COUNT:], images[:COUNT]
    np.save(folder / "images.npy", images)
    for dtype in ("uint8", "int8"):
        path = folder / f"{dtype}.tflite"
        mobile.convert(
            cut,
            path,
            quantization="int8",
            calibration=calibration,
            input_dtype=dtype,
            output_dtype=dtype,
        )
    mobile.convert(cut, folder / "float32.tflite", quantization="float32")
    mobile.pack(cut, folder / "pack", calibration=calibration, input_dtype="uint8")


def draw(count: int, size: int) -> np.ndarray:
    """Smooth random images with noise, of the full range: (count, size, size, 3) uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (count, 6, 6, 3))
    at = np.linspace(0, 5, size)
    low = at.astype(int).clip(0, 4)
    part = (at - low)[:, None]
    rows = coarse[:, low] * (1 - part[:, :, None]) + coarse[:, low + 1] * part[:, :, None]
    both = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    return (both + rng.normal(0, 20, both.shape)).clip(0, 255).astype("uint8")


def run(folder: Path, found: Path) -> None:
    """Runs all files and keeps their scores, and the integers between the files of the pack."""
    from keras_seqpar.mobile.runtime.pack_runner import PackRunner, load_part
    from keras_seqpar.mobile.runtime.runner import Runner

    start = time.perf_counter()
    images = np.load(folder / "images.npy")
    results = {}
    for name in ("uint8", "int8", "float32"):
        runner = Runner(folder / f"{name}.tflite", interpreter="ai-edge-litert")
        results[name] = runner(images)
    pack = PackRunner(folder / "pack", interpreter="ai-edge-litert")
    trunk = load_part(folder / "pack", pack.manifest.trunk, interpreter="ai-edge-litert")
    features = [trunk.pass_on(trunk.encode(image[None])).copy() for image in images]
    results["pack features"] = np.concatenate(features)
    results["pack logits"] = pack.logits(images)
    for name in ("uint8", "int8", "float32", "pack"):
        results[f"{name} {DIFFERENCES}"] = np.array(play(folder, name, images))
    seconds = time.perf_counter() - start
    about = f"{platform.machine()}, {pack.interpreter}, {seconds:.1f} s"
    results["about"] = np.array(about)
    np.savez(found, **results)  # type: ignore[arg-type]  # of names, never allow_pickle


def play(folder: Path, name: str, images: np.ndarray) -> int:
    """Streams a few frames; returns how many outputs differ from the dense network's in any bit."""
    from keras_seqpar import selective
    from keras_seqpar.mobile.runtime.inputs import encode
    from keras_seqpar.mobile.runtime.interpreters import find_interpreter
    from keras_seqpar.mobile.runtime.pack_runner import PackRunner

    path = folder / ("pack" if name == "pack" else f"{name}.tflite")
    stream = selective.stream(path, interpreter="ai-edge-litert")
    if name == "pack":
        pack = PackRunner(path, interpreter="ai-edge-litert")
    else:
        engine = find_interpreter("ai-edge-litert")[1](str(path))
        engine.allocate_tensors()
    frame, differ = images[0].astype("float32"), 0  # pixels, whatever the file takes
    for i, image in enumerate(images):
        part = slice(3 * i, 3 * i + 9 + i), slice(5 * i, 5 * i + 12)
        frame[part] = image[part]
        output = stream(frame).output
        found = list(output.values()) if isinstance(output, dict) else [output]
        if name == "pack":
            expected = [pack(frame[None])]
        else:
            detail = engine.get_input_details()[0]
            engine.set_tensor(detail["index"], encode(frame[None], detail))
            engine.invoke()
            expected = [engine.get_tensor(x["index"]) for x in engine.get_output_details()]
        differ += any(a.tobytes() != b.tobytes() for a, b in zip(found, expected, strict=False))
    return differ


def compare(one: Path, other: Path) -> int:
    """Prints how far two results differ; the exit status is 0 where all int8 files agree."""
    first, second = np.load(one), np.load(other)
    print(f"{first['about']}\n{second['about']}")
    differ = 0
    for name in [x for x in first.files if x != "about"]:
        a, b = first[name], second[name]
        count = int((a != b).sum())
        spread = len(np.unique(a))
        exact = name.startswith(INT8)
        if name.endswith(DIFFERENCES):
            differ += int(a) + int(b)
            print(f"{name} of the dense network: {int(a)} and {int(b)} frames (wanted: 0)")
            continue
        differ += exact and (count > 0 or spread < 3)
        largest = np.abs(a.astype("float64") - b).max()
        result = "equal" if not count else f"{count} differ, by {largest:.2g} at most"
        wanted = "bit for bit" if exact else "for information"
        print(f"{name}: {a.size} values, {spread} different ones ({wanted}): {result}")
    if platform.machine() in str(second["about"]):
        print("Both results are of the same machine.")
        return 1
    print(
        "FAILED"
        if differ
        else "The int8 files give the same bits on both machines, and so do streams."
    )
    return int(bool(differ))


if __name__ == "__main__":
    commands: dict[str, Callable[..., Any]] = {"make": make, "run": run, "compare": compare}
    sys.exit(commands[sys.argv[1]](*map(Path, sys.argv[2:])))
