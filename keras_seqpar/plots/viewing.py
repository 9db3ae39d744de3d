"""A network on the frames of a video: as a stream, and dense beside it."""

import abc
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_seqpar.benchmarking.keras_rivals import compile_dense
from keras_seqpar.benchmarking.networks import at_size, convert_quietly
from keras_seqpar.data import camvid
from keras_seqpar.mobile.network import read_network
from keras_seqpar.mobile.runtime.manifest import read_manifest
from keras_seqpar.mobile.runtime.pack_runner import PackRunner
from keras_seqpar.mobile.runtime.runner import NONE, Runner
from keras_seqpar.selective.frame_stream import Stream
from keras_seqpar.selective.regions import region_stream
from keras_seqpar.selective.streams import stream
from keras_seqpar.surgery.attention import attend
from keras_seqpar.surgery.cutout import cutout

CLASS_COLORS = np.random.default_rng(4).integers(40, 256, (256, 3)).astype("float32")
Scores = Callable[[Any], np.ndarray]  # an output, or a frame -> scores with a batch axis


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A network's output for one frame.

    Args:
        output: scores `(categories,)`, or a map of classes `(height, width)`.
        milliseconds: from frame to output.
        warm_up_milliseconds: what the frame waited for loading before that.
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


class Viewer(abc.ABC):
    """A network on a video; `make_viewer` makes one.

    Args:
        stream: the stream.
        scores_of: output of the stream -> scores.
        dense: frame as the stream takes it -> scores of a dense run.
        labels: of the scores.
        prepare: frame `(height, width, 3)` uint8 -> frame as the stream takes it.
    """

    def __init__(
        self,
        stream: Stream,
        scores_of: Scores,
        dense: Scores,
        labels: Sequence[str],
        prepare: Callable[[np.ndarray], np.ndarray],
    ):
        self.stream, self.labels = stream, labels
        self._scores_of, self._dense, self._prepare = scores_of, dense, prepare
        self._is_dense_warm = False

    def selective(self, frame: np.ndarray) -> Prediction:
        """The stream's prediction."""
        result = self.stream(self._prepare(frame))
        stats = result.stats
        return Prediction(
            self._output(self._scores_of(result.output)),
            stats.milliseconds,
            stats.mode,
            stats.changed,
            1 - stats.saved,
            None if stats.mode == "dense" else self.stream.change_map(),
            stats.warm_up_milliseconds,
        )

    def dense(self, frame: np.ndarray) -> Prediction:
        """The dense network's prediction."""
        frame = self._prepare(frame)
        if not self._is_dense_warm:
            self._dense(frame)
            self._is_dense_warm = True
        start = time.perf_counter()
        scores = self._dense(frame)
        milliseconds = 1000 * (time.perf_counter() - start)
        return Prediction(self._output(scores), milliseconds)

    @abc.abstractmethod
    def _output(self, scores: np.ndarray) -> np.ndarray:
        """What a prediction holds."""

    @abc.abstractmethod
    def describe(self, prediction: Prediction) -> str:
        """A prediction in a few words."""

    @abc.abstractmethod
    def draw(self, frame: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The frame with the prediction over it."""

    @abc.abstractmethod
    def agreement(self, ours: Prediction, theirs: Prediction) -> float:
        """How much two predictions agree, from 0 to 1."""


class CategoryViewer(Viewer):
    """A network that predicts categories."""

    def _output(self, scores: np.ndarray) -> np.ndarray:
        return scores[0]

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


class ClassMapViewer(Viewer):
    """A network that predicts a class for every pixel."""

    def _output(self, scores: np.ndarray) -> np.ndarray:
        if scores.ndim == 3:  # classes already
            return scores[0]
        return scores[0].argmax(-1) if scores.shape[-1] > 1 else (scores[0, ..., 0] > 0.5) * 1

    def describe(self, prediction: Prediction) -> str:
        """The class of most pixels and their share."""
        counts = np.bincount(prediction.output.reshape(-1), minlength=len(self.labels))
        return f"{self.labels[int(counts.argmax())]} {counts.max() / counts.sum():.2f}"

    def draw(self, frame: np.ndarray, prediction: Prediction) -> np.ndarray:
        """The frame with the classes' colors over it."""
        classes = prediction.output
        rows, cols = (
            np.arange(frame.shape[i]) * classes.shape[i] // frame.shape[i] for i in (0, 1)
        )
        colors = CLASS_COLORS[classes[rows][:, cols]]
        return (0.55 * frame + 0.45 * colors).astype("uint8")

    def agreement(self, ours: Prediction, theirs: Prediction) -> float:
        """Share of positions with the same class."""
        return float((ours.output == theirs.output).mean())


def frame_size(network: str | os.PathLike) -> tuple[int, int]:
    """`(width, height)` that frames of a file or a pack must have."""
    is_pack = os.path.isdir(network)
    shape = read_manifest(network).trunk.input.shape if is_pack else Runner(network).input_shape
    return shape[2], shape[1]


def make_viewer(
    network: str | os.PathLike | keras.Model,
    frame_shape: Sequence[int],
    *,
    categories: Sequence[str] | None = None,
    gains: Mapping[str, float] | None = None,
    num_threads: int = 1,
    regions: Mapping[str, Any] | None = None,
    **options,
) -> Viewer:
    """The viewer for a network, by the kind of its output.

    A Keras model is converted to float32 for LiteRT, where Keras runs on TensorFlow, and runs
    dense as the same file.

    Args:
        network: a .tflite file, a folder with a branch pack, or a Keras model.
        frame_shape: `(height, width, 3)` of the frames.
        categories: keep these only; not for files. `None` for all.
        gains: label -> gain of top-down attention; for Keras models.
        num_threads: CPU threads of the stream and of the dense network.
        regions: arguments of `region_stream`, for networks that give every pixel a class.
        **options: arguments of all streams, such as `threshold`.

    Raises:
        ValueError: a network of several inputs, or settings that its kind does not have.
    """
    options["num_threads"] = num_threads
    if not isinstance(network, keras.Model):
        if gains or (categories and not os.path.isdir(network)):
            raise ValueError("--categories and --gains need a Keras model; packs take categories.")
        if os.path.isdir(network):
            return _view_pack(network, categories, options)
        return _view_file(network, None, None, regions or {}, options)
    if len(network.inputs) > 1:
        raise ValueError(
            f"{network.name!r} takes {len(network.inputs)} inputs, but a video is a single "
            "input. Give gains as constants with --gains."
        )
    if (categories or gains) and len(network.outputs[0].shape) == 4:
        raise ValueError(
            "--categories and --gains are for networks that predict categories; this one "
            "predicts a class for every pixel."
        )
    network = cutout(network, categories) if categories else network
    network = attend(network, dict(gains)) if gains else network
    facts, size = read_network(network), (frame_shape[0], frame_shape[1])
    if keras.backend.backend() == "tensorflow":
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder, "network.tflite")
            convert_quietly(network, path, "float32", size)
            return _view_file(path, facts.labels, facts.normalization, regions or {}, options)
    model = at_size(network, size)
    run, channels = compile_dense(model), model.input_shape[-1]
    del options["num_threads"]
    options["input_shape"] = (*size, channels)
    prepare = _preparation(channels, facts.normalization)
    return _view(
        model, model.output_shape, np.asarray, lambda x: run(x.astype("float32")),
        facts.labels, prepare, regions or {}, options,
    )  # fmt: skip


