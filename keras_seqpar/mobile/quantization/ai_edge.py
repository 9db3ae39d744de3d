"""The quantizer of Google AI Edge: from a float file to a small one, without TensorFlow."""

import collections
import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from keras_seqpar.mobile.format.flatbuffer import inline, integer_ends, pack, unpack
from keras_seqpar.mobile.runtime.runner import NONE


def to_quantized(
    content: bytes,
    quantization: str,
    calibration: Sequence[np.ndarray],
    limits: tuple[float, float] | None,
    input_dtype: str,
    output_dtype: str,
) -> bytes:
    """Runs the quantizer.

    Args:
        content: a float32 file that `convert` wrote.
        quantization: `"dynamic"` or `"int8"`.
        calibration: for int8, images in batches as the file takes them, float32.
        limits: for int8, the least and the largest value of the images.
        input_dtype: for int8, of the file's images.
        output_dtype: for int8, of the file's scores.

    Returns:
        The content of a .tflite file.

    Raises:
        ImportError: ai-edge-quantizer is not installed.
        ValueError: the quantizer fails.
    """
    try:
        from ai_edge_quantizer import calibrator, quantizer
        from ai_edge_quantizer.qtyping import TFLOperationName as Operation
        from ai_edge_quantizer.utils.qsv_utils import min_max_update
    except ImportError as error:
        raise ImportError(
            f"quantizer='ai_edge' needs ai-edge-quantizer ({error}). Install it: "
            "pip install 'keras-seqpar[mobile]'"
        ) from error

    content = _with_unique_names(content)
    work, found = quantizer.Quantizer(bytearray(content)), None
    everything = Operation.ALL_SUPPORTED
    try:
        if quantization == "dynamic":
            work.add_dynamic_config(".*", everything, num_bits=8)
        else:
            work.add_static_config(".*", everything, activation_num_bits=8, weight_num_bits=8)
            leave = quantizer.AlgorithmName.NO_QUANTIZE
            for end in (Operation.INPUT, Operation.OUTPUT):
                work.update_quantization_recipe(".*", end, algorithm_key=leave)
            work.update_quantization_recipe(NONE, everything, algorithm_key=leave)
            # The ranges are the extremes of all images, as TensorFlow's converter takes them;
            # Quantizer.calibrate would take moving averages.
            samples = [{"image": batch} for batch in calibration]
            with _quiet():
                ranges = calibrator.Calibrator(
                    bytearray(content), num_threads=1, qsv_update_func=min_max_update
                )
                ranges.calibrate({_signature(content): samples}, work._recipe_manager)
            found = ranges.get_model_qsvs()
            for key, value in zip(("min", "max"), limits or (), strict=False):
                found["image"][key] = np.full_like(found["image"][key], value)
        with _quiet():
            made = work.quantize(found, enable_progress_report=False).quantized_model
    except Exception as error:  # the quantizer raises errors of many kinds
        raise ValueError(f"ai-edge-quantizer cannot make a {quantization} file: {error}") from error
    model = unpack(inline(bytes(made)))
    integer_ends(model, input_dtype, output_dtype)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = re.sub(rb"(~\d+|_quantized|_dequant)+$", b"", tensor.name)
    return pack(model)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars, and without the warning that calibration keeps all tensors."""
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
