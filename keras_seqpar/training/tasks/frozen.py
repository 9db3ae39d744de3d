"""A frozen start: the trunk, or its beginning, stays as it is: its features are computed once.

What stands behind it then learns from features in memory, of several views of every image. In a
folder, they serve the next training with the same trunk, too.
"""

import dataclasses
import hashlib
import json
import math
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.data import augmentation
from keras_seqpar.data.augmentation import Augment, Policy
from keras_seqpar.data.batches import TrainingBatches
from keras_seqpar.data.datasets import Split
from keras_seqpar.networks.graph import behind, bottlenecks
from keras_seqpar.networks.prediction import predict
from keras_seqpar.training.config import TrunkConfig
from keras_seqpar.training.runs.history import duration
from keras_seqpar.training.tasks.distillation import Teacher
from keras_seqpar.utils.files import make_folder, replacing
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.weights.copies import CLASSIFIER

TYPE = "float16"  # of the features in memory


@dataclasses.dataclass(frozen=True)
class Halves:
    """A network as what gives features and what stands behind; both share its weights.

    Args:
        trunk: from images to features.
        head: from features to logits.
        whole: all of the trunk; of a plain network, all but its classifier.
    """

    trunk: keras.Model
    head: keras.Model
    whole: keras.Model

    @classmethod
    def of(cls, network: keras.Model, end: str | None = None) -> "Halves":
        """Divides a network behind its trunk, a plain network before its classifier; or earlier.

        Args:
            network: the network.
            end: the layer of the trunk at whose output to divide it, as `find_end` takes it;
                `None` or nothing for the end of it.

        Raises:
            ValueError: the trunk cannot be divided there.
        """
        trunk = whole = network.get_layer("trunk")
        last = trunk
        if not any(layer.name.startswith(("branch", "bank")) for layer in network.layers):
            features = network.get_layer(CLASSIFIER).input
            whole = keras.Model(network.input, features, name="trunk")
            last = next(layer for layer in network.layers if layer.output is features)
        if not end:
            return cls(whole, behind(network, last), whole)
        layer = find_end(trunk, end)
        rest, behind_trunk = behind(trunk, layer), behind(network, trunk)
        features = keras.Input(layer.output.shape[1:], dtype=layer.output.dtype, name="features")
        head = keras.Model(features, behind_trunk(rest(features)))
        return cls(keras.Model(trunk.input, layer.output, name="trunk"), head, whole)

    def joined(self) -> keras.Model:
        """The network again, with the trunk as at inference, also in training."""
        images = keras.Input(self.trunk.input.shape[1:], name="images")
        features = FrozenTrunk(self.trunk, name="frozen_trunk")(images)
        return keras.Model(images, self.head(features), name="joined")


def find_end(trunk: keras.Model, name: str) -> keras.layers.Layer:
    """The layer at whose output the frozen part of a trunk ends.

    Args:
        trunk: the trunk.
        name: of the layer; or the beginning of the names of several, for example `"stage3"`,
            which stands for the last of them.

    Raises:
        ValueError: no such layer, or features go around it.
    """
    layers = {layer.name: layer for layer in bottlenecks(trunk)}
    fitting = [layer for key, layer in layers.items() if key.startswith(f"{name}_")]
    if name not in layers and not fitting:
        valid = dict.fromkeys(key.partition("_")[0] for key in layers)
        extra = f"Or one of the {len(layers)} layers that all features go through."
        raise ValueError(unknown_name("layer for --frozen_end", name, valid, extra))
    return layers[name] if name in layers else fitting[-1]


