"""Streams: a network that runs on frame after frame and computes only what changed."""

import dataclasses
import os
import time
import weakref
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_seqpar.selective.arguments import RECEPTIVE_FIELD, check_stream
from keras_seqpar.selective.change_maps.flattening import Flat, fingerprint, flatten
from keras_seqpar.selective.change_maps.program import Program, compile_program
from keras_seqpar.selective.change_maps.propagation import Changes
from keras_seqpar.selective.detector import Detector, distance
from keras_seqpar.selective.frame_stream import FrameStream
from keras_seqpar.selective.keras_engine import schedule
from keras_seqpar.selective.keras_engine.backend import check_freeze
from keras_seqpar.selective.keras_engine.engine import Engine
from keras_seqpar.selective.keras_engine.runs import MIN_SHARE_PRUNED, MODES, ONE_RUN
from keras_seqpar.selective.keras_engine.state import StreamState, load_stream_state
from keras_seqpar.selective.litert_engine.opening import check_no_file_options, open_stream
from keras_seqpar.selective.litert_engine.stream import FileStream
from keras_seqpar.selective.results import Result, Stats, layer_shares, of_batch
from keras_seqpar.utils.names import unknown_name

_engines: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def stream(
    model: keras.Model | str | os.PathLike,
    *,
    threshold=0.0,
    luminance: bool = False,
    dilate: int = 0,
    drop_single: bool = False,
    learn: int = 5,
    color: str = "rgb",
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
    **of_files,
) -> "Stream | FileStream":
    """Makes a stream: a network that computes again only what changed from frame to frame.

    With a threshold of 0 every output equals the dense network's, up to rounding in float32:
    batch normalization is folded into convolutions, and sums are computed in another order.
    `prune` and `reach` trade exactness for speed. The weights are those at the time of the call:
    make a new stream after more training. Streams of one model share its weights and compiled
    code, but streams that prune do not share with those that do not.

    Frames are RGB. Those that OpenCV reads are BGR: pass `color="bgr"`. Nothing can notice that
    red and blue are swapped, but predictions and the luminance are wrong then. The first frame
    waits until the network is compiled and measured, which takes seconds; `Stream.warm_up` does
    this before.

    A network that takes less than about 10 ms per frame gains nothing: run it dense. `report`
    tells how much a stream of a network can save.

    The path of a .tflite file gives a `FileStream`: on LiteRT, exact to the bit, faster on CPUs.

    Args:
        model: the path of a .tflite file, or a functional Keras model of images `(height, width,
            channels)`, channels last, in float32: networks of this package, cutouts, networks of
            `keras.applications`. Further inputs, such as gains, must be vectors.
        threshold: a position changed if a channel differs by more than this, in the units of the
            frames: one number, one per channel, or `"auto"`; see `Detector`.
        luminance: compare the luminance instead of each channel.
        dilate: positions by which changes are grown.
        drop_single: ignore changed positions that have no changed neighbor.
        learn: number of frames of a still scene from which `threshold="auto"` learns the noise.
        color: order of the channels of the frames: `"rgb"`, or `"bgr"` as OpenCV reads them. The
            network gets RGB either way.
        only: look for changes only here: a boolean `(height, width)` map, or boxes
            `(top, left, bottom, right)` in pixels.
        never: do not look for changes here; same types as `only`.
        prune: with 0 the stream is exact. With a share above 0, small changes stop between the
            runs of the network (blocks of a trunk): a position of a stored map keeps its old
            value, and nothing after it is computed, if no channel differs from the old value by
            more than this share of the map's root mean square. A slow drift adds up until it
            exceeds this limit.
        reach: with `"receptive_field"` the stream is exact: a change is followed to all outputs
            that read it. With a number, a map is computed only where the change itself is and up
            to this number of pixels of the frame around it. Farther away old values stay, so
            errors add up; see `refresh`.
        refresh: compute the full frame every `refresh` frames; `None` for never.
        input_shape: `(height, width, channels)`; needed where the model leaves sizes open.
        unsupported: what to do with layers for which no rule is known. `"error"` refuses the
            model. `"dense"` computes them, and everything after them, for every frame that
            changed.
        mode: how changes are computed. `"auto"` selects the fastest mode for every frame, and
            with `prune` for every run. To force one: `"dense"` (everything), `"rectangle"` (one
            rectangle around the change), `"positions"` (the changed positions only) or `"tiles"`
            (tiles of 8 x 8 positions that contain a change).
        calibrate: seconds that measuring the modes on this machine may take, at the first frame
            or in `warm_up`; with 0 they are not measured. Modes that were not measured in that
            time are not selected.
        freeze: make the weights constants of the compiled graphs (TensorFlow only). Large changes
            are computed faster, but many copies of the weights are kept (about 30 for ResNet-50).
        **of_files: for a .tflite file: `num_threads`, `memory_limit` and the other arguments of
            `FileStream`. `prune` and all after it are for Keras networks only.

    Returns:
        The stream; call it with frames.

    Raises:
        TypeError: `model` is not a Keras model, or an argument has the wrong type.
        ValueError: the model is not a functional model of images in float32, has an unsupported
            layer, or an argument is out of range.

    Example:

    >>> camera = stream(model, threshold=20)
    >>> for frame in frames:  # (height, width, channels)
    ...     result = camera(frame)
    ...     print(result.output.argmax(), result.stats.mode, result.stats.saved)
    """
    if isinstance(model, (str, os.PathLike)):
        return open_stream(locals())
    check_no_file_options(of_files)
    detector = Detector(threshold, luminance, dilate, drop_single, learn)
    if mode not in ("auto", *MODES):
        raise ValueError(unknown_name("mode", mode, ("auto", *MODES)))
    check_stream(unsupported, calibrate, prune, reach, refresh)
    check_freeze(freeze)
    flat = flatten(model, input_shape)
    for call in flat.calls:
        dtype = getattr(call.layer, "compute_dtype", None) or "float32"
        if dtype != "float32":
            raise ValueError(
                f"The layer {call.name!r} computes in {dtype}, but streams compute in float32. "
                'Build the model again after keras.config.set_dtype_policy("float32") and copy '
                "its weights."
            )
    hash_ = fingerprint(flat)
    min_share = MIN_SHARE_PRUNED if prune else ONE_RUN
    key = id(model), hash_, bool(freeze), min_share
    engine = _engines.get(key)
    program = compile_program(flat) if engine is None else engine.program
    if program.unsupported and unsupported == "error":
        reasons = "; ".join(f"{name!r}: {why}" for name, why in program.unsupported.items())
        raise ValueError(
            f"Changes cannot be followed through all layers of {model.name!r} ({reasons}). "
            'With unsupported="dense" these layers, and everything after them, are computed for '
            "every frame that changed."
        )
    if engine is None:
        engine = _engines[key] = Engine(program, freeze=freeze, min_share=min_share)
        engine.model = model  # keeps the model alive, so that no other one gets its id
    return Stream(
        model,
        flat,
        engine,
        hash_,
        detector=detector,
        color=color,
        only=only,
        never=never,
        mode=mode,
        calibrate=float(calibrate),
        prune=float(prune),
        reach=reach,
        refresh=refresh,
    )


