"""A frame goes through the segments of a network: everything anew, or what changed."""

from keras_seqpar.selective.change_maps.propagation import Changes
from keras_seqpar.selective.keras_engine import cost_model as choice
from keras_seqpar.selective.keras_engine.engine import Engine
from keras_seqpar.selective.keras_engine.state import Item


def renew(engine: Engine, item: Item, mode: str, calibrate: float, prune: float) -> None:
    """Computes everything.

    Args:
        engine: the network; the first time it gets its cost model, where one is wanted.
        item: what is kept; its accepted frame is computed.
        mode: as for `stream`.
        calibrate: seconds, as for `stream`.
        prune: as for `stream`.
    """
    for i in range(len(engine.segments)):  # the last one gives the outputs
        item.outputs = engine.run(i, "dense", {}, item.accepted, item.extras, item.buffers)
    item.scales = engine.scales(item.buffers) if prune else []
    if mode == "auto" and calibrate and engine.cost_model is None:
        engine.cost_model = choice.calibrate(
            engine, item.accepted, item.extras, item.buffers, calibrate, prune=prune > 0
        )


def update(
    engine: Engine, item: Item, changes: Changes, mode: str, prune: float
) -> tuple[str, int]:
    """Computes what changed.

    Args:
        engine: the network.
        item: what is kept; its accepted frame has the change.
        changes: what the frame makes necessary to compute.
        mode: as for `stream`.
        prune: as for `stream`.

    Returns:
        In which mode, `"mixed"` for several, and with how many multiply-accumulates.
    """
    map_of = engine.program.map_of_value
    if prune and not item.scales:  # the state of a stream that does not prune
        item.scales = engine.scales(item.buffers)
    found, modes, done = [], set(), 0
    for i, segment in enumerate(engine.segments):
        found.append(changes)
        if not changes[map_of[segment.entry]].any():
            continue  # all that changed was let go of before
        chosen, macs = choice.choose(engine, i, changes, mode)
        limit = prune * item.scales[i] if prune and segment.made is not None else None
        regions = segment.regions(chosen, changes, engine.backend.fit)
        made = engine.run(i, chosen, regions, item.accepted, item.extras, item.buffers, limit)
        if segment.made is None:
            item.outputs = made
        elif limit is not None:
            map_ = map_of[segment.made]
            changes = changes.after(map_, changes[map_] & made)
        modes.add(chosen)
        done += macs
    item.changes = found
    return modes.pop() if len(modes) == 1 else "mixed", done
