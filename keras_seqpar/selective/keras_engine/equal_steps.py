"""Finds steps that compute the same with other weights, so that one compilation serves them all."""

import dataclasses
import json
from collections.abc import Hashable, Sequence
from typing import Any

import keras

from keras_seqpar.selective.change_maps.flattening import Value
from keras_seqpar.selective.change_maps.program import Program


def first_equal_steps(program: Program, buffers: Sequence[Sequence]) -> list[int]:
    """For each step, the index of the first step that computes the same.

    Two steps are equal if they do the same with their weights, inputs and stored maps, of which
    only the layouts have to agree.

    Args:
        program: the network.
        buffers: for each step, the indices of the stored maps that it reads and writes; `None`
            for an input that is not stored.
    """
    first: dict[Hashable, int] = {}
    count = len(program.steps)
    return [first.setdefault(_signature(program, i, buffers[i]), i) for i in range(count)]


def _signature(program: Program, index: int, buffers: Sequence) -> Hashable:
    """A value that is equal for equal steps; the index of the step if it has no equal.

    The positions that a step reads follow from its settings, so they are not in it.
    """
    step = program.steps[index]
    own: Any = step.activation, [w is not None and w.shape for w in (step.kernel, step.bias)]
    if step.kind not in ("conv", "depthwise"):
        arguments = keras.tree.map_structure(
            lambda x: Value if isinstance(x, Value) else x, step.arguments
        )
        plain = all(
            x is Value or isinstance(x, (bool, int, float, str))
            for x in keras.tree.flatten(arguments)
        )
        if step.kind == "call" or not plain or getattr(step.layer, "variables", None):
            return index
        try:
            own = type(step.layer), json.dumps(step.layer.get_config() | {"name": ""}), arguments
        except (NotImplementedError, TypeError):  # a layer without a config to compare
            return index
    settings = step.strides, step.dilation, step.padding, step.pads, step.groups, step.fill
    layouts = [
        [None if i is None else dataclasses.astuple(program.stored_maps[i])[1:] for i in some]
        for some in buffers  # the layout without the number of the value
    ]
    shapes = [program.shapes[v] for v in (*step.inputs, *step.outputs)]
    return repr((step.kind, own, settings, layouts, shapes))
