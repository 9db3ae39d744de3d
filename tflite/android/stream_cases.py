"""Streams for the tests of the Kotlin core: folders, frames, and what Python's stream gives."""

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from keras_seqpar import mobile, selective
from keras_seqpar.selective.litert_engine.sessions import FileCropSession
from keras_seqpar.selective.planning.passes import BOXES
from tests.selective.litert_engine.files import File, change, noise
from tests.selective.litert_engine.random_files import KINDS, random_file

MARGIN: dict[str, Any] = {"margin": 3, "min_region_pixels": 9, "refresh": 6}  # as RegionTests.kt
RANDOM = 15  # networks of random operations, of each kind


def streams(folder: Path, squares: np.ndarray) -> list[dict]:
    """Writes the streams of random networks and of the files that are there already."""
    rng = np.random.default_rng(0)
    found = []
    for kind in KINDS:
        for number, path in enumerate(random_networks(folder, kind)):
            found.append(case(path, real_frames(path, kind, rng, 7), seed=number))
        path = several_boxes(kind).save(folder / f"boxes_{kind}.tflite")
        found.append(case(path, real_frames(path, kind, rng, 24), seed=99))
        found.append(case(path, real_frames(path, kind, rng, 12), seed=98, threshold=0.7))
    for name in ("uint8", "int8", "float32", "logits", "none", "gains_int8", "gains"):
        path = folder / f"{name}.tflite"
        side = mobile.Runner(path).input_shape[1]
        found.append(case(path, pixel_frames(squares, side, rng)))
    path = folder / "uint8.tflite"
    still = np.clip(squares[:1] + rng.normal(0, 2, (12, *squares.shape[1:])), 0, 255)
    still[8:, 40:60, 30:44] = 255 - still[8:, 40:60, 30:44]
    found.append(case(path, still.astype("uint8"), threshold="auto"))
    return found


def regions(folder: Path) -> list[dict]:
    """Writes streams of segmentation networks, and what Python's region stream gives."""
    found, rng = [], np.random.default_rng(1)
    for kind in KINDS:
        path = segmenter(kind).save(folder / f"regions_{kind}.tflite")
        made = selective.export_stream(path, folder / f"{path.stem}.stream")
        codes = [noise((64, 80, 3), kind, rng)]
        for i in range(1, 14):
            boxes, most = i % 3, (0.05, 0.05, 0.3)[i % 3]
            codes.append(change(codes[-1], rng, boxes, most))
        codes.append(noise((64, 80, 3), kind, rng))
        frames = np.stack(codes).astype("float32")
        if kind != "float32":
            frames = np.float32(File.SCALE) * (frames - 3)
        (made / "frames.bin").write_bytes(frames.tobytes())
        for name, options in {"exact": {}, "margin": MARGIN}.items():
            stream = selective.region_stream(path, scores=True, **options)
            for step in stream._engine._steps:
                if isinstance(step, FileCropSession):
                    step.resizing = 0.0  # every box is computed in its own size
            with mock.patch.object(stream._engine._passes, "choose", return_value=BOXES):
                outputs = [np.asarray(stream(x).output).tobytes() for x in frames]
            (made / f"{name}.bin").write_bytes(b"".join(outputs))
        found.append({"folder": made.name, "pixels": False})
    return found


def segmenter(kind: str) -> File:
    """A network to a map of half the frame's resolution."""
    file = File((1, 64, 80, 3), kind)
    fine = file.conv(file.frame, 8, stride=2, activation=1)
    x = file.conv(file.pool(fine, "MAX_POOL_2D"), 8, activation=1)
    x = file.both("ADD", file.resize(x, (32, 40)), fine)
    file.outputs = [file.conv(x, 4, (1, 1))]
    return file


def random_networks(folder: Path, kind: str) -> list[Path]:
    """Files of random operations; the same in every run."""
    found: list[Path] = []

    @settings(
        max_examples=RANDOM, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def write(data):
        path = folder / f"random_{kind}_{len(found)}.tflite"
        found.append(random_file(data.draw, kind).save(path))

    write()
    return found


def several_boxes(kind: str) -> File:
    """Blocks of an odd size on which a few boxes pay, and a head."""
    file = File((1, 87, 113, 3), kind)
    x = file.conv(file.frame, 16, stride=2, activation=1)
    for stride in (1, 2, 1):
        short = file.conv(x, 48, (1, 1), stride=stride)
        inner = file.depthwise(file.conv(x, 32, (1, 1), activation=1), (3, 3), stride)
        x = file.both("ADD", file.conv(inner, 48, (1, 1)), short)
    file.outputs = [file.head(x), x]
    return file


def real_frames(path: Path, kind: str, rng: np.random.Generator, count: int) -> np.ndarray:
    """Frames of real values that change in a few boxes, at the end everywhere."""
    shape = selective.stream(path).input_shape
    frames = [noise(shape, kind, rng)]
    for i in range(1, count - 1):
        frames.append(change(frames[-1], rng, i % 4, (0.1, 0.3, 0.6)[i % 3]))
    frames.append(noise(shape, kind, rng))
    values = np.stack(frames).astype("float32")
    return values if kind == "float32" else np.float32(File.SCALE) * (values - 3)


def pixel_frames(squares: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Pixels that change in a few boxes, then show another image."""
    frame, frames = squares[0, :side, :side], []
    for i in range(8):
        frame = frame.copy()
        for _ in range(i % 3):
            height, width = rng.integers(2, side // 3, 2)
            y, x = rng.integers(0, side - height), rng.integers(0, side - width)
            frame[y : y + height, x : x + width] = squares[1, :height, :width]
        frames.append(frame)
    return np.stack([*frames, squares[2, :side, :side]])


def case(path: Path, frames: np.ndarray, seed: int = 0, threshold: float | str = 0.0) -> dict:
    """Writes a stream's folder, its frames, and the outputs and maps of Python's stream."""
    name = f"{path.stem}_{seed}_{threshold}"
    folder = selective.export_stream(path, path.parent / f"{name}.stream")
    (folder / "frames.bin").write_bytes(frames.tobytes())
    about = mobile.Runner(path).about if len(frames[0]) == len(frames[0, 0]) else {}
    stream = selective.stream(path, threshold=threshold)
    outputs: list[np.ndarray] = []
    results: list[dict[str, Any]] = []
    names: list[str] = []
    for frame in frames:
        if frames.dtype == "uint8" and any(about.get("mean", ())):
            frame = ((frame - np.float32(about["mean"])) / np.float32(about["std"])).astype(
                "float32"
            )
        result = stream(frame)
        output = result.output
        outputs += list(output.values()) if isinstance(output, dict) else [output]
        stats, names = result.stats, names or list(stream.maps)
        results.append(
            {
                "cached": stats.mode == "cached",
                "changed": stats.changed,
                "boxes": stats.boxes,
                "layers": {name: float(stream.change_map(name).mean()) for name in names},
            }
        )
    (folder / "outputs.bin").write_bytes(b"".join(x.tobytes() for x in outputs))
    stored = stream.maps
    (folder / "maps.bin").write_bytes(b"".join(x.tobytes() for x in stored.values()))
    return {
        "folder": folder.name,
        "pixels": frames.dtype == "uint8",
        "threshold": threshold,
        "maps": {key: x.nbytes for key, x in stored.items()},
        "results": results,
    }
