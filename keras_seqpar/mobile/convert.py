"""Keras network -> .tflite file and label file."""

import contextlib
import dataclasses
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.hierarchy import unknown_name
from keras_seqpar.mobile.converter import samples, to_tflite
from keras_seqpar.mobile.network import (
    check_pictures,
    in_float32,
    labels_of,
    normalisation,
    parts_of,
)
from keras_seqpar.mobile.runner import LABELS_SUFFIX, NONE
from keras_seqpar.unknowns import none_of_these

QUANTIZATIONS = ("float32", "float16", "dynamic", "int8")
DTYPES = ("float32", "uint8", "int8")
# Fewer pictures than this leave the ranges of the activations to chance.
FEW_PICTURES = 50


@dataclasses.dataclass(frozen=True)
class Converted:
    """A converted network; `print` shows it in a line.

    Args:
        path: the .tflite file.
        labels_path: the label file beside it, one label per line in the order of the
            outputs, or `None`.
        quantization: one of `QUANTIZATIONS`.
        bytes: size of the .tflite file.
        operations: name of a TFLite operation -> how often the file uses it.
    """

    path: Path
    labels_path: Path | None
    quantization: str
    bytes: int
    operations: Mapping[str, int]

    def __str__(self) -> str:
        labels = f", labels in {self.labels_path.name}" if self.labels_path else ", no labels"
        count = sum(self.operations.values())
        return f"{self.path}: {self.quantization}, {self.bytes:,} bytes, {count} operations{labels}"

    def move(self, path: str | os.PathLike) -> "Converted":
        """Moves the file and its labels on one file system, replacing what is there.

        Args:
            path: the new place, ending in `.tflite`.

        Returns:
            The record of the moved files.

        Raises:
            ValueError: the folder does not exist, or `path` does not end in `.tflite`.
        """
        path = _check_path(path)
        labels = _labels_path(path)
        if self.labels_path:
            os.replace(self.labels_path, labels)
        else:
            labels.unlink(missing_ok=True)  # of a file that was there before
        os.replace(self.path, path)
        return dataclasses.replace(
            self, path=path, labels_path=labels if self.labels_path else None
        )


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
) -> Converted:
    """Writes a network as a .tflite file with built-in operations only.

    The file's input is called `image`, its output `scores`; all shapes are fixed. A network
    with a gains input keeps it as the input `gains`, `(batch_size, nodes)`. One that stores a
    threshold (`with_threshold`) gets a second output, `none_of_these`, `(batch_size, 1)`: 1 where
    the picture shows none of the categories, else 0. A network in mixed precision is converted in
    float32. Networks from elsewhere convert too; they have no labels and nothing says how their
    pictures are normalised.

    Needs Keras on the TensorFlow backend. A `.keras` file saved on any backend loads there.

    Args:
        model: a network with one picture input, for example a cutout.
        path: where to write, ending in `.tflite`; the folder must exist.
        quantization: `"float32"`; `"float16"`, half the size; `"dynamic"`, int8 weights and
            float32 activations, a quarter of the size and nearly float; `"int8"`, weights
            (per channel) and activations in int8, for integer hardware. Operations without
            an int8 kernel stay float between QUANTIZE and DEQUANTIZE: none in ResNets, the
            normalisations of ConvNeXt V2.
        calibration: for int8, real pictures `(n, height, width, channels)` as the network
            takes them, uint8 or floats; 100 to 500 are enough. They set the ranges of the
            activations: what lies beyond is clipped.
        input_dtype: for int8, `"uint8"` or `"int8"` make the file take integers: for a
            network that takes pixels, uint8 are the pixels (scale 1, zero point 0).
        output_dtype: for int8, likewise, of the scores. `none_of_these` is decided on the logits
            inside the file, and is float32 in every one.
        batch_size: the fixed number of pictures per run.
        image_size: `(height, width)`, for a network that takes pictures of any size.
        labels: write `<name>.labels.txt`, one label per line in the order of the outputs; a
            sequence of labels replaces the network's own.

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
    ...                calibration=pictures, input_dtype="uint8")
    """
    parts = parts_of(model)  # TypeError
    path = _check_path(path)
    _check_options(quantization, input_dtype, output_dtype, batch_size)
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"Conversion needs Keras on TensorFlow, but it runs on {backend}. Set "
            "KERAS_BACKEND=tensorflow before Keras is imported and load the .keras file there."
        )
    shape = (batch_size, *_picture_shape(model, image_size))
    if quantization == "int8":
        calibration = _check_calibration(model, calibration, shape)
    names = _check_labels(model, labels)

    from keras_seqpar.mobile.flatbuffer import rewrite  # needs the [mobile] extra, as TensorFlow

    network, outputs = in_float32(model), ["scores"]
    known = normalisation(model)
    about = {
        "network": model.name,
        "quantization": quantization,
        **({"mean": known[0], "std": known[1]} if known else {}),
    }
    if parts and parts.threshold:
        network = none_of_these(network)
        outputs.append(NONE)
        about[NONE] = parts.threshold.get_config()
    content = to_tflite(
        network,
        shape,
        quantization,
        lambda: samples(model, calibration, batch_size),
        input_dtype,
        output_dtype,
    )
    content, operations = rewrite(content, outputs=outputs, description=json.dumps(about))
    labels_path = None
    if names:
        labels_path = _labels_path(path)
        _write(labels_path, "".join(f"{name}\n" for name in names).encode())
    _write(path, content)
    return Converted(path, labels_path, quantization, len(content), operations)