class FrozenTrunk(keras.layers.Layer):
    """A trunk that computes as at inference, also in training, and does not learn.

    `trunk(x, training=False)` is not enough: a functional model passes its own `training` on.

    Args:
        trunk: gives the features.
    """

    def __init__(self, trunk: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.trunk = trunk
        self.trainable = False

    def call(self, images):
        """The features."""
        return self.trunk(images, training=False)

    def compute_output_shape(self, images_shape):
        """The shape of the features."""
        return (images_shape[0], *self.trunk.output.shape[1:])


def check_memory(config: TrunkConfig, trunk: keras.Model, training: int, validation: int) -> int:
    """Counts the bytes of features; refuses more of them than they may take.

    Args:
        config: says how many views, and how much memory.
        trunk: gives the features.
        training: number of training images.
        validation: number of validation images.

    Returns:
        The bytes of all views.

    Raises:
        ValueError: the features need more.
    """
    shape = trunk.output.shape[1:]
    each = np.dtype(TYPE).itemsize * math.prod(shape)
    needed, allowed = each * (config.frozen_views * training + validation), config.frozen_memory
    if needed > allowed * 2**30:
        fitting = int((allowed * 2**30 / each - validation) // training)
        raise ValueError(
            f"The features of {config.frozen_views} views of {training:,} images and of "
            f"{validation:,} to validate on, {' x '.join(map(str, shape))} each, need "
            f"{needed:,} bytes; --frozen_memory allows {allowed:g} GiB. "
            + (f"Give at most --frozen_views {fitting}, " if fitting > 0 else "Give ")
            + f"--frozen_memory {math.ceil(needed / 2**30)}, or --frozen_views 0, which keeps none."
        )
    return needed


def view_rows(
    view: int, count: int, policy: Policy, *, stored: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """What a view does to the images, as `augmentation.draw` says it, without mixing images.

    The views are the same for every seed of a training, so that kept features serve all of them.

    Args:
        view: its number: 0 is the whole image, 1 its mirror image if the policy mirrors; all
            others are random.
        count: number of images.
        policy: what happens to training images.
        stored: side of the images as they are stored, in pixels.
        size: side of the images to make.

    Returns:
        The rows, `(count, policy.columns)`, and which images to equalize, `(count,)`.
    """
    rng = np.random.default_rng([0, view, 0])  # a step of training is never 0
    if view > int(policy.flip):
        alone = dataclasses.replace(policy, mixup=0.0, cutmix=0.0)
        rows, _, equalized = augmentation.draw(rng, count, alone, stored=stored, size=size)
        return rows, equalized
    rows, _, equalized = augmentation.draw(rng, count, Policy(), stored=stored, size=size)
    if view == 1:
        rows[:, 0], rows[:, 2] = -rows[:, 0], stored
    neutral = np.tile(augmentation.NO_COLOR, augmentation.OPERATIONS_PER_IMAGE)
    colors = np.tile(neutral[: policy.columns - rows.shape[1]], (count, 1))
    return np.concatenate([rows, colors], axis=1, dtype="float32"), equalized


class Features(keras.Model):
    """Computes features of images, and a teacher's logits, with a trunk that stays as it is.

    Args:
        trunk: gives the features.
        policy: what happens to training images.
        size: side of the images that the trunk gets, in pixels.
        teacher: gives logits for the same views, or `None`.
        folder: where views are kept, and taken from if they are there already; `None` for nowhere.

    Attributes:
        seconds: what an image took in the last view that was computed; `None` if none was.
    """

    def __init__(
        self,
        trunk: keras.Model,
        policy: Policy,
        size: int,
        teacher: Teacher | None,
        folder: Path | None = None,
    ):
        super().__init__(name="features")
        self.trunk, self.policy, self.teacher, self.folder = trunk, policy, teacher, folder
        self.augment = Augment(policy, size, name="augment")
        self.seconds: float | None = None

    def call(self, inputs):
        """Features of augmented images, as a dictionary."""
        augmented = self.augment(*inputs, training=True)
        found = {"features": keras.ops.cast(self.trunk(augmented, training=False), TYPE)}
        if self.teacher:
            found["taught"] = self.teacher(augmented, training=True)
        return found

    def of_views(
        self, split: Split, views: int, label: str, contents: str = ""
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features of views of all images of a split.

        Args:
            split: the images.
            views: number of views.
            label: text before a progress bar.
            contents: what the images are, as `keras_seqpar.data.fingerprints.digest` tells it.

        Returns:
            Features `(views, images, ...)` in float16, and the teacher's logits
            `(views, images, categories)` or `None`.

        Raises:
            ValueError: features that float16 cannot hold, or a damaged file in the folder.
            OSError: the folder cannot be written.
        """
        found: dict[str, np.ndarray] = {}
        kept = self.folder / self._key(split, contents) if self.folder else None
        shapes = {"features": (len(split), *self.trunk.output.shape[1:])}
        if self.teacher:
            shapes["taught"] = (len(split), len(self.teacher.columns))
        if self.folder and kept:  # before an hour of computing
            make_folder(self.folder / "key")
            make_folder(kept / "view")
        for view in range(views):
            text = label if views == 1 else f"{label}, view {view + 1} of {views}"
            path = kept and kept / f"view{view + 1:03}.npz"
            if path and path.exists():
                made = _read(path, shapes)
                print(f"{text}: read from {path}.", flush=True)
            else:
                started = time.perf_counter()
                made = self._of_view(split, view, text)
                seconds = time.perf_counter() - started
                self.seconds = seconds / len(split)
                left = duration(seconds * (views - 1 - view))
                print(f"{text}: {duration(seconds)}, about {left} left of them.", flush=True)
                if path:
                    with replacing(path) as temporary:
                        np.savez(temporary, **made)  # type: ignore[arg-type]
            for name, values in made.items():
                if view == 0:
                    found[name] = np.empty((views, *values.shape), values.dtype)
                found[name][view] = values
        return found["features"], found.get("taught")

    def _of_view(self, split: Split, view: int, label: str) -> dict[str, np.ndarray]:
        """Computes a view."""
        stored = split.read([0]).shape[1]
        rows, equalized = view_rows(
            view, len(split), self.policy, stored=stored, size=self.augment.size
        )

        def read(indices):
            return augmentation.equalize(split.read(indices), equalized[indices])

        made = predict(self, [Split(split.names, split.labels, read), rows], label=label)
        if not np.isfinite(made["features"]).all():
            raise ValueError(
                f"The trunk's features are too large for {TYPE}. Give --frozen_views 0, which "
                "stores none."
            )
        return made

    def _key(self, split: Split, contents: str) -> str:
        """A hash of all that features depend on: images, views, weights and layers."""
        models = [self.trunk, *([self.teacher.network] if self.teacher else [])]
        layers = [
            (
                type(layer).__name__,
                layer.compute_dtype,
                [x.shape for x in keras.tree.flatten(layer.output)],
            )
            for model in models
            for layer in model.layers
        ]
        policy = dataclasses.asdict(self.policy)
        backend = keras.backend.backend()
        facts = [contents, split.names, backend, self.augment.size, policy, layers]
        if self.teacher:
            normalization = self.teacher.offset.tolist(), self.teacher.divisor.tolist()
            facts += [self.teacher.columns, *normalization]
        found = hashlib.sha256(json.dumps(facts).encode())
        for weight in (w for model in models for w in model.weights):
            found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
        return found.hexdigest()[:16]


def _read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Reads what is kept of a view: arrays of these names and shapes."""
    try:
        with np.load(path) as file:
            found = {name: file[name] for name in shapes}
        if (have := {name: x.shape for name, x in found.items()}) != shapes:
            raise ValueError(f"it has {have}, wanted are {dict(shapes)}")
        return found
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged: {error}. Delete it, and run this again.") from error


class ViewBatches(TrainingBatches):
    """Shuffled batches of features; a view of each image per epoch, all views in turn.

    Args:
        split: the images, for their labels.
        features: `(views, images, ...)`.
        taught: a teacher's logits, `(views, images, categories)`, which take the place of the
            rows; or `None`.
        options: of `TrainingBatches`.
    """

    def __init__(self, split: Split, features: np.ndarray, taught: np.ndarray | None, **options):
        self.features, self.taught = features, taught
        self.view = np.zeros(len(split), "int64")
        images = Split(split.names, split.labels, lambda i: features[self.view[i], i])
        super().__init__(images, Policy(), **options)

    def begin(self, epoch: int) -> None:
        """Shuffles for an epoch, and goes on to each image's next view."""
        super().begin(epoch)
        first = np.random.default_rng(self.seed).integers(len(self.features), size=len(self.view))
        self.view = (first + epoch) % len(self.features)

    def __getitem__(self, step: int):
        (features, rows), labels = super().__getitem__(step)
        if self.taught is not None:
            indices = self.order[step * self.batch_size : (step + 1) * self.batch_size]
            rows = self.share.of(self.taught[self.view[indices], indices])
        return (features, rows), labels
