"""Keras network -> .tflite file and label file."""

import dataclasses
import os
from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.mobile.export.converter import calibration_samples, no_samples, to_tflite
from keras_seqpar.mobile.export.file_content import FileContent, describe
from keras_seqpar.mobile.export.options import FileOptions
from keras_seqpar.mobile.export.specification import FileSpecification, specify
from keras_seqpar.mobile.format.files import Converted, check_path
from keras_seqpar.mobile.network import in_float32, read_network
from keras_seqpar.mobile.quantization.post_training import quantize_model
from keras_seqpar.mobile.runtime.runner import LOGITS
from keras_seqpar.networks.parts import with_activation
from keras_seqpar.surgery.unknowns import none_of_these


def convert(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    quantization: str = "dynamic",
    calibration: np.ndarray | None = None,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
    outputs: str = "scores",
    batch_size: int = 1,
    image_size: tuple[int, int] | None = None,
    labels: bool | Sequence[str] = True,
    quantizer: str = "tensorflow",
    max_gain: float | None = None,
    description: str | None = None,
    author: str | None = None,
    license: str | None = None,
) -> Converted:
    """Writes a network as a .tflite file with built-in operations only.

    The file's input is called `image`, its output `scores`; all shapes are fixed. A network
    with a gains input keeps it as the input `gains`, `(batch_size, nodes)`. One that stores a
    threshold (`with_threshold`) gets a second output, `none_of_these`, `(batch_size, 1)`: 1 where
    the image shows none of the categories, else 0. A network in mixed precision is converted in
    float32. Networks that this package did not build can be converted, too; their files have no
    labels and do not state how images are normalized.

    The file describes itself in TFLite metadata: its labels, the normalization of its images,
    and the hierarchy. MediaPipe Tasks and Android's tools read these; `zipfile` opens the files
    `labels.txt` and `hierarchy.json` in it. MediaPipe's ImageClassifier takes files with batch 1,
    without gains input, of networks that take pixels, with float32 or uint8 images; with
    `none_of_these`, only float32 scores.

    Needs Keras on the TensorFlow backend. A `.keras` file saved on any backend loads there.

    Args:
        model: a network with one image input, for example a cutout.
        path: where to write, ending in `.tflite`; the folder must exist.
        quantization: `"float32"`; `"float16"`, half the size; `"dynamic"`, int8 weights and
            float32 activations, a quarter of the size and nearly float; `"int8"`, weights
            (per channel) and activations in int8, for integer hardware. Operations without
            an int8 kernel stay float between QUANTIZE and DEQUANTIZE: none in ResNets, the
            normalizations of ConvNeXt V2; `"int16x8"`, int8 weights and 16-bit
            activations: nearly float, but on CPUs interpreters have only slow reference kernels for
            it (11.4 ms where int8 takes 0.11 ms: ResNet-18 PHL of width 0.25 at 32 pixels), so it
            is for hardware that supports it.
        calibration: for int8 and int16x8, real images `(n, height, width, channels)` as the
            network takes them, uint8 or floats; 100 to 500 are enough. They set the ranges of the
            activations; values beyond the ranges are clipped.
        input_dtype: for int8, `"uint8"` or `"int8"` make the file take integers: for a
            network that takes pixels, uint8 are the pixels (scale 1, zero point 0).
        output_dtype: for int8, likewise, of the scores. `none_of_these` is decided on the logits
            inside the file, and is float32 in every file.
        outputs: `"scores"`, or `"logits"`: the file leaves out the activation, and `Runner`, the
            Kotlin code and the page compute the scores from the logits, in floats. Int8 scores have
            steps of 1/256, so for more than 64 categories take logits (there is a warning). Other
            clients of the file get logits, whose order is that of the scores.
        batch_size: the fixed number of images per run.
        image_size: `(height, width)`, for a network that takes images of any size.
        labels: write `<name>.labels.txt`, one label per line in the order of the outputs, and
            the same into the file; a sequence of labels replaces the network's own. `False`
            leaves out the hierarchy as well.
        quantizer: `"tensorflow"`, TensorFlow's converter, or `"litert"`, litert-quantizer, for
            dynamic and int8. `keras_seqpar.mobile.quantize` runs the latter on a float file.
        max_gain: for int8 and int16x8 files of a network with a gains input: the largest gain to
            calibrate for, up to 255. Integers cannot go beyond what was calibrated, so `Runner`
            clips larger gains and warns. The limit is `max_gain` or a little more, so that a gain
            of 1 stays exact; the file names it in `Runner.about`. The larger the limit, the
            coarser are the steps between gains. Gains are floats at the input of every file.
        description: for the metadata; by default the number of categories.
        author: for the metadata.
        license: for the metadata: the license of the weights, best as an SPDX identifier; by
            default that of pretrained weights which the network started from, where it is known.

    Returns:
        What was written.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown quantization or dtype; calibration that is missing or does not
            fit; a network that TFLite cannot express; a path that cannot be written.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. Files that were there before are kept.

    Example:

    >>> made = convert(pets, "int8.tflite", quantization="int8", calibration=images,
    ...                input_dtype="uint8")
    >>> print(made)
    int8.tflite: int8, ... bytes, ... operations, labels in int8.labels.txt
    """
    network = read_network(model)  # TypeError
    path = check_path(path)
    options = FileOptions(
        quantization=quantization,
        calibration=calibration,
        input_dtype=input_dtype,
        output_dtype=output_dtype,
        outputs=outputs,
        batch_size=batch_size,
        image_size=image_size,
        labels=labels,
        quantizer=quantizer,
        max_gain=max_gain,
        description=description,
        author=author,
        license=license,
    )
    return make_file(specify(network, options)).write(path)