class Stream(FrameStream):
    """A network with its state from frame to frame; made by `stream`.

    A stream must not be used by two threads at once.

    Example:

    >>> camera = stream(model)
    >>> result = camera(frame)
    >>> np.savez("camera.npz", **camera.state_dict())
    >>> later = stream(model)
    >>> later.load_state(np.load("camera.npz"))
    """

    def __init__(
        self, model: keras.Model, flat: Flat, engine: Engine, key: str,
        *, mode: str, calibrate: float, prune: float, reach: int | str, refresh: int | None,
        **watched,
    ):  # fmt: skip
        super().__init__(model, flat, engine.program, **watched)
        self._engine = engine
        self._key = key
        self._mode = mode
        self._calibrate = calibrate
        self._prune = prune
        self._reach = reach
        self._refresh = refresh
        self._states: list[StreamState] = []

    @property
    def program(self) -> Program:
        """The network as a list of steps."""
        return self._program

    @property
    def fingerprint(self) -> str:
        """A hash of the network: its layers, weights and size of frames."""
        return self._key

    @property
    def state_bytes(self) -> int:
        """Size in bytes of all that is kept from frame to frame."""
        kept = self.program.state_bytes * len(self._states)
        return kept + sum(x.accepted.nbytes for x in self._states)

    def __call__(self, frame, *, mask=None) -> Result:
        """Runs the network on a frame.

        Args:
            frame: `(height, width, channels)`, or a batch of frames: each image of the batch is
                a stream of its own. For models with several inputs a list: the frame, then the
                other inputs.
            mask: the positions to accept from this frame, if the caller knows them; no changes
                are looked for then. Same types as `only` of `stream`.

        Returns:
            The output and statistics.

        Raises:
            TypeError: the frame is not numeric, or has another type than before.
            ValueError: the frame has another size than the model's input, NaN or infinite
                values or values that contradict what the network states, the batch has another
                size than before, or the mask has another size.
            RuntimeError: another thread is using this stream.
        """
        with self._exclusive():
            return self._run(frame, mask)

    def change_map(self, layer: str | None = None, *, item: int = 0) -> np.ndarray:
        """The positions that had to be computed for the last frame.

        Args:
            layer: name of a layer; by default the frame itself.
            item: index of the image in the batch.

        Returns:
            Boolean `(height, width)` of the layer's output; `()` where it has no positions.

        Raises:
            ValueError: there was no frame yet, the layer is unknown, or the batch has no such
                image.
        """
        if not 0 <= item < len(self._states) or not self._states[item].complete:
            raise ValueError(f"No frame was seen yet for image {item} of the batch.")
        if layer is not None and layer not in self.program.layers:
            raise ValueError(unknown_name("layer", layer, list(self.program.layers)))
        return self._map_of_layer(self._states[item].changes, layer).copy()

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that is kept from frame to frame, as arrays for `numpy.savez`."""
        state = {"fingerprint": np.array(self._key), "items": np.array(len(self._states))}
        for i, kept in enumerate(self._states):
            if not kept.complete:
                raise ValueError("The last frame failed, so there is no state. Call reset().")
            state |= kept.state_dict(f"item{i}_", self._engine.backend)
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continues from a saved state, which may come from another backend.

        Args:
            state: the result of `state_dict`, or of `numpy.load` for a file of it.

        Raises:
            ValueError: the state belongs to another network, or is incomplete or damaged.
        """
        if "fingerprint" not in state or str(state["fingerprint"]) != self._key:
            found = str(state["fingerprint"]) if "fingerprint" in state else "no fingerprint"
            raise ValueError(
                f"This state belongs to another network ({found}, not {self._key}): the structure, "
                "the weights or the size of the frames differ. Load it into a stream of its own "
                "model."
            )
        try:
            states = [
                load_stream_state(state, f"item{i}_", self._detector, self._engine)
                for i in range(int(state["items"]))
            ]
        except KeyError as error:
            raise ValueError(f"The state is not complete: {error} is missing.") from None
        self._states = states
        self._dtype = states[0].accepted.dtype if states else None

    def _map_of_layer(self, changes: Sequence[Changes] | None, layer: str | None) -> np.ndarray:
        """Where a layer, or with `None` the frame, was computed; `changes` as in `StreamState`."""
        program = self.program
        map_ = program.maps.FRAME if layer is None else program.layers[layer][0]
        if changes is None:
            return np.ones(program.maps.shape(map_) or (), bool)
        return changes[0 if layer is None else self._engine.run_of_layer[layer]][map_]

    def _is_cold(self) -> str:
        cold = self._modes_to_warm(False) - self._engine.warm
        if self._must_measure:
            return f"compiling and measuring (up to {self._calibrate:g} s)"
        return "compiling" if cold else ""

    def _warm_up(self, everything: bool) -> None:
        modes = self._modes_to_warm(everything) - self._engine.warm
        if modes or self._must_measure:
            calibrate = self._calibrate if self._must_measure else 0.0
            schedule.warm_up(self._engine, sorted(modes), calibrate, self._prune)

    @property
    def _must_measure(self) -> bool:
        return self._mode == "auto" and self._calibrate > 0 and self._engine.cost_model is None

    def _modes_to_warm(self, everything: bool) -> set[str]:
        """The modes to compile: all that may be used, or, for the first frame, fewer."""
        if self._mode == "auto":
            return set(MODES) if everything and self._engine.cost_model is None else {"dense"}
        sized = self._engine.backend.COMPILES_EACH_SIZE and not everything
        return {"dense"} if sized else {"dense", self._mode}

    def _run(self, given, mask) -> Result:
        frames, extras, mask = self._receive(given, mask)
        waited = self._warm_up_for_frame()
        if not self._states:
            self._states = [
                StreamState(
                    self._engine.new_buffers(), dataclasses.replace(self._detector, _seen=[])
                )
                for _ in frames
            ]
            self._dtype = frames.dtype
        stats = tuple(
            self._advance(state, frame, [x[i : i + 1] for x in extras], mask)
            for i, (state, frame) in enumerate(zip(self._states, frames, strict=True))
        )
        stats = dataclasses.replace(stats[0], warm_up_milliseconds=waited), *stats[1:]
        outputs = (state.outputs for state in self._states)
        arrays = [np.concatenate(x) for x in zip(*outputs, strict=True)]
        output = keras.tree.pack_sequence_as(self.program.outputs, arrays)
        return Result(output, of_batch(stats), stats)

    def _advance(self, state: StreamState, frame: np.ndarray, extras: list, mask) -> Stats:
        """Processes the next frame of one image of the batch."""
        start = time.perf_counter()
        engine = self._engine
        macs_dense = sum(run.macs for run in engine.runs)
        same_inputs = state.complete and all(map(np.array_equal, extras, state.extras))
        exact = state.detector.is_exact and mask is None and self._wanted is None
        due = self._refresh is not None and state.since_full + 1 >= self._refresh
        if not same_inputs or state.detector.is_learning or due:
            if state.complete and state.detector.is_learning:
                state.detector.observe(frame, state.accepted)
            state.complete, state.changes = False, None
            state.accepted, state.extras = frame.copy(), [x.copy() for x in extras]
            mode, macs, share, state.since_full = "dense", macs_dense, 1.0, 0
            schedule.compute_all(engine, state, self._prune)
        else:
            changed = state.detector.compare(frame, state.accepted) if mask is None else mask
            if self._wanted is not None and mask is None:
                changed = changed & self._wanted
            share = float(np.count_nonzero(changed) / changed.size)
            mode, macs = "cached", 0
            state.since_full += 1
            changes = engine.program.maps.evaluate(changed, self._reach)
            state.changes = [changes] * len(engine.runs)
            if share:
                state.complete = False
                if exact or share == 1:
                    state.accepted[:] = frame
                else:
                    rows = np.flatnonzero(changed)  # much faster than indexing with the map
                    accepted, new = (x.reshape(changed.size, -1) for x in (state.accepted, frame))
                    accepted[rows] = new[rows]
                mode, macs = schedule.compute_changes(
                    engine, state, changes, self._mode, self._prune
                )
        state.complete = True
        drift = 0.0
        if not exact and state.changes is not None:
            drift = float(distance(frame, state.accepted).max())
        return Stats(
            mode=mode,
            changed=share,
            macs=macs,
            macs_dense=macs_dense,
            milliseconds=1000 * (time.perf_counter() - start),
            warm_up_milliseconds=0.0,
            drift=drift,
            state_bytes=self.state_bytes,
            traces=engine.traces,
            layers=layer_shares(self.program, engine.run_of_layer, state.changes),
        )
