"""Which steps of a network do the same, so that what is compiled for one serves for all of them."""

import dataclasses
import json
from collections.abc import Hashable, Sequence
from typing import Any

import keras

from keras_seqpar.selective.change_maps.flattening import Value
from keras_seqpar.selective.change_maps.program import Program


def first_alike(program: Program, places: Sequence[Sequence]) -> list[int]:
    """Per step the first one that does the same with its weights, sources and stores.

    Args:
        program: the network.
        places: per step, for everything that it reads or stores the numbers of the stored maps,
            `None` for what is not stored.
    """
    first: dict[Hashable, int] = {}
    return [first.setdefault(_nature(program, i, places[i]), i) for i in range(len(program.steps))]


def _nature(program: Program, index: int, places: Sequence) -> Hashable:
    """What a step does, whatever its weights are and wherever its sources and stores come from.

    Which positions it reads follows from that.
    """
    step = program.steps[index]
    own: Any = step.activation, [w is not None and w.shape for w in (step.kernel, step.bias)]
    if step.kind not in ("conv", "depthwise"):
        given = keras.tree.map_structure(
            lambda x: Value if isinstance(x, Value) else x, step.arguments
        )
        plain = all(
            x is Value or isinstance(x, (bool, int, float, str)) for x in keras.tree.flatten(given)
        )
        if step.kind == "call" or not plain or getattr(step.layer, "variables", None):
            return index
        try:
            own = type(step.layer), json.dumps(step.layer.get_config() | {"name": ""}), given
        except (NotImplementedError, TypeError):  # it cannot say what it does
            return index
    settings = step.strides, step.dilation, step.padding, step.pads, step.groups, step.fill
    layouts = [
        [None if i is None else dataclasses.astuple(program.layouts[i])[1:] for i in some]
        for some in places  # without the value that it is of
    ]
    shapes = [program.shapes[v] for v in (*step.inputs, *step.outputs)]
    return repr((step.kind, own, settings, layouts, shapes))
