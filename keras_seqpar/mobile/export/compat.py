"""TensorFlow's converter. TensorFlow is imported here, when it is needed."""

import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np

from keras_seqpar.mobile.export.first_layers import rewrite_first_layers
from keras_seqpar.mobile.images import batches
from keras_seqpar.mobile.network import takes_pixels


def to_tflite(
    model: keras.Model,
    shape: tuple[int, ...],
    quantization: str,
    calibration: Callable[[], Iterator],
    input_dtype: str,
    output_dtype: str,
) -> bytes:
    """Runs TensorFlow's converter. Gains stay floats at the file's input.

    Args:
        model: a network in float32; a second output is the decision on none of these.
        shape: `(batch, height, width, channels)` of the file's input.
        quantization: as for `convert`, as all that follows.
        calibration: returns the samples that set the ranges for int8.
        input_dtype: of the file's inputs.
        output_dtype: of the file's outputs.

    Returns:
        The content of a .tflite file, as TensorFlow writes it.

    Raises:
        ValueError: TFLite cannot express the network.
    """
    import tensorflow as tf

    model = rewrite_first_layers(model, (shape[1], shape[2]))
    # In TensorFlow since 2.0 and in use by its own converter, but without a public name. With
    # constants in place of variables a conversion takes 6 s where a SavedModel takes 36 s
    # (ResNet-50 with 10 branches, 2 cores).
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    specs = [tf.TensorSpec(shape, "float32", name="image")]
    if len(model.inputs) == 2:
        nodes = model.inputs[1].shape[-1]
        specs.append(tf.TensorSpec((shape[0], nodes), "float32", name="gains"))
    traced = tf.function(
        lambda *inputs: model(list(inputs) if len(inputs) > 1 else inputs[0], training=False),
        autograph=False,
    ).get_concrete_function(*specs)
    holder = tf.Module()
    holder.run = convert_variables_to_constants_v2(traced)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([holder.run], holder)
    if quantization != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization in ("int8", "int16x8"):
        converter.representative_dataset = calibration
        kinds = tf.lite.OpsSet
        converter.target_spec.supported_ops = (
            [kinds.TFLITE_BUILTINS_INT8]
            if quantization == "int8"
            else [
                kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                kinds.TFLITE_BUILTINS,  # float, where there is no kernel of that kind
            ]
        )
        if len(specs) == 1:
            converter.inference_input_type = tf.as_dtype(input_dtype)
            converter.inference_output_type = tf.as_dtype(output_dtype)
    keep_float = quantization == "int8" and len(model.outputs) > 1
    try:
        with warnings.catch_warnings():
            # The calibrator uses TensorFlow's interpreter, which tells its users to move.
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated.*")
            return _with_float_decision(converter) if keep_float else converter.convert()
    except Exception as error:  # the converter raises errors of many kinds
        raise ValueError(
            f"TensorFlow cannot convert the model {model.name!r} to {quantization} with TFLite's "
            f"built-in operations: {error}"
        ) from error


def _with_float_decision(converter) -> bytes:
    """Quantizes all but the decision on none of these, which starts from int8 logits.

    Its ranges would be those of the calibration images. These show the network's categories: the
    decision is 0 on all of them, perhaps, and an output of the range 0 to 0 cannot say 1.
    """
    from tensorflow.lite.python.convert import mlir_quantize

    from keras_seqpar.mobile.format.flatbuffer import without_ranges

    # The two steps of convert() for int8, as tf.lite.experimental.QuantizationDebugger takes them.
    # That public class also leaves nodes in float, but has no integer inputs and outputs.
    converter._experimental_calibrate_only = True
    return mlir_quantize(
        without_ranges(converter.convert()),
        input_data_type=converter.inference_input_type,
        output_data_type=converter.inference_output_type,
    )


def samples(
    model: keras.Model, calibration, batch: int, max_gain: float | None = None
) -> Iterator[list[np.ndarray] | dict[str, np.ndarray]]:
    """Yields calibration images, an array, in batches of one size, as the network takes them.

    A network with a gains input sees every batch twice: with neutral gains, and with all gains at
    `max_gain`.
    """
    for i, some in enumerate(batches(calibration, batch)):
        if i == 0 and (takes_pixels(model) or calibration.dtype == np.uint8):
            # The input must span all pixels, so that uint8 input has scale 1 and zero point 0,
            # whatever the brightest image is: one pixel of one image, channel by channel,
            # becomes black and one white. That leaves the activations as they are.
            some[0, 0, 0], some[0, -1, -1] = 0, 255
        if max_gain is None:
            yield [some]
            continue
        for gain in (1.0, max_gain):
            gains = np.full((batch, model.inputs[1].shape[-1]), gain, "float32")
            yield {"image": some, "gains": gains}  # by name: the converter chooses the order


def gain_limit(max_gain: float) -> float:
    """The least limit of gains from `max_gain` on at which 1 is exact.

    Gains become 8-bit steps of 0 .. limit: with a limit of 255 / k, the neutral 1 is step k. With
    2 as the limit it would be 127.5 steps, and neutral gains would not be neutral.
    """
    return 255 / int(255 / max_gain)
