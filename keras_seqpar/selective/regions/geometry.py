"""How crops of a frame correspond to the output of a network: alignment and receptive field.

A crop gives the same numbers as the full frame, except near its own borders, if it begins at
multiples of the network's total stride. How near is determined by the receptive field. Both
follow from the input positions that the layers read.
"""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction

import keras
import numpy as np

from keras_seqpar.networks.graph import build_model, one_at_a_time, replay
from keras_seqpar.selective.change_maps.flattening import Flat, flatten, graph_of
from keras_seqpar.selective.change_maps.program import Program, compile_program
from keras_seqpar.selective.change_maps.steps import Step
from keras_seqpar.selective.regions.axis import Axis


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How the output of a network corresponds to its frames.

    Args:
        shape: `(height, width, channels)` of a frame.
        output_shape: `(height, width, channels)` of the output.
        rows: axis of the rows.
        cols: axis of the columns.
        barrier: why no crop gives the same output as the full frame; `""` where crops do.
    """

    shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    rows: Axis
    cols: Axis
    barrier: str


def crop_geometry(model: keras.Model, input_shape: Sequence[int] | None = None) -> Geometry:
    """Determines the alignment and the receptive field of a network whose output is a map.

    Args:
        model: a functional model from an image to a map of scores.
        input_shape: `(height, width, channels)`; needed where the model leaves sizes open.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: the model is not functional, does not take one image and give one map, or has
            a layer that pads crops differently from frames of this size.

    Example:

    >>> rows = crop_geometry(model, (360, 480, 3)).rows
    >>> rows.stride, rows.before, rows.after
    """
    flat = flatten(model, input_shape)
    output = _only_map(model, flat)
    program = compile_program(flat, fold=False)
    shape = flat.shapes[flat.inputs[0]]
    output = keras.tree.flatten(program.outputs)[0]
    reasons = {**program.unsupported, **program.barriers}
    barrier = "; ".join(f"{name!r}: {why}" for name, why in reasons.items())
    if barrier or not program.maps.has_positions(program.map_of_value[output]):
        barrier = barrier or "its output has no positions of the frame"
    axes = []
    for axis in (0, 1):
        scales = _scales(program, axis)
        stride = math.lcm(*(scale.numerator for scale in scales.values()))
        size, outputs = shape[axis], flat.shapes[output][axis]
        scale = scales[output]
        before = after = 0
        if not barrier:
            before, after = _receptive_field(program, output, axis, scale, stride)
        axes.append(Axis(size, outputs, stride, scale, before, after))
    found = Geometry(shape, flat.shapes[output], axes[0], axes[1], barrier)
    _check_crops(model, program, found)
    return found


def _only_map(model: keras.Model, flat: Flat) -> int:
    """The number of the model's only output, which must be a map."""
    outputs = keras.tree.flatten(flat.outputs)
    shapes = [flat.shapes[i] for i in outputs]
    if len(flat.inputs) != 1 or len(outputs) != 1 or len(shapes[0]) != 3:
        raise ValueError(
            f"A segmentation model takes one image and gives one map (height, width, classes), but "
            f"{model.name!r} takes {len(flat.inputs)} inputs and gives outputs of the shapes "
            f"{shapes}. Make a model of the map alone with keras.Model(model.inputs, output)."
        )
    return outputs[0]


def _scales(program: Program, axis: int) -> dict[int, Fraction]:
    """Value -> rows (or columns) of the frame per position, for all values with positions."""
    scales = {program.inputs[0]: Fraction(1)}
    for step in program.steps:
        known = [scales[i] for i in step.inputs if i in scales]
        if known:
            for value in step.outputs:
                scales[value] = known[0] * _ratio(step, axis)
    return scales


def _ratio(step: Step, axis: int) -> Fraction:
    """Inputs per output of one step, along one axis."""
    if step.reads is None:
        return Fraction(1)
    if step.kind in ("conv", "depthwise", "max", "average"):
        return Fraction(step.strides[axis])
    if step.kind == "depth_to_space":
        return Fraction(1, step.strides[axis])
    if step.reads.affine:  # padding and cropping
        return Fraction(1)
    return Fraction(step.reads.shape[axis], step.reads.output_shape[axis])


def _receptive_field(program: Program, output: int, axis: int, scale: Fraction, stride: int):
    """How many inputs the output can read before and after its own position.

    Single rows (or columns) are changed, and each change is followed to the output. At both ends
    and in the middle of the frame `stride` rows are tried, one for every phase of the stride. A
    change at one end shows the full receptive field even where it is as large as the frame.
    """
    shape = program.shapes[program.inputs[0]][:2]
    size = shape[axis]
    middle = size // 2
    tried = {*range(min(stride, size)), *range(max(size - stride, 0), size)}
    tried |= {i for i in range(middle, middle + stride) if i < size}
    before = after = 0
    for position in sorted(tried):
        changed = np.zeros(shape, bool)
        changed[(slice(None),) * axis + (position,)] = True
        box = program.maps.evaluate(changed).box(program.map_of_value[output])
        if box is not None:
            low, high = box[2 * axis : 2 * axis + 2]
            before = max(before, math.ceil(high * scale) - position)
            after = max(after, position - math.floor(low * scale))
    return before, after


def _check_crops(model: keras.Model, program: Program, found: Geometry) -> None:
    """Raises a `ValueError` where some layer pads crops differently from frames of this size."""
    crop = [axis.size // axis.stride * axis.stride for axis in (found.rows, found.cols)]
    if not all(crop):
        raise ValueError(
            f"Frames of {found.shape[0]}x{found.shape[1]} are smaller than the total stride of "
            f"{model.name!r}, {found.rows.stride}x{found.cols.stride}, so no crop can be smaller."
        )
    if tuple(crop) == found.shape[:2]:
        return
    other = compile_program(flatten(open_sizes(model), (*crop, found.shape[2])), fold=False)
    for mine, theirs in zip(program.steps, other.steps, strict=True):
        if mine.reads is None or not mine.reads.affine or mine.reads.is_identity:
            continue
        if any(
            getattr(mine.reads, of)[0, 0] != getattr(theirs.reads, of)[0, 0]
            for of in ("rows", "cols")
        ):
            raise ValueError(
                f"The layer {mine.name!r} pads crops of frames of {found.shape[0]}x"
                f"{found.shape[1]} differently from the full frame. Use frames whose height is a "
                f"multiple of {found.rows.stride} and whose width is a multiple of "
                f"{found.cols.stride}, or replace the padding by a ZeroPadding2D layer and "
                f"padding='valid'."
            )


@one_at_a_time
def open_sizes(model: keras.Model) -> keras.Model:
    """The same network for frames of any size; it shares the layers of `model`.

    Args:
        model: a functional model with one image as its input.
    """
    shape = model.inputs[0].shape
    if shape[1] is None and shape[2] is None:
        return model

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return replay(graph_of(layer), args[0], call)
        return layer(*args, **kwargs)

    inputs = keras.Input((None, None, shape[3]), dtype=model.inputs[0].dtype)
    return build_model(inputs, replay(graph_of(model), inputs, call), name=model.name)
