"""One frame through the runs of a network: all of it, or what changed."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.selective.change_maps.propagation import Changes
from keras_seqpar.selective.keras_engine import cost_model
from keras_seqpar.selective.keras_engine.engine import Engine
from keras_seqpar.selective.keras_engine.runs import MODES
from keras_seqpar.selective.keras_engine.state import StreamState

# Share of the frame that changes in the first call of a mode. It decides in which order a graph of
# TensorFlow keeps the weights, which must be that of many positions: see `size_class`.
_WARM_UP_SHARE = 0.3


def warm_up(engine: Engine, modes: Sequence[str], calibrate: float, prune: float) -> None:
    """Compiles an engine, and measures its cost model, on a frame and stored maps of its own.

    Args:
        engine: the network.
        modes: what is compiled beside the dense pass.
        calibrate: seconds that measuring all modes may take; with 0 nothing is measured.
        prune: as for `stream`.
    """
    shapes, (first, *others) = engine.program.shapes, engine.program.inputs
    frame = np.random.default_rng(0).normal(size=shapes[first]).astype("float32")
    extras = [np.ones((1, *shapes[i]), "float32") for i in others]
    buffers = engine.new_buffers()
    for i in range(len(engine.runs)):
        engine.compute(i, "dense", {}, frame, extras, buffers)
    if calibrate:
        engine.cost_model = cost_model.calibrate(
            engine, frame, extras, buffers, calibrate, prune=prune > 0
        )
        modes = MODES  # those that were not measured in time are never selected
    for mode in () if calibrate else modes:
        limit = 0.0 if prune and mode != "dense" else None
        for trial in cost_model.make_trials(engine, mode, (_WARM_UP_SHARE,)):
            engine.compute(trial.index, mode, trial.regions, frame, extras, buffers, limit)
    engine.warm |= {"dense", *modes}


def compute_all(engine: Engine, state: StreamState, prune: float) -> None:
    """Computes the accepted frame in full.

    Args:
        engine: the network.
        state: holds the accepted frame; gets the stored maps and outputs.
        prune: as for `stream`.
    """
    for i in range(len(engine.runs)):  # the last run gives the outputs
        state.outputs = engine.compute(i, "dense", {}, state.accepted, state.extras, state.buffers)
    state.scales = engine.scales(state.buffers) if prune else []


def compute_changes(
    engine: Engine, state: StreamState, changes: Changes, mode: str, prune: float
) -> tuple[str, int]:
    """Computes what changed.

    Args:
        engine: the network.
        state: holds the accepted frame with its changes, and the stored maps.
        changes: the positions to compute, as the frame implies.
        mode: as for `stream`.
        prune: as for `stream`.

    Returns:
        The mode that was used, `"mixed"` where runs differ, and the number of
        multiply-accumulates.
    """
    map_of = engine.program.map_of_value
    if prune and not state.scales:  # a saved state of a stream that does not prune
        state.scales = engine.scales(state.buffers)
    changes_of_runs, modes, macs, last_is_done = [], set(), 0, False
    for i, run in enumerate(engine.runs):
        changes_of_runs.append(changes)
        if not changes[map_of[run.input]].any():
            continue  # pruning stopped all changes, or no layer reads what changed
        run_mode, run_macs = cost_model.choose_mode(engine, i, changes, mode)
        limit = prune * state.scales[i] if prune and run.output is not None else None
        regions = run.regions(run_mode, changes, engine.backend.size_class)
        result = engine.compute(
            i, run_mode, regions, state.accepted, state.extras, state.buffers, limit
        )
        if run.output is None:
            state.outputs = result
            last_is_done = True
        elif limit is not None:
            map_ = map_of[run.output]
            changes = changes.restarted_at(map_, changes[map_] & result)
        modes.add(run_mode)
        macs += run_macs
    if not last_is_done:
        _update_outputs(engine, state)
    state.changes = changes_of_runs
    return modes.pop() if len(modes) == 1 else "mixed", macs


def _update_outputs(engine: Engine, state: StreamState) -> None:
    """Reads the outputs of earlier runs again, where the last run was left out."""
    program = engine.program
    for i, value in enumerate(keras.tree.flatten(program.outputs)):
        if program.maps.has_positions(program.map_of_value[value]):
            state.outputs[i] = engine.stored_array(value, state.buffers)
