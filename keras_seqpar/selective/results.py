"""What every stream returns for a frame: the output, and statistics as plain data."""

import dataclasses

import numpy as np

from keras_seqpar.selective.planning.boxes import Box


@dataclasses.dataclass(frozen=True)
class Stats:
    """Statistics about one frame: plain numbers and texts, so `dataclasses.asdict` gives JSON.

    Args:
        mode: `"dense"` (everything was computed), `"boxes"` (only boxes of the frame were) or
            `"cached"` (nothing changed, nothing was computed).
        changed: share of the frame's positions that changed; 1 for the first frame.
        boxes: of the frame that were computed again, `(top, left, bottom, right)` in pixels.
        macs: multiply-accumulates that were computed.
        macs_dense: multiply-accumulates of a dense pass.
        milliseconds: time from frame to output, without loading.
        warm_up_milliseconds: time that this frame waited for loading, see `Stream.warm_up`; about
            0 for all but the first frame.
        state_bytes: size of all that the stream keeps from frame to frame.

    Example:

    >>> stats = Stats("boxes", 0.1, ((0, 0, 8, 8),), 25, 100, 3.5, 0.0, 4096)
    >>> stats.saved
    0.75
    """

    mode: str
    changed: float
    boxes: tuple[Box, ...]
    macs: int
    macs_dense: int
    milliseconds: float
    warm_up_milliseconds: float
    state_bytes: int

    @property
    def saved(self) -> float:
        """Share of a dense pass's multiply-accumulates that were saved."""
        return 1 - self.macs / self.macs_dense if self.macs_dense else 0.0


@dataclasses.dataclass(frozen=True)
class Result:
    """What a stream returns for a frame.

    Args:
        output: the network's output with a batch axis, in its own type; with several outputs name
            -> output.
        stats: statistics.

    Example:

    >>> result = stream("pets.tflite")(images[0])
    >>> result.output.shape, result.stats.mode
    ((1, 2), 'dense')
    """

    output: np.ndarray | dict[str, np.ndarray]
    stats: Stats