def make_file(spec: FileSpecification) -> FileContent:
    """Makes a file as it was specified.

    Raises:
        ValueError: TFLite cannot express the network, or LiteRT cannot run it, in this
            quantization.
    """
    network, options = spec.network, spec.options
    model = in_float32(network.model)
    if options.outputs == LOGITS:
        model = with_activation(model, None)
    if network.threshold:
        model = none_of_these(model)
    by_litert = options.quantizer == "litert"
    content = to_tflite(
        model,
        spec.shape,
        "float32" if by_litert else options.quantization,
        _samples(spec),
        (options.input_dtype, options.output_dtype),
    )
    made = describe(content, spec)
    if by_litert:
        made = _quantized_by_litert(made, spec)
    if options.quantization == "int16x8":
        _check_that_it_runs(made, network.name)
    return made


def _samples(spec: FileSpecification):
    """The function that returns the calibration samples."""
    if spec.calibration is None:
        return no_samples
    count, limit = spec.network.gains, spec.gain_limit
    gains = (count, limit) if count and limit else None
    return lambda: calibration_samples(
        spec.calibration, spec.options.batch_size, spec.network.takes_pixels, gains
    )


def _quantized_by_litert(made: FileContent, spec: FileSpecification) -> FileContent:
    """Quantizes a float file with litert-quantizer."""
    options = spec.options
    model, operations, about = quantize_model(
        made.model,
        made.about,
        options.quantization,
        spec.calibration,
        options.batch_size,
        (options.input_dtype, options.output_dtype),
    )
    return dataclasses.replace(made, model=model, operations=operations, about=about)


def _check_that_it_runs(made: FileContent, name: str) -> None:
    """Refuses operations that the converter writes in 16 bits but that no interpreter runs."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        engine = Interpreter(model_content=made.model)
        engine.allocate_tensors()
        engine.invoke()  # on zeros
    except RuntimeError as error:
        raise ValueError(
            f"The model {name!r} needs operations that LiteRT does not run in int16x8: {error} "
            "Take another quantization."
        ) from error
