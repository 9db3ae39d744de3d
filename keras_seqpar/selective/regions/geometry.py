"""How crops of a frame relate to the outputs of a model: alignment and receptive field.

Cut at the right places, a crop gives the same numbers as the whole frame, except near its own
borders. The right places are multiples of the total stride; how near is the receptive field.
Both follow from the taps of the model's layers.
"""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction

import keras
import numpy as np

from keras_seqpar.networks.graph import replay
from keras_seqpar.selective.axis import Axis
from keras_seqpar.selective.change_maps.flattening import Flat, flatten, graph_of
from keras_seqpar.selective.change_maps.program import Program, Step, compile_program


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How the outputs of a model lie over its frames.

    Args:
        shape: `(height, width, channels)` of a frame.
        output_shape: `(height, width, channels)` of the output.
        rows: of the frame.
        cols: of the frame.
        barrier: why no crop gives what the whole frame gives, or `""`.
    """

    shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    rows: Axis
    cols: Axis
    barrier: str


def geometry(model: keras.Model, input_shape: Sequence[int] | None = None) -> Geometry:
    """Finds alignment and receptive field of a model that gives a map.

    Args:
        model: a functional model from a frame to a map of scores.
        input_shape: `(height, width, channels)`, where the model leaves it open.

    Returns:
        The geometry.

    Raises:
        TypeError: no Keras model.
        ValueError: no functional model, other inputs or outputs than one image and one map,
            or layers that pad crops otherwise than frames of this size.

    Example:

    >>> rows = geometry(model, (360, 480, 3)).rows
    >>> rows.stride, rows.before, rows.after
    """
    flat = flatten(model, input_shape)
    output = _only_map(model, flat)
    program = compile_program(flat, fold=False)
    shape = flat.shapes[flat.inputs[0]]
    output = keras.tree.flatten(program.outputs)[0]
    strange = {**program.unknown, **program.barriers}
    barrier = "; ".join(f"{name!r}: {why}" for name, why in strange.items())
    if barrier or not program.maps.has_positions(program.map_of_value[output]):
        barrier = barrier or "its output does not follow positions of the frame"
    axes = []
    for axis in (0, 1):
        scales = _scales(program, axis)
        stride = math.lcm(*(scale.numerator for scale in scales.values()))
        size, outputs = shape[axis], flat.shapes[output][axis]
        scale = scales[output]
        before, after = (0, 0) if barrier else _reach(program, output, axis, scale, stride)
        axes.append(Axis(size, outputs, stride, scale, before, after))
    found = Geometry(shape, flat.shapes[output], axes[0], axes[1], barrier)
    _check_crops(model, program, found)
    return found


def _only_map(model: keras.Model, flat: Flat) -> int:
    """The number of the one output, which must be a map."""
    outputs = keras.tree.flatten(flat.outputs)
    shapes = [flat.shapes[i] for i in outputs]
    if len(flat.inputs) != 1 or len(outputs) != 1 or len(shapes[0]) != 3:
        raise ValueError(
            f"A segmentation model takes one image and gives one map (height, width, classes); "
            f"{model.name!r} takes {len(flat.inputs)} inputs and gives {shapes}. Make a model of "
            "the map alone with keras.Model(model.inputs, output)."
        )
    return outputs[0]


def _scales(program: Program, axis: int) -> dict[int, Fraction]:
    """Value -> inputs per position of it, of all that has positions."""
    scales = {program.inputs[0]: Fraction(1)}
    for step in program.steps:
        known = [scales[i] for i in step.inputs if i in scales]
        if known:
            for value in step.outputs:
                scales[value] = known[0] * _ratio(step, axis)
    return scales


def _ratio(step: Step, axis: int) -> Fraction:
    """Inputs per output of one step."""
    if step.taps is None:
        return Fraction(1)
    if step.kind in ("conv", "depthwise", "max", "average"):
        return Fraction(step.strides[axis])
    if step.kind == "lay":
        return Fraction(1, step.strides[axis])
    if step.taps.affine:  # padding and cropping
        return Fraction(1)
    return Fraction(step.taps.shape[axis], step.taps.output_shape[axis])


def _reach(program: Program, output: int, axis: int, scale: Fraction, stride: int):
    """How far the output reads before and behind its own place, in inputs.

    Whole rows, or columns, are changed one by one: at both ends, where the other end is far
    away, and in the middle, in every phase of the stride.
    """
    shape = program.shapes[program.inputs[0]][:2]
    size = shape[axis]
    middle = size // 2
    places = {*range(min(stride, size)), *range(max(size - stride, 0), size)}
    places |= {i for i in range(middle, middle + stride) if i < size}
    before = after = 0
    for place in sorted(places):
        changed = np.zeros(shape, bool)
        changed[(slice(None),) * axis + (place,)] = True
        box = program.maps.evaluate(changed).box(program.map_of_value[output])
        if box is not None:
            low, high = box[2 * axis : 2 * axis + 2]
            before = max(before, math.ceil(high * scale) - place)
            after = max(after, place - math.floor(low * scale))
    return before, after


def _check_crops(model: keras.Model, program: Program, found: Geometry) -> None:
    """Refuses sizes of frames whose crops some layer would pad at other places."""
    crop = [axis.size // axis.stride * axis.stride for axis in (found.rows, found.cols)]
    if not all(crop):
        raise ValueError(
            f"Frames of {found.shape[0]}x{found.shape[1]} are smaller than the total stride of "
            f"{model.name!r}, {found.rows.stride}x{found.cols.stride}: no crop would be smaller."
        )
    if tuple(crop) == found.shape[:2]:
        return
    other = compile_program(flatten(open_sizes(model), (*crop, found.shape[2])), fold=False)
    for mine, theirs in zip(program.steps, other.steps, strict=True):
        if mine.taps is None or not mine.taps.affine or mine.taps.is_identity:
            continue
        if any(
            getattr(mine.taps, of)[0, 0] != getattr(theirs.taps, of)[0, 0]
            for of in ("rows", "cols")
        ):
            raise ValueError(
                f"The layer {mine.name!r} pads crops of frames of {found.shape[0]}x"
                f"{found.shape[1]} at another place than the frames. Take frames whose height is "
                f"a multiple of {found.rows.stride} and whose width is one of "
                f"{found.cols.stride}, or padding='valid' behind a ZeroPadding2D."
            )


def open_sizes(model: keras.Model) -> keras.Model:
    """The same network, layers shared, for frames of any size.

    Args:
        model: a functional model of one image.
    """
    shape = model.inputs[0].shape
    if shape[1] is None and shape[2] is None:
        return model

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return replay(graph_of(layer), args[0], call)
        return layer(*args, **kwargs)

    inputs = keras.Input((None, None, shape[3]), dtype=model.inputs[0].dtype)
    return keras.Model(inputs, replay(graph_of(model), inputs, call), name=model.name)
