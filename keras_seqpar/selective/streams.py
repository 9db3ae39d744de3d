"""Streams: a network run on frame after frame, computing only what changed."""

import dataclasses
import functools
import math
import threading
import time
import weakref
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_seqpar.selective.axis import RECEPTIVE_FIELD, check_number, check_refresh
from keras_seqpar.selective.change_maps.flattening import fingerprint, flatten
from keras_seqpar.selective.change_maps.program import Program, compile_program
from keras_seqpar.selective.change_maps.propagation import Changes
from keras_seqpar.selective.detector import Detector, distance, region
from keras_seqpar.selective.frames import check
from keras_seqpar.selective.keras_engine import schedule as passes
from keras_seqpar.selective.keras_engine.engine import Engine
from keras_seqpar.selective.keras_engine.runs import MODES, PRUNED, WHOLE
from keras_seqpar.selective.keras_engine.state import Item, load_item
from keras_seqpar.selective.results import Result, Shares, Stats, together
from keras_seqpar.utils.names import unknown_name

_engines: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def stream(
    model: keras.Model,
    *,
    threshold=0.0,
    luminance: bool = False,
    dilate: int = 0,
    drop_single: bool = False,
    learn: int = 5,
    only=None,
    never=None,
    prune: float = 0.0,
    reach: int | str = RECEPTIVE_FIELD,
    refresh: int | None = None,
    input_shape: Sequence[int] | None = None,
    unsupported: str = "error",
    mode: str = "auto",
    calibrate: float = 20.0,
    freeze: bool = False,
) -> "Stream":
    """Makes a stream: a network that computes again only what changed from frame to frame.

    With a threshold of 0 every output equals the dense network's, up to the rounding of float32:
    batch normalization is folded into convolutions, and sums are formed in another order; `prune`
    and `reach` ask for less. The weights are taken as they are now; after more training make a
    new stream. Streams of one model share its weights and compiled code, those that prune apart
    from those that do not.

    A network of less than about 10 ms per frame gains nothing: it is quicker dense. See `report`
    for what can be gained at all.

    Args:
        model: a functional Keras model of images `(height, width, channels)`, channels last,
            in float32: networks of this package, cutouts, nets of `keras.applications`. Further
            inputs, such as gains, are vectors.
        threshold: from which difference on a position counts as changed, in the frame's units;
            one number, one per channel, or `"auto"`; see `Detector`.
        luminance: compare luminance instead of channels.
        dilate: positions by which changes are grown.
        drop_single: leave out changed positions without a changed neighbor.
        learn: frames of a still scene that `threshold="auto"` learns from.
        only: look for changes only here: a boolean `(height, width)` map, or boxes
            `(top, left, bottom, right)` in pixels.
        never: look for no changes here; likewise.
        prune: 0 is exact. With a share above 0, changes that have become small stop inside the
            network: between its segments (blocks of a trunk), positions where no channel
            differs from what is stored by more than this share of the stored map's root mean
            square keep what is stored, and nothing that follows from them is computed. What is
            stored is what was last let through, so a slow drift adds up until it passes.
        reach: `"receptive_field"` is exact: a change is followed to everything that reads it. With
            a number, maps are computed again only where the change lies in them and up to so
            many pixels of the frame around; what it does farther away stays as it was, so that
            it adds up: see `refresh`.
        refresh: compute the whole frame every so many frames; `None` for never.
        input_shape: `(height, width, channels)`, where the model leaves it open.
        unsupported: `"error"` refuses a model with layers that no rule is known for, `"dense"`
            computes them, and all that follows them, anew for every frame that changed.
        mode: `"auto"` chooses for every frame, and with `prune` for every segment; `"dense"`
            (everything), `"rectangle"` (one around what changed), `"positions"` (just those that
            changed) and `"tiles"` (those of 8 x 8 positions in which something changed) force
            one.
        calibrate: seconds that measuring this machine may take at the first frame; 0 for none.
            Modes that were not measured within them are not chosen.
        freeze: make the weights constants of the compiled graphs (TensorFlow only): quicker for
            large changes, and larger by many copies of the weights (some 30 of ResNet-50's).

    Returns:
        The stream: call it with frames.

    Raises:
        TypeError: no Keras model, or an argument of the wrong type.
        ValueError: no functional model of images in float32, an unsupported layer, or an
            argument out of range.

    Example:

    >>> camera = stream(model, threshold=20)
    >>> for frame in frames:  # (height, width, channels)
    ...     result = camera(frame)
    ...     print(result.output.argmax(), result.stats.mode, result.stats.saved)
    """
    detector = Detector(threshold, luminance, dilate, drop_single, learn)
    if mode not in ("auto", *MODES):
        raise ValueError(unknown_name("mode", mode, ("auto", *MODES)))
    if unsupported not in ("error", "dense"):
        raise ValueError(unknown_name("value of unsupported", unsupported, ("error", "dense")))
    if isinstance(calibrate, bool) or not isinstance(calibrate, (int, float)) or calibrate < 0:
        raise ValueError(f"calibrate must be a number of seconds of 0 or more, got {calibrate!r}.")
    if isinstance(prune, bool) or not isinstance(prune, (int, float)) or not 0 <= prune < math.inf:
        raise ValueError(f"prune must be a finite share of 0 or more, got {prune!r}.")
    if freeze and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"freeze=True is for the TensorFlow backend, this is {keras.backend.backend()}: leave "
            "it out."
        )
    check_number("reach", reach, 0, words=True)
    check_refresh(refresh)
    flat = flatten(model, input_shape)
    for call in flat.calls:
        dtype = getattr(call.layer, "compute_dtype", None) or "float32"
        if dtype != "float32":
            raise ValueError(
                f"The layer {call.name!r} computes in {dtype}; streams compute in float32. Build "
                'the model again under keras.config.set_dtype_policy("float32") and copy its '
                "weights."
            )
    detector.check(flat.shapes[flat.inputs[0]])
    hash_ = fingerprint(flat)
    share = PRUNED if prune else WHOLE
    key = id(model), hash_, bool(freeze), share
    engine = _engines.get(key)
    program = compile_program(flat) if engine is None else engine.program
    if program.unknown and unsupported == "error":
        reasons = "; ".join(f"{name!r}: {why}" for name, why in program.unknown.items())
        raise ValueError(
            f"Changes cannot be followed through all layers of {model.name!r} ({reasons}). "
            'With unsupported="dense" these layers, and what follows them, are computed '
            "anew for every frame that changed."
        )
    if engine is None:
        engine = _engines[key] = Engine(program, freeze=freeze, share=share)
        engine.model = model  # kept alive, so that no other model gets its id
    return Stream(
        engine,
        hash_,
        detector,
        only=only,
        never=never,
        mode=mode,
        calibrate=float(calibrate),
        prune=float(prune),
        reach=reach,
        refresh=refresh,
    )


