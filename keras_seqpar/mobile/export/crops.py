"""Keras segmentation network -> one .tflite file with signatures for whole frames and crops."""

import dataclasses
import os
from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.mobile.export.options import FileOptions
from keras_seqpar.mobile.export.signatures import make_files, write_joined
from keras_seqpar.mobile.format.files import Converted, check_path
from keras_seqpar.mobile.network import read_network
from keras_seqpar.mobile.runtime.crop_plan import FULL, Layout, Size, signature_of
from keras_seqpar.selective.arguments import RECEPTIVE_FIELD, check_number
from keras_seqpar.selective.change_maps.flattening import graph_of
from keras_seqpar.selective.regions.axis import Axis
from keras_seqpar.selective.regions.geometry import Geometry, crop_geometry, open_sizes


def convert_crops(
    model: keras.Model,
    path: str | os.PathLike,
    crops: Sequence[Size],
    *,
    image_size: Size | None = None,
    margin: int | str = RECEPTIVE_FIELD,
    quantization: str = "float32",
    calibration: np.ndarray | None = None,
    labels: Sequence[str] | None = None,
    **options,
) -> Converted:
    """Writes a segmentation network for `CropStream`: whole frames, and crops of fixed sizes.

    The file has the signature `full` for frames and one like `crop_64x96` per size, with the
    weights stored once. `Runner.about["crops"]` contains what an app needs to put crops together:
    sizes, stride and receptive field. An app loads it once; memory grows with every signature that
    is run.

    A crop gives the same outputs as the whole frame where the receptive field ends inside the crop.
    So a crop for one changed pixel must be about four times as wide as the receptive field to one
    side. Smaller crops serve streams with a margin in pixels.

    Args:
        model: a functional Keras model from an image `(height, width, channels)` to a map
            `(height, width, classes)` of scores, of any resolution.
        path: where to write, ending in `.tflite`; the folder must exist.
        crops: `(height, width)` of every size, multiples of the network's total stride, no larger
            than the frame and larger than twice the margin. Two or three are usual.
        image_size: `(height, width)` of frames, for a network that takes any.
        margin: the smallest margin that streams will have, in pixels; a smaller margin allows
            smaller crops.
        quantization: as for `convert`. Only float32 files give the same classes for crops as for
            whole frames: in others each signature has its own scales.
        calibration: for int8 and int16x8, real frames `(n, height, width, channels)`; crops are
            calibrated with tiles of them.
        labels: names of the classes; they are stored in the file.
        **options: others of `convert`, without `batch_size`.

    Returns:
        What was written.

    Raises:
        TypeError: no Keras model, no pairs of whole numbers in `crops`, or an option of the wrong
            type or unknown.
        ValueError: a network that gives no map; frames or crops that its stride does not divide;
            a crop as large as the frame, no larger than twice the margin, or named twice; or what
            `convert` refuses.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. A file that was there before is kept.

    Example:

    >>> made = convert_crops(
    ...     model, "street.tflite", [(48, 48), (96, 128)], image_size=(180, 240), margin=6
    ... )
    >>> camera = CropStream(made.path, margin=6, threshold=24)
    """
    network = read_network(model)  # TypeError
    path = check_path(path)
    if "batch_size" in options:
        raise TypeError("Streams take one frame at a time: leave out batch_size=.")
    found = crop_geometry(model, _frame_shape(model, image_size))
    check_number("margin", margin, 0, allow_receptive_field=True)
    sizes = _check_sizes(model, found, crops, margin)
    asked = FileOptions(
        quantization=quantization,
        calibration=calibration,
        labels=False if labels is None else labels,
        **options,
    )
    any_size = open_sizes(model)
    signatures = {FULL: (found.rows.size, found.cols.size)}
    signatures |= {signature_of(size): size for size in sizes}
    made = make_files(
        (key, any_size, _options_for(size, asked, found)) for key, size in signatures.items()
    )
    layout = Layout(found.shape, found.rows, found.cols, sizes, found.barrier)  # type: ignore[arg-type]
    about = {**made[FULL].about, "signatures": list(made), "crops": layout.get_config()}
    text = f"Scores of {found.output_shape[2]} classes at every position; with crops."
    return write_joined(path, network, made, about, asked, text)


