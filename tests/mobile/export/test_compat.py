"""TensorFlow's internals that conversion uses are there, and do what conversion needs."""

import importlib
import inspect

import numpy as np
import pytest

from keras_seqpar.mobile.export import compat
from tests.mobile.clients import interpreter

pytestmark = pytest.mark.only_backend("tensorflow")

FUNCTIONS = {
    "tensorflow.python.framework.convert_to_constants.convert_variables_to_constants_v2": {"func"},
    "tensorflow.lite.python.convert.mlir_quantize": {
        *("input_data_str", "input_data_type", "output_data_type"),
    },
    "tensorflow.lite.python.util.modify_model_io_type": {
        *("model", "inference_input_type", "inference_output_type"),
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_without_a_public_name(name):
    import tensorflow as tf

    module, _, function = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError):
        pytest.fail(
            f"TensorFlow {tf.__version__} has no {name} any more. Find what replaces it, and adapt "
            "keras_seqpar/mobile/export/compat.py."
        )
    missing = FUNCTIONS[name] - set(inspect.signature(found).parameters)
    assert not missing, (
        f"TensorFlow {tf.__version__} has changed the arguments of {name}: {missing} are missing. "
        "Adapt keras_seqpar/mobile/export/compat.py."
    )


def converter():
    """A converter of `3 * x`, with 3 in a variable, for x of -1 to 1."""
    import tensorflow as tf

    holder = tf.Module()
    holder.factor = tf.Variable(3.0)
    traced = tf.function(lambda x: holder.factor * x).get_concrete_function(
        tf.TensorSpec((1, 4), "float32", name="x")
    )
    holder.run = compat.with_constants(traced)
    assert not holder.run.variables, "convert_variables_to_constants_v2 leaves variables."
    made = tf.lite.TFLiteConverter.from_concrete_functions([holder.run], holder)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    made.representative_dataset = lambda: iter([[np.array([[-1, 0, 0.5, 1]], "float32")]])
    made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return made


def test_calibration_and_quantization_are_two_steps(tmp_path):
    made = converter()
    assert made._experimental_calibrate_only is False, (
        "TFLiteConverter has no switch _experimental_calibrate_only any more. Adapt "
        "calibrated_then_quantized in keras_seqpar/mobile/export/compat.py."
    )
    seen = []
    content = compat.calibrated_then_quantized(made, lambda x: seen.append(x) or x)
    assert len(seen) == 1 and "int8" not in types(seen[0], tmp_path), (
        "TFLiteConverter quantizes although _experimental_calibrate_only is set."
    )
    assert types(content, tmp_path) == types(converter().convert(), tmp_path), (
        "The two steps give another file than the converter does at once."
    )
    content = compat.with_integer_ends(content, ("uint8", "int8"))
    assert types(content, tmp_path)[:2] == ["uint8", "int8"], (
        "modify_model_io_type does not set the types of inputs and outputs any more."
    )


def types(content, folder):
    """The types of a file's input, output and of all its tensors."""
    (folder / "a.tflite").write_bytes(content)
    engine = interpreter(folder / "a.tflite")
    details = [*engine.get_input_details(), *engine.get_output_details()]
    return [np.dtype(x["dtype"]).name for x in (*details, *engine.get_tensor_details())]
