"""All use of TensorFlow's internals for conversion, in this one file.

None of these functions has a public name. `tests/mobile/export/test_compat.py` names each of them
and says what depends on it. TensorFlow is imported here when it is needed.
"""

from collections.abc import Callable


def with_constants(traced):
    """Replaces the variables of a traced function by constants.

    In TensorFlow since 2.0 and in use by its own converter. With constants a conversion takes 6 s
    where a SavedModel takes 36 s (ResNet-50 with 10 branches, 2 cores).
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    made = convert_variables_to_constants_v2(traced)
    for operation in made.graph.get_operations():
        # Swish has a gradient of its own, which cannot be saved with constants in it. The converter
        # would then leave out the signature, without a word.
        if operation.type == "IdentityN":
            operation._clear_attr("_gradient_op_type")
    return made


def calibrated_then_quantized(converter, change: Callable[[bytes], bytes]) -> bytes:
    """Runs the converter's two steps for int8 one by one, with a change between them.

    `tf.lite.experimental.QuantizationDebugger` runs them in the same way. That public class can
    also leave operations in float, but it makes no integer inputs and outputs.

    Args:
        converter: a `tf.lite.TFLiteConverter` for int8.
        change: takes the calibrated float file and returns the one to quantize.

    Returns:
        The content of the int8 file.
    """
    from tensorflow.lite.python.convert import mlir_quantize

    converter._experimental_calibrate_only = True
    return mlir_quantize(
        change(converter.convert()),
        input_data_type=converter.inference_input_type,
        output_data_type=converter.inference_output_type,
    )


def with_integer_ends(content: bytes, ends: tuple[str, str]) -> bytes:
    """Makes an int8 file with float inputs and outputs take and give other types.

    The converter does the same to a network with learned ranges, but only as its last step.

    Args:
        content: the file.
        ends: dtypes of what the file takes and gives.
    """
    import tensorflow as tf
    from tensorflow.lite.python.util import modify_model_io_type

    return bytes(modify_model_io_type(content, *map(tf.as_dtype, ends)))
