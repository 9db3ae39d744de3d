"""Networks on the frames of a video: as a stream and densely, and how predictions are shown."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.data import camvid
from keras_seqpar.data.video import opencv
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.selective.arguments import RECEPTIVE_FIELD
from keras_seqpar.selective.measuring import can_freeze, compile_dense
from keras_seqpar.selective.regions.geometry import open_sizes
from keras_seqpar.selective.regions.stream import SegmentationStream
from keras_seqpar.selective.settings import Detection, Updates
from keras_seqpar.selective.streams import stream
from keras_seqpar.surgery.attention import attend
from keras_seqpar.surgery.cutout import cutout

CLASS_COLORS = np.random.default_rng(4).integers(40, 256, (256, 3)).astype("float32")
CHANGED_COLOR = np.array([255, 40, 40], "float32")
SEGMENTATION_REACH = 6  # pixels, where --reach is not given


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A network's output for one frame.

    Args:
        output: scores `(categories,)`, or a map of classes `(height, width)`.
        milliseconds: from frame to output.
        warm_up_milliseconds: what the frame waited for compiling and measuring before that.
        mode: how it was computed, see `Stats`; `"dense"` for the dense network.
        changed: share of the frame that changed; `None` for the dense network.
        computed: share of a dense run that was computed; `None` for the dense network.
        change_map: `(height, width)` of the changed pixels, where only they were computed.
    """

    output: np.ndarray
    milliseconds: float
    mode: str = "dense"
    changed: float | None = None
    computed: float | None = None
    change_map: np.ndarray | None = None
    warm_up_milliseconds: float = 0.0


