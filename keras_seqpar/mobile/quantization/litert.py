"""litert-quantizer, from Google: a float file -> a quantized one, without TensorFlow."""

import collections
import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from keras_seqpar.mobile.format.flatbuffer import inline, integer_ends
from keras_seqpar.mobile.format.schema import pack, unpack
from keras_seqpar.mobile.quantization.compat import measured_ranges
from keras_seqpar.mobile.runtime.runner import NONE


def to_quantized(
    content: bytes,
    quantization: str,
    calibration: Sequence[np.ndarray],
    limits: tuple[float, float] | None,
    ends: tuple[str, str],
) -> bytes:
    """Runs the quantizer.

    Args:
        content: a float32 file that `convert` wrote.
        quantization: `"dynamic"` or `"int8"`.
        calibration: for int8, images in batches as the file takes them, float32.
        limits: for int8, the least and the largest value of the images.
        ends: for int8, dtypes of the file's images and scores.

    Returns:
        The content of a .tflite file.

    Raises:
        ImportError: litert-quantizer is not installed.
        ValueError: the quantizer fails.
    """
    try:
        from litert_quantizer import quantizer
    except ImportError as error:
        raise ImportError(
            f"quantizer='litert' needs litert-quantizer ({error}). Install it: "
            "pip install 'keras-seqpar[mobile]'"
        ) from error

    content = _with_unique_names(content)
    try:
        with _quiet():
            work = quantizer.Quantizer(bytearray(content))
            ranges = _prepare(work, quantization, content, calibration, limits)
            made = work.quantize(ranges, enable_progress_report=False).quantized_model
    except Exception as error:  # the quantizer raises errors of many kinds
        raise ValueError(f"litert-quantizer cannot make a {quantization} file: {error}") from error
    model = unpack(inline(bytes(made)))
    integer_ends(model, *ends)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = re.sub(rb"(~\d+|_quantized|_dequant)+$", b"", tensor.name)
    return pack(model)


def _prepare(work, quantization: str, content: bytes, calibration, limits):
    """Sets the quantizer's recipe, and measures the ranges that int8 needs.

    Returns:
        For int8, the ranges of all tensors; `None` for dynamic.
    """
    from litert_quantizer import quantizer
    from litert_quantizer.qtyping import TFLOperationName as Operation

    everything = Operation.ALL_SUPPORTED
    if quantization == "dynamic":
        work.add_dynamic_config(".*", everything, num_bits=8)
        return None
    work.add_static_config(".*", everything, activation_num_bits=8, weight_num_bits=8)
    leave = quantizer.AlgorithmName.NO_QUANTIZE
    for end in (Operation.INPUT, Operation.OUTPUT):
        work.update_quantization_recipe(".*", end, algorithm_key=leave)
    work.update_quantization_recipe(NONE, everything, algorithm_key=leave)
    samples = [{"image": batch} for batch in calibration]
    ranges = measured_ranges(work, content, _signature(content), samples)
    for key, value in zip(("min", "max"), limits or (), strict=False):
        ranges["image"][key] = np.full_like(ranges["image"][key], value)
    return ranges


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses progress bars, and the warning that calibration keeps all tensors."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors.*")
        yield


def _signature(content: bytes) -> str:
    return unpack(content).signatureDefs[0].signatureKey.decode()


def _with_unique_names(content: bytes) -> bytes:
    """The quantizer tells tensors apart by name: the second of a name gets a number."""
    model = unpack(content)
    seen: collections.Counter[bytes] = collections.Counter()
    for tensor in model.subgraphs[0].tensors:
        seen[tensor.name] += 1
        if seen[tensor.name] > 1:
            tensor.name += b"~%d" % seen[tensor.name]
    return pack(model)