class Stream:
    """A network with what it has seen; made by `stream`. Not to be used by two threads at once.

    Example:

    >>> camera = stream(model)
    >>> result = camera(frame)
    >>> np.savez("camera.npz", **camera.state_dict())
    >>> later = stream(model)
    >>> later.load_state(np.load("camera.npz"))
    """

    def __init__(
        self, engine: Engine, key: str, detector: Detector,
        *, only, never, mode: str, calibrate: float, prune: float,
        reach: int | str, refresh: int | None,
    ):  # fmt: skip
        self._engine = engine
        self._key = key
        self._detector = detector
        self._mode = mode
        self._calibrate = calibrate
        self._prune = prune
        self._reach = reach
        self._refresh = refresh
        self._items: list[Item] = []
        self._dtype: np.dtype | None = None
        self._busy = threading.Lock()
        self.look(only=only, never=never)

    @property
    def program(self) -> Program:
        """The network as it is run."""
        return self._engine.program

    @property
    def fingerprint(self) -> str:
        """A hash of the network with its weights and size of frames."""
        return self._key

    @property
    def state_bytes(self) -> int:
        """Size of everything that is kept from frame to frame."""
        kept = self.program.state_bytes * len(self._items)
        return kept + sum(x.accepted.nbytes for x in self._items)

    def look(self, *, only=None, never=None) -> None:
        """Sets where changes are looked for from now on; `None` takes a limit away.

        What lies outside keeps the value it had when it was last looked at. The first frame is
        taken as a whole.

        Args:
            only: only here, as for `stream`.
            never: not here.

        Raises:
            ValueError: no map or boxes of the frame's size.
        """
        shape = self._shape[:2]
        wanted = np.ones(shape, bool) if only is None else region(only, shape, "only").copy()
        if never is not None:
            wanted &= ~region(never, shape, "never")
        self._wanted = None if wanted.all() else wanted

    def __call__(self, frame, *, mask=None) -> Result:
        """Takes a frame.

        Args:
            frame: `(height, width, channels)`, or with a batch axis: then every item of the
                batch is a stream of its own. For models with more inputs a list: the frame, then
                the others.
            mask: the positions to take from this frame, found by the caller, instead of looking
                for changes: as `only` of `stream`.

        Returns:
            The output and what it took.

        Raises:
            TypeError: no numbers, or other types of numbers than before.
            ValueError: another size than the model's, another batch than before, NaN or
                infinite values, or a mask of another size.
            RuntimeError: another thread is using this stream.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(
                "This stream is in use by another thread. Frames of one stream come one after "
                "the other; make one stream per thread, they share the weights."
            )
        try:
            return self._run(frame, mask)
        finally:
            self._busy.release()

    def change_map(self, layer: str | None = None, *, item: int = 0) -> np.ndarray:
        """The positions that the last frame made necessary to compute.

        Args:
            layer: name of a layer; by default the frame itself.
            item: which item of the batch.

        Returns:
            Boolean `(height, width)` of the layer's output, `()` for what has no positions.

        Raises:
            ValueError: no frame was seen yet, an unknown layer or item.
        """
        if not 0 <= item < len(self._items) or not self._items[item].complete:
            raise ValueError(f"No frame was seen yet for item {item} of the batch.")
        if layer is not None and layer not in self.program.layers:
            raise ValueError(unknown_name("layer", layer, list(self.program.layers)))
        return self._found(self._items[item].changes, layer).copy()

    def reset(self) -> None:
        """Forgets all frames; the next one may have another batch or another type."""
        self._items, self._dtype = [], None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that is kept from frame to frame, as arrays for `numpy.savez`."""
        state = {"fingerprint": np.array(self._key), "items": np.array(len(self._items))}
        for i, item in enumerate(self._items):
            if not item.complete:
                raise ValueError("The last frame failed, so there is no state. Call reset().")
            state |= item.state_dict(f"item{i}_", self._engine.backend)
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes over a state, on any backend; the frames go on where it was taken.

        Args:
            state: from `state_dict`, or what `numpy.load` reads of it.

        Raises:
            ValueError: the state of another network, or one that is incomplete or damaged.
        """
        if "fingerprint" not in state or str(state["fingerprint"]) != self._key:
            theirs = str(state["fingerprint"]) if "fingerprint" in state else "no fingerprint"
            raise ValueError(
                f"This state belongs to another network ({theirs}, not {self._key}): structure, "
                "weights or size of the frames differ. Load it into a stream of its own model."
            )
        try:
            items = [
                load_item(state, f"item{i}_", self._detector, self._engine)
                for i in range(int(state["items"]))
            ]
        except KeyError as error:
            raise ValueError(f"The state is not complete: {error} is missing.") from None
        self._items = items
        self._dtype = items[0].accepted.dtype if items else None

    def _found(self, changes: Sequence[Changes] | None, layer: str | None) -> np.ndarray:
        """Where a layer, or the frame, was computed; `changes` as in `Item`."""
        program = self.program
        map_ = program.maps.SOURCE if layer is None else program.layers[layer][0]
        if changes is None:
            return np.ones(program.maps.shape(map_) or (), bool)
        return changes[0 if layer is None else self._engine.segment_of[layer]][map_]

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.program.shapes[self.program.inputs[0]]

    def _run(self, given, mask) -> Result:
        frames, extras = check(given, self.program, len(self._items), self._dtype)
        mask = None if mask is None else region(mask, self._shape[:2], "mask")
        if not self._items:
            self._items = [
                Item(self._engine.new_buffers(), dataclasses.replace(self._detector, _seen=[]))
                for _ in frames
            ]
            self._dtype = frames.dtype
        stats = tuple(
            self._advance(item, frame, [x[i : i + 1] for x in extras], mask)
            for i, (item, frame) in enumerate(zip(self._items, frames, strict=True))
        )
        arrays = [np.concatenate(x) for x in zip(*(i.outputs for i in self._items), strict=True)]
        output = keras.tree.pack_sequence_as(self.program.outputs, arrays)
        return Result(output, together(stats), stats)

    def _advance(self, item: Item, frame: np.ndarray, extras: list, mask) -> Stats:
        """Brings one item of the batch to its next frame."""
        start = time.perf_counter()
        engine = self._engine
        dense = sum(segment.macs for segment in engine.segments)
        same = item.complete and all(map(np.array_equal, extras, item.extras))
        exact = item.detector.is_exact and mask is None and self._wanted is None
        due = self._refresh is not None and item.since_full + 1 >= self._refresh
        if not same or item.detector.is_learning or due:
            if item.complete and item.detector.is_learning:
                item.detector.observe(frame, item.accepted)
            item.complete, item.changes = False, None
            item.accepted, item.extras = frame.copy(), [x.copy() for x in extras]
            mode, macs, share, item.since_full = "dense", dense, 1.0, 0
            passes.renew(engine, item, self._mode, self._calibrate, self._prune)
        else:
            changed = item.detector(frame, item.accepted) if mask is None else mask
            if self._wanted is not None and mask is None:
                changed = changed & self._wanted
            share = float(np.count_nonzero(changed) / changed.size)
            mode, macs = "cached", 0
            item.since_full += 1
            found = engine.program.maps.evaluate(changed, self._reach)
            item.changes = [found] * len(engine.segments)
            if share:
                item.complete = False
                if exact or share == 1:
                    item.accepted[:] = frame
                else:
                    rows = np.flatnonzero(changed)  # much quicker than with the map itself
                    accepted, new = (x.reshape(changed.size, -1) for x in (item.accepted, frame))
                    accepted[rows] = new[rows]
                mode, macs = passes.update(engine, item, found, self._mode, self._prune)
        item.complete = True
        drift = 0.0
        if not exact and item.changes is not None:
            drift = float(distance(frame, item.accepted).max())
        return Stats(
            mode=mode,
            changed=share,
            macs=macs,
            macs_dense=dense,
            milliseconds=1000 * (time.perf_counter() - start),
            drift=drift,
            state_bytes=self.state_bytes,
            traces=engine.traces,
            layers=Shares(engine.program, functools.partial(self._found, item.changes)),
        )
