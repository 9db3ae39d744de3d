"""Where the files of measured networks are kept; they are made once."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np


def network_files(
    name: str,
    size: int,
    folder: str | os.PathLike,
    *,
    quantizations: Sequence[str] = ("int8",),
    calibration: Callable[[], np.ndarray] | None = None,
) -> dict[str, Path]:
    """Converts a network, unless its files are there from an earlier call.

    Keras is imported only where a file is missing.

    Args:
        name: as for `make_network`; or a `.tflite` file, which is taken as it is.
        size: side of the frames in pixels.
        folder: where files are kept; made if it does not exist.
        quantizations: of the files; see `convert`.
        calibration: returns images `(n, size, size, 3)` for int8; by default noise.

    Returns:
        Quantization -> path; `"file"` -> path of a `.tflite` file.

    Raises:
        ValueError: as for `make_network` and `convert`.
        OSError: a file cannot be written.

    Example:

    >>> network_files("pets.tflite", 32, "out")["file"].name
    'pets.tflite'
    """
    if name.endswith(".tflite"):
        return {"file": Path(name)}
    folder = Path(folder)
    stem = f"{_file_stem(name)}-{size}" + ("-calibrated" if calibration else "")
    paths = {x: folder / f"{stem}-{x}.tflite" for x in quantizations}
    missing = {x: path for x, path in paths.items() if not path.is_file()}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        from keras_seqpar.benchmarking import networks  # imports Keras

        model = networks.load(name, size)
        for quantization, path in missing.items():
            networks.convert_quietly(model, path, quantization, size, calibration)
    return paths


def _file_stem(name: str) -> str:
    """What files of a network are called; of a `.keras` file its content decides."""
    if not name.endswith(".keras"):
        return name.replace(":", "-")
    try:
        content = Path(name).read_bytes()
    except OSError:
        raise ValueError(f"There is no file {name}.") from None
    return f"{Path(name).stem}-{hashlib.sha256(content).hexdigest()[:8]}"
