"""Keras network -> .tflite file and label file."""

import json
import os
import warnings
from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.families.layers import check_gain
from keras_seqpar.mobile.export.compat import gain_limit, samples, to_tflite
from keras_seqpar.mobile.format.files import Converted, check_options, check_path, write
from keras_seqpar.mobile.images import check_spread
from keras_seqpar.mobile.network import (
    check_images,
    in_float32,
    labels_of,
    normalization,
    parts_of,
    takes_pixels,
)
from keras_seqpar.mobile.quantization.post_training import (
    check_no_gains,
    no_calibration,
    quantized,
    say_few,
)
from keras_seqpar.mobile.runtime.reading import Contents
from keras_seqpar.mobile.runtime.runner import NONE
from keras_seqpar.networks.parts import Parts
from keras_seqpar.surgery.unknowns import none_of_these


def convert(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    quantization: str = "dynamic",
    calibration: np.ndarray | None = None,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
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
    float32. Networks from elsewhere convert too; they have no labels and nothing says how their
    images are normalized.

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
            normalizations of ConvNeXt V2; `"int16x8"`, int8 weights and 16-bit activations: near
            to float, but interpreters have only slow reference kernels for it on CPUs (11.4 ms
            where int8 takes 0.11 ms: ResNet-18 PHL of width 0.25 at 32 pixels), so it is for
            hardware that knows it.
        calibration: for int8 and int16x8, real images `(n, height, width, channels)` as the
            network takes them, uint8 or floats; 100 to 500 are enough. They set the ranges of the
            activations: what lies beyond is clipped.
        input_dtype: for int8, `"uint8"` or `"int8"` make the file take integers: for a
            network that takes pixels, uint8 are the pixels (scale 1, zero point 0).
        output_dtype: for int8, likewise, of the scores. `none_of_these` is decided on the logits
            inside the file, and is float32 in every one.
        batch_size: the fixed number of images per run.
        image_size: `(height, width)`, for a network that takes images of any size.
        labels: write `<name>.labels.txt`, one label per line in the order of the outputs, and
            the same into the file; a sequence of labels replaces the network's own. `False`
            leaves out the hierarchy as well.
        quantizer: `"tensorflow"`, TensorFlow's converter, or `"ai_edge"`, ai-edge-quantizer, for
            dynamic and int8. `keras_seqpar.mobile.quantize` is the latter alone.
        max_gain: for int8 and int16x8 files of a network with a gains input: the largest gain to
            calibrate for, up to 255. Integers cannot go beyond what was calibrated, so `Runner`
            clips larger gains and says so; the file says the limit, `max_gain` or a little more
            (that 1 stays exact), in `Runner.about`. A larger one leaves coarser steps to neutral
            gains. Gains are floats at the input of every file.
        description: what the metadata says about the file; by default what it was made of.
        author: for the metadata.
        license: for the metadata: under which the weights may be used, an SPDX identifier, say.

    Returns:
        What was written.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown quantization or dtype; calibration that is missing or does not
            fit; a network that TFLite cannot express; a path that cannot be written.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. Files that were there before are kept.

    Example:

    >>> made = convert(cutout(model, ["cat", "dog"]), "pets.tflite", quantization="int8",
    ...                calibration=images, input_dtype="uint8")
    """
    parts = parts_of(model)  # TypeError
    path = check_path(path)
    _check_options(quantization, input_dtype, output_dtype, batch_size, quantizer)
    for name, text in (("description", description), ("author", author), ("license", license)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name} must be a text, got {text!r}.")
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"Conversion needs Keras on TensorFlow, but it runs on {backend}. Set "
            "KERAS_BACKEND=tensorflow before Keras is imported and load the .keras file there."
        )
    shape = (batch_size, *_image_shape(model, image_size))
    limit = _check_max_gain(model, max_gain, quantization, quantizer)
    if quantization in ("int8", "int16x8"):
        calibration = _check_calibration(model, calibration, shape, quantization)
    _check_meaning(model, parts, quantization, input_dtype)
    names = _check_labels(model, labels)

    # These need the [mobile] extra, as TensorFlow.
    from keras_seqpar.mobile.format.flatbuffer import rewrite
    from keras_seqpar.mobile.format.metadata import append, associated_files, metadata

    network, outputs = in_float32(model), ["scores"]
    inputs = ["image", "gains"][: len(model.inputs)]
    known = normalization(model)
    about = facts(model, parts, known, quantization) | ({"max_gain": limit} if limit else {})
    if parts and parts.threshold:
        network = none_of_these(network)
        outputs.append(NONE)
        about[NONE] = parts.threshold.get_config()
    files = associated_files(
        labels=names,
        gains=[node.label for node in parts.hierarchy.nodes] if parts and "gains" in inputs else (),
        none=NONE in outputs,
        hierarchy=parts.hierarchy if parts and names else None,
    )
    content = to_tflite(
        network,
        shape,
        "float32" if quantizer == "ai_edge" else quantization,
        lambda: samples(model, calibration, batch_size, limit),
        input_dtype,
        output_dtype,
    )
    content, operations = rewrite(
        content,
        outputs=outputs,
        description=json.dumps(about),
        metadata=metadata(
            files,
            name=model.name,
            description=description or f"Scores {model.outputs[0].shape[-1]} categories.",
            author=author,
            license=license,
            channels=shape[-1],
            normalization=known,
            graphs={"": [*inputs[1:], *outputs[1:]]},
        ),
        ends=(input_dtype, output_dtype) if limit else None,
    )
    if quantizer == "ai_edge":
        contents = Contents(about, names or None, files)
        content, operations = quantized(
            content, contents, quantization, calibration, batch_size, input_dtype, output_dtype
        )
    else:
        content = append(content, files)
    if quantization == "int16x8":
        _check_runs(content, model.name)
    text = "".join(f"{name}\n" for name in names).encode() if names else None
    return Converted(path, write(path, content, text), quantization, len(content), operations)


def facts(model: keras.Model, parts: Parts | None, known, quantization: str) -> dict:
    """What a file says of its network, for those who read it.

    Args:
        model: the network.
        parts: its parts; `None` for a network that is none of this package.
        known: its `normalization`.
        quantization: of the file.
    """
    return {
        "network": model.name,
        "quantization": quantization,
        **({"mean": known[0], "std": known[1]} if known else {}),
        **({"activation": parts.classifier_activation} if parts else {}),
    }


def _check_options(
    quantization, input_dtype, output_dtype, batch_size, quantizer="tensorflow"
) -> None:
    check_options(quantization, input_dtype, output_dtype, quantizer)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of 1 or more, got {batch_size!r}.")


def _image_shape(model: keras.Model, image_size) -> tuple[int, int, int]:
    """The fixed `(height, width, channels)` of the file's input; checks all inputs."""
    try:
        inputs, outputs = list(model.inputs or []), list(model.outputs or [])
    except AttributeError:  # a Sequential model that is not built
        inputs, outputs = [], []
    if not inputs:
        raise ValueError(
            f"The model {model.name!r} has no known inputs: build it, or write it as a functional "
            "model."
        )
    names = [x.name for x in inputs]
    if len(inputs) > 1 and (len(inputs) > 2 or names[1] != "gains"):
        raise ValueError(
            f"The model {model.name!r} has the inputs {names}. Convertible are models with one "
            "image input, and those of keras_seqpar.attention_input with a second called gains."
        )
    if len(outputs) != 1:
        raise ValueError(
            f"The model {model.name!r} has {len(outputs)} outputs. Convertible are models with one."
        )
    shape = tuple(inputs[0].shape[1:])
    if len(shape) != 3 or "float" not in inputs[0].dtype:
        raise ValueError(
            f"The model {model.name!r} takes {inputs[0].dtype} of shape {shape}. Convertible are "
            "models that take images, (height, width, channels), as floats."
        )
    size = shape[:2] if image_size is None else tuple(image_size)
    if len(size) != 2 or any(
        have not in (None, want) for have, want in zip(shape, size, strict=False)
    ):
        raise ValueError(
            f"image_size {image_size} does not fit the model {model.name!r}, which takes images "
            f"of {shape[0]} x {shape[1]}."
        )
    if None in size:
        raise ValueError(
            f"The model {model.name!r} takes images of any size, but a .tflite file of one size "
            "only. Give image_size=(height, width)."
        )
    return (*size, shape[2])


def _check_max_gain(model, max_gain, quantization: str, quantizer: str) -> float | None:
    """The limit of the gains; `None` where there is none."""
    has_gains = len(model.inputs) > 1
    integers = quantization in ("int8", "int16x8")
    if max_gain is None:
        check_no_gains(has_gains and integers, quantization)
        return None
    if not has_gains or not integers:
        what = f"a {quantization} file" if has_gains else f"the model {model.name!r} without gains"
        raise ValueError(
            f"max_gain={max_gain!r} limits the gains input of int8 and int16x8 files; {what} needs "
            "no limit. Leave it out."
        )
    if quantizer == "ai_edge":
        raise ValueError(
            "quantizer='ai_edge' calibrates images only, no gains. Take quantizer='tensorflow'."
        )
    if not 1 <= check_gain(max_gain, "max_gain") <= 255:
        raise ValueError(f"max_gain must lie in 1 .. 255, got {max_gain!r}. 2 is a usual limit.")
    return gain_limit(float(max_gain))


def _check_calibration(model, calibration, shape, quantization="int8") -> np.ndarray:
    if calibration is None:
        raise no_calibration(quantization)
    calibration = check_images(model, calibration, shape[1:], "calibration images")
    check_spread(calibration)
    say_few(calibration)
    return calibration


def _check_meaning(
    model: keras.Model, parts: Parts | None, quantization: str, input_dtype: str
) -> None:
    """Refuses what cannot be right, and warns of what other tools would get wrong."""
    if quantization == "int16x8" and parts and parts.threshold:
        raise ValueError(
            f"The model {model.name!r} stores a threshold for none of these, which int16x8 files "
            "cannot decide on in floats. Take another quantization, or remove the threshold: "
            "keras_seqpar.with_threshold(model, None)."
        )
    if input_dtype == "uint8" and takes_pixels(model) is False:
        warnings.warn(
            f"The model {model.name!r} takes normalized input, so the file's uint8 images are "
            "no pixels: MediaPipe and Android's tools, which feed pixels, get wrong scores. Build "
            "the network with include_preprocessing=True.",
            stacklevel=3,
        )


def _check_runs(content: bytes, name: str) -> None:
    """Refuses operations that the converter writes in 16 bits and no interpreter runs so."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        engine = Interpreter(model_content=content)
        engine.allocate_tensors()
        engine.invoke()  # on zeros
    except RuntimeError as error:
        raise ValueError(
            f"The model {name!r} needs operations that LiteRT does not run in int16x8: {error} "
            "Take another quantization."
        ) from error


def _check_labels(model: keras.Model, labels) -> tuple[str, ...]:
    """The labels to write; none for an empty tuple."""
    if labels is False:
        return ()
    if labels is True:
        names = labels_of(model)
        if names is None:
            warnings.warn(
                f"The model {model.name!r} is no network of this package, so it has no labels and "
                "no label file is written. Give labels=[...].",
                stacklevel=3,
            )
            return ()
    elif isinstance(labels, str) or not all(isinstance(name, str) for name in labels):
        raise TypeError(f"labels must be True, False or a sequence of strings, got {labels!r}.")
    else:
        names = tuple(labels)
    count = model.outputs[0].shape[-1]
    if len(names) != count:
        raise ValueError(f"{len(names)} labels do not fit a network with {count} outputs.")
    if broken := [name for name in names if not name or len(name.splitlines()) > 1]:
        raise ValueError(
            f"The label {broken[0]!r} does not fit into a label file of one line per label."
        )
    return names
