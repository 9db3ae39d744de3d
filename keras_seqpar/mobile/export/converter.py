"""TensorFlow's converter: a Keras network -> the content of a .tflite file.

TensorFlow is imported here when it is needed.
"""

import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np

from keras_seqpar.mobile.export.compat import calibrated_then_quantized, with_constants
from keras_seqpar.mobile.export.first_layers import rewrite_first_layers
from keras_seqpar.mobile.images import batches


def no_samples() -> Iterator:
    """No calibration samples: for files whose activations are floats."""
    return iter(())


def to_tflite(
    model: keras.Model,
    shape: tuple[int, ...],
    quantization: str,
    samples: Callable[[], Iterator] = no_samples,
    ends: tuple[str, str] = ("float32", "float32"),
) -> bytes:
    """Runs TensorFlow's converter. Gains stay floats at the file's input.

    Args:
        model: a network in float32; a second output is the decision on none of these.
        shape: `(batch, height, width, channels)` of the file's images.
        quantization: as for `convert`.
        samples: returns the calibration samples that set the ranges of integers.
        ends: dtypes of the images and of the scores of an int8 file.

    Returns:
        The content of a .tflite file, as TensorFlow writes it.

    Raises:
        ValueError: TFLite cannot express the network.
    """
    converter = _converter(rewrite_first_layers(model, (shape[1], shape[2])), shape)
    _configure(converter, quantization, samples, None if len(model.inputs) > 1 else ends)
    try:
        with warnings.catch_warnings():
            # The calibrator uses TensorFlow's interpreter, which tells its users to move.
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated.*")
            if quantization == "int8" and len(model.outputs) > 1:
                return _with_float_decision(converter)
            return converter.convert()
    except Exception as error:  # the converter raises errors of many kinds
        raise ValueError(
            f"TensorFlow cannot convert the model {model.name!r} to {quantization} with TFLite's "
            f"built-in operations: {error}"
        ) from error


def _converter(model: keras.Model, shape: tuple[int, ...]):
    """A converter of the network with fixed shapes and constant weights."""
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, "float32", name="image")]
    if len(model.inputs) == 2:
        nodes = model.inputs[1].shape[-1]
        specs.append(tf.TensorSpec((shape[0], nodes), "float32", name="gains"))
    traced = tf.function(
        lambda *inputs: model(list(inputs) if len(inputs) > 1 else inputs[0], training=False),
        autograph=False,
    ).get_concrete_function(*specs)
    holder = tf.Module()
    holder.run = with_constants(traced)
    return tf.lite.TFLiteConverter.from_concrete_functions([holder.run], holder)


def _configure(
    converter, quantization: str, samples: Callable[[], Iterator], ends: tuple[str, str] | None
) -> None:
    """Sets the options of the converter; `ends` is `None` if inputs and outputs stay floats."""
    import tensorflow as tf

    if quantization != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization not in ("int8", "int16x8"):
        return
    converter.representative_dataset = samples
    kinds = tf.lite.OpsSet
    converter.target_spec.supported_ops = (
        [kinds.TFLITE_BUILTINS_INT8]
        if quantization == "int8"
        else [
            kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            kinds.TFLITE_BUILTINS,  # float, where there is no kernel of that kind
        ]
    )
    if ends is not None:
        converter.inference_input_type, converter.inference_output_type = map(tf.as_dtype, ends)


def _with_float_decision(converter) -> bytes:
    """Quantizes all but the decision on none of these, which starts from int8 logits.

    With ranges measured on the calibration images, which show the network's categories, the
    decision may be 0 on all of them, and an output of the range 0 to 0 cannot become 1.
    """
    from keras_seqpar.mobile.format.flatbuffer import without_ranges

    return calibrated_then_quantized(converter, without_ranges)


def calibration_samples(
    images: np.ndarray,
    batch: int,
    takes_pixels: bool | None,
    gains: tuple[int, float] | None = None,
) -> Iterator[list[np.ndarray] | dict[str, np.ndarray]]:
    """Yields calibration images in batches of one size, as the network takes them.

    A network with a gains input sees every batch twice: with neutral gains, and with all gains at
    their limit.

    Args:
        images: checked images.
        batch: images per sample.
        takes_pixels: the network takes pixels of 0 to 255.
        gains: how many gains the network takes, and their limit; `None` without a gains input.
    """
    for i, some in enumerate(batches(images, batch)):
        if i == 0 and (takes_pixels or images.dtype == np.uint8):
            # The input must span all pixels, so that uint8 input has scale 1 and zero point 0,
            # whatever the brightest image is: one pixel of one image, channel by channel,
            # becomes black and one white. That leaves the activations as they are.
            some[0, 0, 0], some[0, -1, -1] = 0, 255
        if gains is None:
            yield [some]
            continue
        count, limit = gains
        for gain in (1.0, limit):
            values = np.full((batch, count), gain, "float32")
            yield {"image": some, "gains": values}  # by name: the converter chooses the order