def _frame_shape(model: keras.Model, image_size: Size | None) -> tuple[int, int, int] | None:
    """`(height, width, channels)` of frames; `None` for those that the network names."""
    *size, channels = graph_of(model).inputs[0].shape[1:]  # ValueError
    if image_size is not None:
        return (*_pair(image_size, "image_size"), channels)
    if None in size:
        raise ValueError(
            f"The model {model.name!r} takes images of any size, but a .tflite file of fixed "
            "ones only. Give image_size=(height, width) of the frames."
        )
    return None


def _check_sizes(model: keras.Model, found: Geometry, crops, margin) -> tuple[Size, ...]:
    """The sizes of crops; refuses invalid ones."""
    frame, axes = found.shape[:2], (found.rows.limited(margin), found.cols.limited(margin))
    stride = tuple(axis.stride for axis in axes)
    if any(side % step for side, step in zip(frame, stride, strict=True)):
        fitting = tuple(side // step * step for side, step in zip(frame, stride, strict=True))
        raise ValueError(
            f"Frames of {_text(frame)} are no multiples of the stride {_text(stride)} of "
            f"{model.name!r}, so no crop of a fixed size would end where they end. Give frames of "
            f"{_text(fitting)}, for example."
        )
    if isinstance(crops, str) or not isinstance(crops, Sequence):
        raise TypeError(f"crops must be a list of (height, width), got {crops!r}.")
    if not crops:
        raise ValueError("Name at least one size of crops: [(64, 64)].")
    sizes = [_pair(size, "A crop") for size in crops]
    for size in sizes:
        if sizes.count(size) > 1:
            raise ValueError(f"The crop {_text(size)} is named twice. Leave one out.")
        if any(side % step or side < 1 for side, step in zip(size, stride, strict=True)):
            raise ValueError(
                f"The crop {_text(size)} is no multiple of the stride {_text(stride)} of "
                f"{model.name!r}. Nearest: {_text(tuple(map(_nearest, size, stride)))}."
            )
        if size == frame or any(side > most for side, most in zip(size, frame, strict=True)):
            raise ValueError(
                f"The crop {_text(size)} must be smaller than the frame, {_text(frame)}."
            )
        if any(map(_sees_nothing, size, axes)):
            seen = tuple(axis.before + axis.after for axis in axes)
            raise ValueError(
                f"The crop {_text(size)} is no larger than twice the margin of {margin!r}, "
                f"{_text(seen)} for {model.name!r}: nothing would be left of it. Take a larger "
                "crop, or name the margin that streams will have: margin=6."
            )
    return tuple(sizes)


def _sees_nothing(side: int, axis: Axis) -> bool:
    """Every output of such a crop depends on values outside the crop."""
    return side < axis.size and side <= axis.before + axis.after


def _nearest(side: int, stride: int) -> int:
    return max(1, round(side / stride)) * stride


def _pair(given, name: str) -> Size:
    size = tuple(given) if isinstance(given, (list, tuple)) else ()
    if len(size) != 2 or any(isinstance(x, bool) or not isinstance(x, int) for x in size):
        raise TypeError(f"{name} must be (height, width) in whole pixels, got {given!r}.")
    return size


def _text(size) -> str:
    return "x".join(map(str, size))


def _options_for(size: Size, options: FileOptions, found: Geometry) -> FileOptions:
    """The options of the file for one size; it is calibrated with tiles of the frames."""
    tiles = _tiles(options.calibration, found, size)
    return dataclasses.replace(options, image_size=size, calibration=tiles)


def _tiles(images, found: Geometry, size) -> np.ndarray | None:
    """Images cut into tiles of a size; the last ones of a row or column overlap."""
    frame = found.shape[:2]
    if images is None or tuple(np.shape(images)[1:3]) != frame:
        return images  # `specify` checks them and names what is wrong
    starts = [
        sorted({*range(0, most - side + 1, side), most - side})
        for most, side in zip(frame, size, strict=True)
    ]
    return np.concatenate(
        [
            np.asarray(images)[:, top : top + size[0], left : left + size[1]]
            for top in starts[0]
            for left in starts[1]
        ]
    )