def _view_file(path, labels, normalization, regions, options) -> Viewer:
    runner = Runner(path, threads=options["num_threads"])
    about = runner.about
    normalization = normalization or (about.get("mean"), about.get("std"))
    prepare = _preparation(runner.input_shape[-1], normalization)
    labels = labels or runner.labels
    return _view(
        path, runner.output_shape, lambda x: runner.scores_of(_scores(x)),
        lambda x: runner(x[None]), labels, prepare, regions, options,
    )  # fmt: skip


def _view_pack(folder, categories, options) -> Viewer:
    runner = PackRunner(folder, categories, threads=options["num_threads"])
    prepare = _preparation(3, (runner.manifest.mean, runner.manifest.std))
    selective = stream(folder, categories=categories, **options)
    return CategoryViewer(selective, _scores, lambda x: runner(x[None]), runner.categories, prepare)


def _view(network, shape, scores_of, dense, labels, prepare, regions, options) -> Viewer:
    """The viewer for a network whose output has a shape."""
    if len(shape) == 4:
        names = camvid.CLASSES if shape[-1] == len(camvid.CLASSES) else range(max(2, shape[-1]))
        selective = region_stream(network, **regions, **options)
        return ClassMapViewer(selective, np.asarray, dense, tuple(map(str, names)), prepare)
    labels = labels or tuple(map(str, range(shape[-1])))
    return CategoryViewer(stream(network, **options), scores_of, dense, labels, prepare)


def _scores(output: Any) -> np.ndarray:
    """The scores among the outputs of a stream."""
    if isinstance(output, Mapping):
        return next(x for name, x in output.items() if name != NONE)
    return output


def _preparation(channels: int, normalization) -> Callable[[np.ndarray], np.ndarray]:
    """What turns a frame of pixels into a network's input: positions, normalization."""
    mean, std = (np.array(x, "float32") for x in normalization or (None, None))
    is_pixels = mean.shape == () or (not mean.any() and (std == 1).all())

    def prepare(frame: np.ndarray) -> np.ndarray:
        frame = camvid.with_positions(frame) if channels == 5 else frame
        return frame if is_pixels else (frame - mean) / std

    return prepare