def _check_options(quantization, input_dtype, output_dtype, batch_size) -> None:
    if quantization not in QUANTIZATIONS:
        raise ValueError(unknown_name("quantization", quantization, QUANTIZATIONS))
    for name, dtype in (("input_dtype", input_dtype), ("output_dtype", output_dtype)):
        if dtype not in DTYPES:
            raise ValueError(unknown_name(name, dtype, DTYPES))
        if dtype != "float32" and quantization != "int8":
            raise ValueError(
                f"{name}={dtype!r} needs quantization='int8'; a {quantization} file computes in "
                "floats, so its inputs and outputs are float32."
            )
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of 1 or more, got {batch_size!r}.")


def _picture_shape(model: keras.Model, image_size) -> tuple[int, int, int]:
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
            "picture input, and those of keras_seqpar.attention_input with a second called gains."
        )
    if len(outputs) != 1:
        raise ValueError(
            f"The model {model.name!r} has {len(outputs)} outputs. Convertible are models with one."
        )
    shape = tuple(inputs[0].shape[1:])
    if len(shape) != 3 or "float" not in inputs[0].dtype:
        raise ValueError(
            f"The model {model.name!r} takes {inputs[0].dtype} of shape {shape}. Convertible are "
            "models that take pictures, (height, width, channels), as floats."
        )
    size = shape[:2] if image_size is None else tuple(image_size)
    if len(size) != 2 or any(
        have not in (None, want) for have, want in zip(shape, size, strict=False)
    ):
        raise ValueError(
            f"image_size {image_size} does not fit the model {model.name!r}, which takes pictures "
            f"of {shape[0]} x {shape[1]}."
        )
    if None in size:
        raise ValueError(
            f"The model {model.name!r} takes pictures of any size, but a .tflite file of one size "
            "only. Give image_size=(height, width)."
        )
    return (*size, shape[2])


def _check_calibration(model, calibration, shape) -> np.ndarray:
    if len(model.inputs) > 1:
        raise ValueError(
            "A network with a gains input cannot become int8: gains above those calibrated would "
            "be clipped silently. Take quantization='dynamic', or set constant gains with "
            "keras_seqpar.attend."
        )
    if calibration is None:
        raise ValueError(
            "quantization='int8' needs calibration: some hundred real pictures of the kind that "
            "the network will see, as an array (n, height, width, channels)."
        )
    calibration = check_pictures(model, calibration, shape[1:], "calibration pictures")
    if calibration.min() == calibration.max():
        raise ValueError(
            f"All values of the calibration pictures are {calibration.min()}: these are no real "
            "pictures, so the ranges of the activations would be wrong."
        )
    if len(calibration) < FEW_PICTURES:
        warnings.warn(
            f"Calibration on {len(calibration)} picture(s): the ranges of the activations may be "
            f"too narrow. Take {FEW_PICTURES} or more, of every category.",
            stacklevel=3,
        )
    return calibration


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


def _check_path(path: str | os.PathLike) -> Path:
    path = Path(path).expanduser()
    if path.suffix != ".tflite":
        raise ValueError(f"The path must end in .tflite, got {str(path)!r}.")
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder. Name a file.")
    if not path.parent.is_dir():
        raise ValueError(f"The folder {str(path.parent)!r} does not exist. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"The folder {str(path.parent)!r} is not writable.")
    return path


def _labels_path(path: Path) -> Path:
    return path.with_name(path.stem + LABELS_SUFFIX)


def _write(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name first, so that it is whole or not there."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
