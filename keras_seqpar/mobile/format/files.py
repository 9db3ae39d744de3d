"""The files that conversion writes: their kinds and their names."""

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_seqpar.mobile.runtime.checks.checksum import UNKNOWN, sealed
from keras_seqpar.mobile.runtime.labels import LABELS_SUFFIX
from keras_seqpar.utils.files import replacing
from keras_seqpar.utils.names import unknown_name

QUANTIZATIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
"""The kinds of files that `convert` writes, and in which numbers they keep weights and compute.

Example:

>>> QUANTIZATIONS
('float32', 'float16', 'dynamic', 'int8', 'int16x8')
"""
QUANTIZERS = ("tensorflow", "litert")
"""What can quantize: TensorFlow's converter, or litert-quantizer.

Example:

>>> QUANTIZERS
('tensorflow', 'litert')
"""
LITERT_QUANTIZATIONS = ("dynamic", "int8")
DTYPES = ("float32", "uint8", "int8")
"""The types that inputs and outputs of a file can have; the integers only with int8.

Example:

>>> DTYPES
('float32', 'uint8', 'int8')
"""


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

    Example:

    >>> made = convert(cutout(model, ["cat"]), "cat.tflite", quantization="float16")
    >>> made.path.name, made.labels_path.read_text().split()
    ('cat.tflite', ['cat'])
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
        old = self.labels_path
        with _without_other_labels(path, old.read_bytes() if old else None):
            os.replace(self.path, path)
        if old:
            os.replace(old, labels_path(path))
        return dataclasses.replace(self, path=path, labels_path=labels_path(path) if old else None)


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
    if quantizer == "litert" and quantization not in LITERT_QUANTIZATIONS:
        raise ValueError(
            f"quantizer='litert' makes {' and '.join(LITERT_QUANTIZATIONS)} files, not "
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
    """Writes a .tflite file with its SHA-256 in it, and its label file where it has labels.

    Labels are inside the file as well. So the label file of another model goes before the model is
    replaced, and the new one comes after it: no model is ever beside the labels of another,
    wherever the process is killed.

    Returns:
        The path of the label file, or `None`.

    Raises:
        OSError: writing failed. Files that were there before are kept.
    """
    beside = labels_path(path)
    if labels is not None and beside.is_dir():
        raise IsADirectoryError(f"{str(beside)!r} is a folder, and the labels would be there.")
    with contextlib.ExitStack() as stack:  # what is entered first is done last
        if labels is not None:
            stack.enter_context(replacing(beside)).write_bytes(labels)
        with contextlib.ExitStack() as hiding, replacing(path) as temporary:
            temporary.write_bytes(seal(content))
            hiding.enter_context(_without_other_labels(path, labels))
    return None if labels is None else beside


@contextlib.contextmanager
def _without_other_labels(path: Path, labels: bytes | None) -> Iterator[None]:
    """Hides the label file of a model that the block replaces; it comes back where that fails.

    Args:
        path: of the model.
        labels: of the new model; a label file of the same content stays.
    """
    beside = labels_path(path)
    if not beside.is_file() or beside.read_bytes() == labels:
        yield
        return
    hidden = beside.with_name(f".labels.{uuid.uuid4().hex[:8]}.tmp.txt")
    os.replace(beside, hidden)
    try:
        yield
    except BaseException:
        os.replace(hidden, beside)
        raise
    hidden.unlink()


def seal(content: bytes) -> bytes:
    """Writes the SHA-256 of a file into it, where it has a place for one.

    Args:
        content: a .tflite file from `flatbuffer.rewrite` or `flatbuffer.merge`, perhaps changed
            afterwards.

    Returns:
        The file, of the same length.
    """
    start = content.rfind(UNKNOWN[:-64])
    return content if start < 0 else sealed(content, start)
