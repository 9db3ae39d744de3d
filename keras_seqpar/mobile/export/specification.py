"""All that is needed to make a .tflite file: its options, checked for its network."""

import dataclasses
from collections.abc import Iterable

import keras
import numpy as np

from keras_seqpar.families.layers import check_gain
from keras_seqpar.mobile.export.options import INTEGERS, FileOptions
from keras_seqpar.mobile.network import NetworkFacts
from keras_seqpar.mobile.quantization.calibration import check_calibration, check_no_gains
from keras_seqpar.mobile.quantization.score_steps import TAKE_LOGITS, warn_of_coarse_scores
from keras_seqpar.mobile.runtime.activations import ACTIVATIONS
from keras_seqpar.mobile.runtime.runner import LOGITS
from keras_seqpar.utils.names import check_label
from keras_seqpar.utils.sizes import check_sizes
from keras_seqpar.utils.warning import warn_user


@dataclasses.dataclass(frozen=True, eq=False)
class FileSpecification:
    """What to make of a network; `specify` has checked everything.

    Args:
        network: the network.
        options: as the user gave them.
        shape: `(batch, height, width, channels)` of the file's images.
        labels: one per score; empty for a file without labels.
        calibration: the images that set the ranges of the activations; `None` for a file that
            needs none.
        gain_limit: the largest gain of a gains input in integers; `None` without such a limit.
    """

    network: NetworkFacts
    options: FileOptions
    shape: tuple[int, int, int, int]
    labels: tuple[str, ...]
    calibration: np.ndarray | None
    gain_limit: float | None


def specify(
    network: NetworkFacts, options: FileOptions, *, learned_ranges: bool = False
) -> FileSpecification:
    """Checks the options of a file for its network, and derives shape, labels and limits.

    Args:
        network: the network.
        options: of the file.
        learned_ranges: the ranges of the activations come from training, not from calibration.

    Returns:
        All that is needed to make the file.

    Raises:
        TypeError: an option of the wrong type.
        ValueError: the network cannot become such a file, or an option does not fit it.
        RuntimeError: Keras does not run on TensorFlow.
    """
    require_tensorflow()
    size = image_shape(network, options.image_size)
    labels = _labels(network, options.labels)
    limit = _gain_limit(network, options)
    calibration = None
    if not learned_ranges:
        calibration = images_to_calibrate(network, options.calibration, options.quantization, size)
    _check_meaning(network, options)
    return FileSpecification(
        network, options, (options.batch_size, *size), labels, calibration, limit
    )


def require_tensorflow() -> None:
    """Refuses other backends than TensorFlow.

    Raises:
        RuntimeError: it runs on another backend.
    """
    if (backend := keras.config.backend()) != "tensorflow":
        raise RuntimeError(
            f"Conversion needs Keras on TensorFlow, but it runs on {backend}. Set "
            "KERAS_BACKEND=tensorflow before Keras is imported and load the .keras file there."
        )


def images_to_calibrate(
    network: NetworkFacts, images, quantization: str, size: tuple[int, int, int]
) -> np.ndarray | None:
    """Checks the images that set the ranges of a file's activations.

    Args:
        network: the network.
        images: what the user gave.
        quantization: of the file.
        size: `(height, width, channels)` of the file's images.

    Returns:
        The images; `None` where the activations are floats, which need none.

    Raises:
        TypeError: no array of uint8 or floats.
        ValueError: no images, or images that do not fit.
    """
    if quantization not in INTEGERS:
        return None
    return check_calibration(images, quantization, size, network.takes_pixels, network.who)


def image_shape(
    network: NetworkFacts, image_size: tuple[int, int] | None = None
) -> tuple[int, int, int]:
    """The fixed `(height, width, channels)` of a file's images; checks all inputs and outputs.

    Args:
        network: the network.
        image_size: `(height, width)`, for a network that takes images of any size.

    Raises:
        ValueError: the network takes or gives something else, or the size does not fit.
    """
    shape = _input_shape(network.model)
    size = shape[:2]
    if image_size is not None:
        size = check_sizes(image_size, "image_size", "(height, width)")
    if any(have not in (None, want) for have, want in zip(shape[:2], size, strict=True)):
        raise ValueError(
            f"image_size {image_size} does not fit {network.who}, which takes images of "
            f"{shape[0]} x {shape[1]}."
        )
    if None in size:
        raise ValueError(
            f"The model {network.name!r} takes images of any size, but a .tflite file of one size "
            "only. Give image_size=(height, width)."
        )
    return (*size, shape[2])


