"""What `watch.py` runs on a video: a network that names categories, or one that segments."""

import time

import bench_selective
import keras
import numpy as np
from bench_segmentation import pixels

import keras_seqpar as sp
from keras_seqpar import selective
from keras_seqpar.data import camvid
from keras_seqpar.networks.parts import find_parts

COLORS = np.random.default_rng(4).integers(40, 256, (256, 3)).astype("float32")  # of classes


class Classifier:
    """A network of this package on a stream.

    Args:
        model: the network.
        shape: `(height, width, 3)` of the frames.
        chosen: all flags.
    """

    def __init__(self, model: keras.Model, shape, chosen):
        if chosen.categories:
            model = sp.cutout(model, chosen.categories)
        if chosen.gains:
            model = sp.attend(model, gains(chosen.gains))
        self.labels = find_parts(model, allow_plain=True).hierarchy.categories
        model = selective.open_sizes(model)
        self.stream = selective.stream(
            model,
            input_shape=shape,
            **detection(chosen),
            prune=chosen.prune,
            reach=pixels("reach", chosen.reach or "receptive_field"),
            refresh=chosen.refresh,
            freeze=bench_selective.frozen(chosen),
        )
        self._model, self._dense = model, None

    def selective(self, frame: np.ndarray) -> dict:
        """What the stream says, and what it took."""
        result = self.stream(frame)
        stats = result.stats
        return {
            "mode": stats.mode,
            "changed": stats.changed,
            "computed": 1 - stats.saved,
            "ms": stats.milliseconds,
            "scores": result.output[0],
        }

    def dense(self, frame: np.ndarray) -> dict:
        """What the whole network says."""
        if self._dense is None:
            self._dense = bench_selective.compiled(self._model)
            self._dense(frame.astype("float32"))
        start = time.perf_counter()
        scores = self._dense(frame.astype("float32"))[0]
        return {"dense_ms": 1000 * (time.perf_counter() - start), "scores": scores}

    def said(self, found: dict) -> str:
        """The most likely category."""
        best = int(np.argmax(found["scores"]))
        return f"{self.labels[best]} {found['scores'][best]:.2f}"

    def draw(self, frame: np.ndarray, found: dict) -> np.ndarray:
        """Nothing: scores have no place in the frame."""
        return frame

    def agreement(self, ours: dict, theirs: dict) -> float:
        """Whether both say the same category."""
        return float(np.argmax(ours["scores"]) == np.argmax(theirs["scores"]))


class Segmenter:
    """A network that gives every pixel a class, on a stream; arguments as for `Classifier`."""

    def __init__(self, model: keras.Model, shape, chosen):
        if chosen.categories or chosen.gains or chosen.prune:
            raise ValueError(
                "--categories, --gains and --prune are for networks that name a category; this "
                "one gives every pixel a class."
            )
        self.channels = model.inputs[0].shape[-1]
        shape = (*shape[:2], self.channels)
        options = {
            "input_shape": shape,
            **detection(chosen),
            "freeze": bench_selective.frozen(chosen),
        }
        self.stream = selective.SegmentationStream(
            model,
            margin=pixels("margin", chosen.margin),
            reach=pixels("reach", chosen.reach or "6"),
            least=chosen.least,
            refresh=chosen.refresh,
            **options,
        )
        self.whole = selective.SegmentationStream(model, refresh=1, calibrate=False, **options)
        self.labels = [str(i) for i in range(model.outputs[0].shape[-1])]
        if self.channels == 5:
            self.labels = list(camvid.CLASSES)

    def selective(self, frame: np.ndarray) -> dict:
        """What the stream says, and what it took."""
        result = self.stream(self._prepared(frame))
        stats = result.stats
        return {
            "mode": stats.mode,
            "changed": stats.changed,
            "computed": stats.recomputed,
            "ms": stats.milliseconds,
            "map": result.output[0],
        }

    def dense(self, frame: np.ndarray) -> dict:
        """What the whole network says."""
        result = self.whole(self._prepared(frame))
        return {"dense_ms": result.stats.milliseconds, "map": result.output[0]}

    def said(self, found: dict) -> str:
        """The class of most pixels, and their share."""
        counts = np.bincount(found["map"].reshape(-1), minlength=len(self.labels))
        return f"{self.labels[counts.argmax()]} {counts.max() / counts.sum():.2f}"

    def draw(self, frame: np.ndarray, found: dict) -> np.ndarray:
        """The frame with the classes' colors over it."""
        colors = COLORS[_enlarged(found["map"], frame.shape[:2])]
        return (0.55 * frame + 0.45 * colors).astype("uint8")

    def agreement(self, ours: dict, theirs: dict) -> float:
        """Share of positions with the same class."""
        return float((ours["map"] == theirs["map"]).mean())

    def _prepared(self, frame: np.ndarray) -> np.ndarray:
        return camvid.with_positions(frame) if self.channels == 5 else frame


def make_watcher(model: keras.Model, shape, chosen) -> Classifier | Segmenter:
    """What runs the model, by the kind of its output."""
    if len(model.inputs) > 1:
        raise ValueError(
            f"{model.name!r} takes {len(model.inputs)} inputs; a video is one. Give gains as "
            "constants with --gains."
        )
    if len(model.outputs) == 1 and len(model.outputs[0].shape) == 4:
        return Segmenter(model, shape, chosen)
    return Classifier(model, shape, chosen)


def detection_flags(*, drop_single: bool) -> tuple[tuple, ...]:
    """Flags of how changes are found, named as arguments of a stream.

    Args:
        drop_single: the default of that one.
    """
    alone = "Leave out changed pixels without a changed neighbor."
    return (
        ("boolean", "luminance", False, "Compare luminance instead of channels."),
        ("boolean", "drop_single", drop_single, alone),
        ("integer", "dilate", 0, "Pixels by which changes are grown.", 0),
    )


def detection(chosen) -> dict:
    """How changes are found, as arguments of a stream; with a threshold of 0 all of them."""
    given = {"threshold": chosen.threshold, "dilate": chosen.dilate}
    if not chosen.threshold:
        return given
    return given | {"luminance": chosen.luminance, "drop_single": chosen.drop_single}


def gains(given: list[str]) -> dict[str, float]:
    """Gains from flags such as "church=1.3"."""
    found = {}
    for item in given:
        name, _, value = item.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise ValueError(f"--gains must be NAME=NUMBER, got {item!r}.") from None
    return found


def _enlarged(map_: np.ndarray, shape) -> np.ndarray:
    """A map at the resolution of the frame."""
    rows = np.arange(shape[0]) * map_.shape[0] // shape[0]
    return map_[rows][:, np.arange(shape[1]) * map_.shape[1] // shape[1]]
