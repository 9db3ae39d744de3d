"""A float .tflite file -> a quantized one. Needs neither TensorFlow nor Keras."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.mobile.format.files import (
    Converted,
    check_options,
    check_path,
    write,
)
from keras_seqpar.mobile.images import batches
from keras_seqpar.mobile.quantization.calibration import check_calibration, check_no_gains
from keras_seqpar.mobile.quantization.score_steps import warn_of_coarse_scores
from keras_seqpar.mobile.runtime.checks.graphs import check_graphs
from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.mobile.runtime.labels import find_labels
from keras_seqpar.mobile.runtime.reading import read_tflite
from keras_seqpar.mobile.runtime.runner import LOGITS


def quantize(
    source: str | os.PathLike,
    path: str | os.PathLike,
    *,
    quantization: str = "dynamic",
    calibration: np.ndarray | None = None,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
) -> Converted:
    """Quantizes a float .tflite file with litert-quantizer.

    Labels, metadata and associated files are kept; `none_of_these` stays in floats.

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
            that int8 cannot keep; what became of it cannot be loaded; an unknown quantization or
            dtype; calibration that is missing or does not fit; a path that cannot be written.
        ImportError: litert-quantizer is not installed.
        OSError: writing failed. Files that were there before are kept.

    Example:

    >>> made = quantize("pets.tflite", "small.tflite", quantization="int8",
    ...                 calibration=images, input_dtype="uint8")
    """
    source = Path(source)
    path = check_path(path)
    check_options(quantization, input_dtype, output_dtype, "litert")
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
            "it anew: keras_seqpar.mobile.convert_signatures(..., quantizer='litert')."
        )
    content = source.read_bytes()
    shape, inputs, outputs = _shapes(content)
    labels = find_labels(source, outputs, contents.labels)
    if quantization == "int8":
        check_no_gains(inputs > 1, quantization)
        calibration = check_calibration(
            calibration,
            quantization,
            shape[1:],
            _takes_pixels(contents.about),
            f"the file {source.name!r}",
        )
    warn_of_coarse_scores(
        outputs,
        contents.about.get("activation"),
        quantization,
        logits=contents.about.get("outputs") == LOGITS,
        who=f"the file {source.name!r}",
    )
    ends = (input_dtype, output_dtype)
    try:
        model, operations, _ = quantize_model(
            content, contents.about, quantization, calibration, shape[0], ends
        )
        check_graphs(FlatbufferReader(model))
        find_interpreter()[1](model_content=model).allocate_tensors()
    except (ValueError, RuntimeError) as error:  # of the interpreter, too
        raise ValueError(f"{str(source)!r} cannot be quantized: {error}") from error
    from keras_seqpar.mobile.format.metadata import append  # needs the [mobile] extra

    content = append(model, contents.files)
    text = "".join(f"{label}\n" for label in labels or ()).encode()
    written = write(path, content, text or None)
    return Converted(path, written, quantization, len(content), operations)


def quantize_model(
    model: bytes,
    about: Mapping[str, Any],
    quantization: str,
    calibration: np.ndarray | None,
    batch: int,
    ends: tuple[str, str],
) -> tuple[bytes, dict[str, int], dict[str, Any]]:
    """Quantizes a float model.

    Args:
        model: the flatbuffer.
        about: facts on its network, from its description.
        quantization: as for `quantize`.
        calibration: checked images, for int8.
        batch: the fixed number of images per run.
        ends: dtypes of the images and of the scores.

    Returns:
        The quantized model, how often it uses each operation, and the facts in its description.
    """
    from keras_seqpar.mobile.format.flatbuffer import rewrite
    from keras_seqpar.mobile.quantization.litert import to_quantized

    samples: list[np.ndarray] = []
    limits = None
    if calibration is not None and quantization == "int8":
        samples = list(batches(calibration, batch))
        if _takes_pixels(about) or calibration.dtype == np.uint8:
            limits = (0.0, 255.0)  # so that uint8 input has scale 1 and zero point 0
    model = to_quantized(model, quantization, samples, limits, ends)
    about = {**about, "quantization": quantization, "quantizer": "litert"}
    model, operations = rewrite(model, description=json.dumps(about))
    return model, operations, about


def _takes_pixels(about: Mapping[str, Any]) -> bool | None:
    if "mean" not in about:
        return None
    return not any(about["mean"]) and set(about["std"]) == {1}


def _shapes(content: bytes) -> tuple[tuple[int, ...], int, int]:
    """Shape of the first input, the number of inputs, and the number of scores."""
    from keras_seqpar.mobile.format.schema import unpack

    graph = unpack(content).subgraphs[0]
    scores = max(int(graph.tensors[index].shape[-1]) for index in graph.outputs)
    return tuple(map(int, graph.tensors[graph.inputs[0]].shape)), len(graph.inputs), scores