def _input_shape(model: keras.Model) -> tuple:
    """`(height, width, channels)` of the network's images; `None` stands for any size."""
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
    return shape


def _gain_limit(network: NetworkFacts, options: FileOptions) -> float | None:
    """The largest gain that an integer file can take; `None` where there is no limit.

    It is the smallest limit, `max_gain` or above, at which a gain of 1 is exact. Gains become
    8-bit steps of 0 .. limit: with a limit of 255 / k, the neutral 1 is step k. With 2 as the
    limit, 1 would be step 127.5, and neutral gains would not be neutral.
    """
    has_gains, max_gain = network.gains is not None, options.max_gain
    if max_gain is None:
        check_no_gains(has_gains and options.integers, options.quantization)
        return None
    if not has_gains or not options.integers:
        what = f"a {options.quantization} file" if has_gains else f"{network.who} without gains"
        raise ValueError(
            f"max_gain={max_gain!r} limits the gains input of int8 and int16x8 files; {what} needs "
            "no limit. Leave it out."
        )
    if options.quantizer == "litert":
        raise ValueError(
            "quantizer='litert' calibrates images only, no gains. Take quantizer='tensorflow'."
        )
    if not 1 <= check_gain(max_gain, "max_gain") <= 255:
        raise ValueError(f"max_gain must be in 1 .. 255, got {max_gain!r}. 2 is a usual limit.")
    return 255 / int(255 / float(max_gain))


def _check_meaning(network: NetworkFacts, options: FileOptions) -> None:
    """Refuses files that decide wrongly, and warns of input that other tools misread."""
    if options.quantization == "int16x8" and network.threshold:
        raise ValueError(
            f"The model {network.name!r} stores a threshold for none of these, which int16x8 files "
            "cannot decide on in floats. Take another quantization, or remove the threshold: "
            "keras_seqpar.with_threshold(model, None)."
        )
    activation = network.activation
    if options.outputs == LOGITS and (network.parts is None or activation not in ACTIVATIONS):
        raise ValueError(
            f"outputs='logits' leaves out softmax, sigmoid or linear of a network of this package. "
            f"{network.who} has {activation!r}"
            + ("." if network.parts else " and was built elsewhere.")
            + " Give its last layer no activation, and convert its outputs as they are."
        )
    warn_of_coarse_scores(
        network.outputs,
        activation,
        options.quantization,
        logits=options.outputs == LOGITS,
        who=network.who,
        advice=TAKE_LOGITS
        if network.parts
        else "Build it without its softmax, and compute the scores from its logits in floats.",
    )
    if options.input_dtype == "uint8" and network.takes_pixels is False:
        warn_user(
            f"The model {network.name!r} takes normalized input, so the file's uint8 images are "
            "no pixels: MediaPipe and Android's tools, which feed pixels, get wrong scores. Build "
            "the network with include_preprocessing=True."
        )


def _labels(network: NetworkFacts, labels) -> tuple[str, ...]:
    """The labels to write; empty for none."""
    if labels is False:
        return ()
    if labels is True:
        if network.labels is None:
            warn_user(
                f"The model {network.name!r} is no network of this package, so it has no labels "
                "and no label file is written. Give labels=[...]."
            )
            return ()
        names = network.labels
    elif (
        isinstance(labels, str)
        or not isinstance(labels, Iterable)
        or not all(isinstance(name, str) for name in labels)
    ):
        raise TypeError(f"labels must be True, False or a sequence of strings, got {labels!r}.")
    else:
        names = tuple(labels)
    if len(names) != network.outputs:
        raise ValueError(
            f"{len(names)} labels do not fit a network with {network.outputs} outputs."
        )
    return tuple(map(check_label, names))