class CategoryViewer:
    """A network of this package that predicts categories, on a video.

    Args:
        model: the network.
        frame_shape: `(height, width, 3)` of the frames.
        detection: how changes are found.
        updates: what is computed again after a change.
        categories: keep these only, a cutout; `None` for all.
        gains: label -> gain of top-down attention.
    """

    def __init__(
        self,
        model: keras.Model,
        frame_shape: Sequence[int],
        detection: Detection,
        updates: Updates,
        *,
        categories: Sequence[str] | None = None,
        gains: dict[str, float] | None = None,
    ):
        if categories:
            model = cutout(model, categories)
        if gains:
            model = attend(model, gains)
        self.labels = find_parts(model, allow_plain=True).hierarchy.categories
        self._model = open_sizes(model)
        self._dense: Any = None
        self.stream = stream(
            self._model,
            input_shape=frame_shape,
            **detection.arguments(),
            prune=updates.prune,
            reach=RECEPTIVE_FIELD if updates.reach is None else updates.reach,
            refresh=updates.refresh,
            freeze=can_freeze(updates.freeze),
        )

    def selective(self, frame: np.ndarray) -> Prediction:
        """The stream's prediction."""
        result = self.stream(frame)
        output: Any = result.output
        stats = result.stats
        return Prediction(
            output[0],
            stats.milliseconds,
            stats.mode,
            stats.changed,
            1 - stats.saved,
            None if stats.mode == "dense" else self.stream.change_map(),
            stats.warm_up_milliseconds,
        )

    def dense(self, frame: np.ndarray) -> Prediction:
        """The dense network's prediction."""
        frame = frame.astype("float32")
        if self._dense is None:
            self._dense = compile_dense(self._model)
            self._dense(frame)
        start = time.perf_counter()
        scores = self._dense(frame)[0]
        return Prediction(scores, 1000 * (time.perf_counter() - start))

    def describe(self, prediction: Prediction) -> str:
        """The predicted category and its score."""
        best = int(np.argmax(prediction.output))
        return f"{self.labels[best]} {prediction.output[best]:.2f}"

    def draw(self, frame: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The frame, unchanged: scores have no positions to draw."""
        return frame

    def agreement(self, ours: Prediction, theirs: Prediction) -> float:
        """1 if both predict the same category, else 0."""
        return float(np.argmax(ours.output) == np.argmax(theirs.output))


class SegmentationViewer:
    """A network that predicts a class for every pixel, on a video.

    Args:
        model: the network. With 5 input channels it also gets where in the frame a pixel is.
        frame_shape: `(height, width, 3)` of the frames.
        detection: how changes are found.
        updates: what is computed again after a change.
    """

    def __init__(
        self,
        model: keras.Model,
        frame_shape: Sequence[int],
        detection: Detection,
        updates: Updates,
    ):
        self.channels = model.inputs[0].shape[-1]
        options: dict[str, Any] = {
            "input_shape": (*frame_shape[:2], self.channels),
            **detection.arguments(),
            "freeze": can_freeze(updates.freeze),
        }
        self.stream = SegmentationStream(
            model,
            margin=updates.margin,
            reach=SEGMENTATION_REACH if updates.reach is None else updates.reach,
            least=updates.least,
            refresh=updates.refresh,
            **options,
        )
        self._dense = SegmentationStream(model, refresh=1, calibrate=False, **options)
        self._is_dense_warm = False
        self.labels = tuple(map(str, range(model.outputs[0].shape[-1])))
        if self.channels == 5:
            self.labels = tuple(camvid.CLASSES)

    def selective(self, frame: np.ndarray) -> Prediction:
        """The stream's prediction."""
        result = self.stream(self._prepare(frame))
        stats = result.stats
        return Prediction(
            result.output[0],
            stats.milliseconds,
            stats.mode,
            stats.changed,
            stats.recomputed,
            None if stats.mode == "full" else self.stream.change_map(),
            stats.warm_up_milliseconds,
        )

    def dense(self, frame: np.ndarray) -> Prediction:
        """The prediction where the full frame is computed."""
        if not self._is_dense_warm:
            self._dense.warm_up()
            self._is_dense_warm = True
        result = self._dense(self._prepare(frame))
        return Prediction(result.output[0], result.stats.milliseconds)

    def describe(self, prediction: Prediction) -> str:
        """The class of most pixels and their share."""
        counts = np.bincount(prediction.output.reshape(-1), minlength=len(self.labels))
        return f"{self.labels[counts.argmax()]} {counts.max() / counts.sum():.2f}"

    def draw(self, frame: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The frame with the classes' colors over it."""
        colors = CLASS_COLORS[_resize_nearest(prediction.output, frame.shape[:2])]
        return (0.55 * frame + 0.45 * colors).astype("uint8")

    def agreement(self, ours: Prediction, theirs: Prediction) -> float:
        """Share of positions with the same class."""
        return float((ours.output == theirs.output).mean())

    def _prepare(self, frame: np.ndarray) -> np.ndarray:
        return camvid.with_positions(frame) if self.channels == 5 else frame


Viewer = CategoryViewer | SegmentationViewer


def make_viewer(
    model: keras.Model,
    frame_shape: Sequence[int],
    detection: Detection,
    updates: Updates,
    *,
    categories: Sequence[str] | None = None,
    gains: dict[str, float] | None = None,
) -> Viewer:
    """The viewer for a model, by the kind of its output; arguments as for `CategoryViewer`.

    Raises:
        ValueError: a model of several inputs, or settings that its kind does not have.
    """
    if len(model.inputs) > 1:
        raise ValueError(
            f"{model.name!r} takes {len(model.inputs)} inputs, but a video is a single "
            "input. Give gains as constants with --gains."
        )
    if not (len(model.outputs) == 1 and len(model.outputs[0].shape) == 4):
        return CategoryViewer(
            model, frame_shape, detection, updates, categories=categories, gains=gains
        )
    if categories or gains or updates.prune:
        raise ValueError(
            "--categories, --gains and --prune are for networks that predict categories; "
            "this one predicts a class for every pixel."
        )
    return SegmentationViewer(model, frame_shape, detection, updates)


def draw_panel(viewer: Viewer, frame: np.ndarray, prediction: Prediction, title: str) -> np.ndarray:
    """A frame with its prediction: changed pixels in red, the title and the prediction as text."""
    cv2 = opencv()
    panel = viewer.draw(frame, prediction).astype("float32")
    if prediction.change_map is not None:
        changed = prediction.change_map
        panel[changed] = 0.4 * panel[changed] + 0.6 * CHANGED_COLOR
    panel[:38] *= 0.4  # dark behind the text
    panel = np.ascontiguousarray(panel.astype("uint8"))
    for i, line in enumerate((title, viewer.describe(prediction))):
        corner = (6, 15 + 16 * i)
        cv2.putText(panel, line, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1)
    return panel


def _resize_nearest(map_: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A map at another resolution."""
    rows = np.arange(shape[0]) * map_.shape[0] // shape[0]
    return map_[rows][:, np.arange(shape[1]) * map_.shape[1] // shape[1]]
