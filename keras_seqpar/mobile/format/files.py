"""The files that conversion writes: their kinds and their names."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from keras_seqpar.mobile.runtime.labels import LABELS_SUFFIX
from keras_seqpar.utils.files import write_file, write_files
from keras_seqpar.utils.names import unknown_name

QUANTIZATIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
QUANTIZERS = ("tensorflow", "ai_edge")
AI_EDGE_QUANTIZATIONS = ("dynamic", "int8")
DTYPES = ("float32", "uint8", "int8")


@dataclasses.dataclass(frozen=True)
class Converted:
    """A converted network; `print` shows one line.

    Args:
        path: the .tflite file.
        labels_path: the label file beside it, one label per line in the order of the
            outputs, or `None`.
        quantization: one of `QUANTIZATIONS`.
        bytes: size of the .tflite file.
        operations: name of a TFLite operation -> how often the file uses it.
        signatures: keys of a file of several signatures; their labels are inside the file only.
    """

    path: Path
    labels_path: Path | None
    quantization: str
    bytes: int
    operations: Mapping[str, int]
    signatures: tuple[str, ...] = ()

    def __str__(self) -> str:
        labels = f", labels in {self.labels_path.name}" if self.labels_path else ", no labels"
        if self.signatures:
            labels = f", signatures {', '.join(self.signatures)}"
        count = sum(self.operations.values())
        return f"{self.path}: {self.quantization}, {self.bytes:,} bytes, {count} operations{labels}"

    def move(self, path: str | os.PathLike) -> "Converted":
        """Moves the file and its labels on one file system, and replaces existing files.

        Args:
            path: the new path, which ends in `.tflite`.

        Returns:
            The record of the moved files.

        Raises:
            ValueError: the folder does not exist, or `path` does not end in `.tflite`.
        """
        path = check_path(path)
        labels = labels_path(path)
        if self.labels_path:
            os.replace(self.labels_path, labels)
        else:
            labels.unlink(missing_ok=True)  # of a file that was there before
        os.replace(self.path, path)
        return dataclasses.replace(
            self, path=path, labels_path=labels if self.labels_path else None
        )


def check_options(
    quantization: str, input_dtype: str, output_dtype: str, quantizer: str = "tensorflow"
) -> None:
    """Checks that files of this kind can be made.

    Raises:
        ValueError: a quantization, quantizer or dtype is unknown, or two cannot be combined.
    """
    if quantization not in QUANTIZATIONS:
        raise ValueError(unknown_name("quantization", quantization, QUANTIZATIONS))
    if quantizer not in QUANTIZERS:
        raise ValueError(unknown_name("quantizer", quantizer, QUANTIZERS))
    if quantizer == "ai_edge" and quantization not in AI_EDGE_QUANTIZATIONS:
        raise ValueError(
            f"quantizer='ai_edge' makes {' and '.join(AI_EDGE_QUANTIZATIONS)} files, not "
            f"{quantization}. Take quantizer='tensorflow'."
        )
    for name, dtype in (("input_dtype", input_dtype), ("output_dtype", output_dtype)):
        if dtype not in DTYPES:
            raise ValueError(unknown_name(name, dtype, DTYPES))
        if dtype != "float32" and quantization != "int8":
            why = (
                "has 16-bit activations, and takes and gives float32 here"
                if quantization == "int16x8"
                else "computes in floats, so its inputs and outputs are float32"
            )
            raise ValueError(
                f"{name}={dtype!r} needs quantization='int8'; a {quantization} file {why}."
            )


def check_path(path: str | os.PathLike) -> Path:
    """The path of a .tflite file that can be written.

    Raises:
        ValueError: it cannot be written, or does not end in `.tflite`.
    """
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


def labels_path(path: Path) -> Path:
    """The label file beside a .tflite file."""
    return path.with_name(path.stem + LABELS_SUFFIX)


def write(path: Path, content: bytes, labels: bytes | None) -> Path | None:
    """Writes a .tflite file, and its label file where it has labels.

    Returns:
        The path of the label file, or `None`.
    """
    if labels is None:
        write_file(path, content)
        return None
    beside = labels_path(path)
    write_files({beside: labels, path: content})
    return beside
