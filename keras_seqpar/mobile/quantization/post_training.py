"""A float .tflite file -> a small one. Needs neither TensorFlow nor Keras."""

import json
import os
import warnings
from pathlib import Path

import numpy as np

from keras_seqpar.mobile.format.files import (
    Converted,
    check_options,
    check_path,
    labels_path,
    write,
)
from keras_seqpar.mobile.images import batches, check_array, check_spread
from keras_seqpar.mobile.runtime.reading import Contents, read_tflite

# Fewer images than this leave the ranges of the activations to chance.
FEW_IMAGES = 50


def quantize(
    source: str | os.PathLike,
    path: str | os.PathLike,
    *,
    quantization: str = "dynamic",
    calibration: np.ndarray | None = None,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
) -> Converted:
    """Makes a small .tflite file of a float one, with ai-edge-quantizer.

    Labels, metadata and associated files stay; `none_of_these` stays in floats.

    Args:
        source: a float32 file that `convert` wrote.
        path: where to write, ending in `.tflite`; the folder must exist.
        quantization: `"dynamic"` or `"int8"`, as for `convert`.
        calibration: for int8, real images `(n, height, width, channels)` as the network takes
            them, uint8 or floats; 100 to 500 are enough.
        input_dtype: for int8, `"uint8"` or `"int8"` make the file take integers: for a network
            that takes pixels, uint8 are the pixels (scale 1, zero point 0).
        output_dtype: for int8, likewise, of the scores.

    Returns:
        What was written.

    Raises:
        TypeError: calibration that is no array of uint8 or floats.
        FileNotFoundError: there is no such file.
        ValueError: `source` is damaged, is no float32 file of `convert`, or has a gains input
            that int8 cannot keep; an unknown quantization or dtype; calibration that is missing
            or does not fit; a path that cannot be written.
        ImportError: ai-edge-quantizer is not installed.
        OSError: writing failed. Files that were there before are kept.

    Example:

    >>> made = quantize("pets.tflite", "small.tflite", quantization="int8",
    ...                 calibration=images, input_dtype="uint8")
    """
    source = Path(source)
    path = check_path(path)
    check_options(quantization, input_dtype, output_dtype, "ai_edge")
    contents = read_tflite(source)
    if contents.about.get("quantization") != "float32":
        raise ValueError(
            f"{str(source)!r} is no float32 file of keras_seqpar.mobile.convert: it says "
            f"{contents.about.get('quantization', 'nothing')!r} about its quantization. Convert "
            "the network with quantization='float32' first."
        )
    if len(contents.signatures) > 1:
        raise ValueError(
            f"{str(source)!r} has several signatures, and only files of one can be quantized. Make "
            "it anew: keras_seqpar.mobile.convert_signatures(..., quantizer='ai_edge')."
        )
    shape, inputs = _inputs(source.read_bytes())
    if quantization == "int8":
        check_no_gains(inputs > 1, quantization)
        pixels = _takes_pixels(contents.about)
        if calibration is None:
            raise no_calibration(quantization)
        calibration = check_array(
            calibration, shape[1:], "calibration images", pixels, f"the file {source.name!r}"
        )
        check_spread(calibration)
        say_few(calibration)
    content, operations = quantized(
        source.read_bytes(),
        contents,
        quantization,
        calibration,
        shape[0],
        input_dtype,
        output_dtype,
    )
    beside = labels_path(source)
    labels = beside.read_bytes() if beside.is_file() else None
    if labels is None and contents.labels:
        labels = "".join(f"{label}\n" for label in contents.labels).encode()
    written = write(path, content, labels)
    return Converted(path, written, quantization, len(content), operations)


def quantized(
    content: bytes,
    contents: Contents,
    quantization: str,
    calibration: np.ndarray | None,
    batch: int,
    input_dtype: str,
    output_dtype: str,
) -> tuple[bytes, dict[str, int]]:
    """The content of the small file, and how often it uses each operation.

    Args:
        content: of the float file.
        contents: what it says about itself.
        quantization: as for `quantize`, as all that follows.
        calibration: checked images.
        batch: the fixed number of images per run.
        input_dtype: of the images.
        output_dtype: of the scores.
    """
    from keras_seqpar.mobile.format.flatbuffer import rewrite
    from keras_seqpar.mobile.format.metadata import append
    from keras_seqpar.mobile.quantization.ai_edge import to_quantized  # needs the [mobile] extra

    some: list[np.ndarray] = []
    limits = None
    if calibration is not None and quantization == "int8":
        some = list(batches(calibration, batch))
        if _takes_pixels(contents.about) or calibration.dtype == np.uint8:
            limits = (0.0, 255.0)  # so that uint8 input has scale 1 and zero point 0
    content = to_quantized(content, quantization, some, limits, input_dtype, output_dtype)
    about = {**contents.about, "quantization": quantization, "quantizer": "ai_edge"}
    content, operations = rewrite(content, description=json.dumps(about))
    return append(content, contents.files), operations


def no_calibration(quantization: str) -> ValueError:
    """The error where calibration is missing."""
    return ValueError(
        f"quantization={quantization!r} needs calibration: some hundred real images of the kind "
        "that the network will see, as an array (n, height, width, channels)."
    )


def check_no_gains(has_gains: bool, quantization: str) -> None:
    """Refuses integer activations of a network with a gains input.

    Raises:
        ValueError: it has one.
    """
    if has_gains:
        raise ValueError(
            f"A network with a gains input cannot become {quantization} without a limit: integers "
            "cannot go beyond what was calibrated. Give keras_seqpar.mobile.convert the largest "
            "gain, max_gain=2, say; or take quantization='dynamic', or set constant gains with "
            "keras_seqpar.attend."
        )


def say_few(calibration: np.ndarray) -> None:
    """Warns where there are few calibration images."""
    if len(calibration) < FEW_IMAGES:
        warnings.warn(
            f"Calibration on {len(calibration)} image(s): the ranges of the activations may be "
            f"too narrow. Take {FEW_IMAGES} or more, of every category.",
            stacklevel=4,
        )


def _takes_pixels(about: dict) -> bool | None:
    if "mean" not in about:
        return None
    return not any(about["mean"]) and set(about["std"]) == {1}


def _inputs(content: bytes) -> tuple[tuple[int, ...], int]:
    """Shape of the first input, and the number of inputs."""
    from keras_seqpar.mobile.format.flatbuffer import unpack

    graph = unpack(content).subgraphs[0]
    return tuple(map(int, graph.tensors[graph.inputs[0]].shape)), len(graph.inputs)
