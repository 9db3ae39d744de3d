"""Runs a branch pack: the trunk once per image, then the branches of the chosen categories.

Needs NumPy and an interpreter only.
"""

import dataclasses
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.mobile.runtime.activations import activate
from keras_seqpar.mobile.runtime.inputs import check_images, encode
from keras_seqpar.mobile.runtime.interpreters import not_picklable
from keras_seqpar.mobile.runtime.manifest import Part, Tensor, read_manifest
from keras_seqpar.mobile.runtime.runner import Runner
from keras_seqpar.utils.pixels import check_values, limits_of
from keras_seqpar.utils.warning import warn_user


class PartRunner(Runner):
    """One loaded file of a pack. Integers are passed in and out without scaling."""

    @property
    def input(self) -> Tensor:
        """The file's input."""
        return _tensor(self._image)

    @property
    def output(self) -> Tensor:
        """The file's output."""
        return _tensor(self._scores)

    def encode(self, image: np.ndarray) -> np.ndarray:
        """Scales an image `(1, height, width, channels)` to the file's input."""
        return encode(image, self._image)

    def pass_on(self, values: np.ndarray) -> np.ndarray:
        """Runs the file on one image or on another file's output.

        Args:
            values: of the shape and dtype of `input`.

        Returns:
            Values of the shape and dtype of `output`, not scaled.
        """
        with self._lock:
            self._run(values)
            return self._engine.get_tensor(self._scores["index"])


def load_part(
    folder: Path, part: Part, *, threads: int = 1, interpreter: str | None = None
) -> PartRunner:
    """Checks and loads a file of a pack.

    Args:
        folder: the pack.
        part: the manifest's record of the file.
        threads: number of CPU threads.
        interpreter: a name in `INTERPRETERS`; by default the first that is installed.

    Returns:
        The loaded file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file than the manifest's.
        ImportError: no interpreter is installed.
    """
    part.check_file(folder)
    runner = PartRunner(folder / part.file, threads=threads, interpreter=interpreter)
    found = (runner.input, runner.output, runner.about.get("takes"))
    if found != (part.input, part.output, part.takes):
        raise ValueError(
            f"{str(runner.path)!r} takes {found[0]}, gives {found[1]} and was calibrated for "
            f"{found[2]}, but the manifest says {part.input}, {part.output} and {part.takes}. "
            "Copy the manifest again, together with the file."
        )
    return runner


class PackRunner:
    """A branch pack that is ready to run.

    It takes the images of the Keras network and gives the scores of the chosen categories: the
    activation (softmax) over their logits, as a cutout does. The trunk and the superclass branches
    that are needed run once per image. A file is checked and loaded when it is first needed, so
    files of categories that are never chosen may be missing. Several threads may call it: their
    calls are computed one after the other. It cannot be pickled; another process makes its own.

    Args:
        folder: the pack.
        categories: labels or node ids, in the order wanted; a superclass stands for its
            categories. All by default. Their files are loaded at once.
        threads: number of CPU threads.
        interpreter: a name in `INTERPRETERS`; by default the first that is installed.

    Attributes:
        folder: the pack.
        manifest: the content of its `manifest.json`.
        interpreter: name and version of the interpreter.
        threads: number of CPU threads.
        input_shape: `(1, height, width, channels)`.

    Raises:
        FileNotFoundError: no pack, or a file of it is missing.
        ValueError: a file is truncated, has another hash or belongs to another trunk; an unknown
            or repeated category; `threads` is below 1; `interpreter` is unknown.
        ImportError: no interpreter is installed.

    Example:

    >>> runner = PackRunner("pets.pack")
    >>> runner(images, ["dog"]).shape  # (n, height, width, channels) -> (n, categories)
    (60, 1)
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        categories: Sequence[str] | None = None,
        *,
        threads: int = 1,
        interpreter: str | None = None,
    ):
        self.folder = Path(folder)
        self.threads = threads
        self._lock = threading.RLock()  # of the interpreters, and of what is loaded
        self._suspicion_told = False
        self.manifest = read_manifest(folder)
        self._chosen = None if categories is None else tuple(categories)
        chosen = self._choose(categories)
        self._trunk = load_part(
            self.folder, self.manifest.trunk, threads=threads, interpreter=interpreter
        )
        self.interpreter = self._trunk.interpreter
        self.input_shape = self._trunk.input_shape
        self._loaded: dict[str, PartRunner] = {}  # by hash
        for node in chosen.nodes:
            self._branch(node)

    def __reduce_ex__(self, protocol):
        raise not_picklable(self, self.folder)

    @property
    def categories(self) -> tuple[str, ...]:
        """Labels of the categories that a call scores by default."""
        return self._choose(None).categories

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the files that are loaded."""
        with self._lock:
            return (self._trunk.path.name, *(part.path.name for part in self._loaded.values()))

    def __call__(self, images: np.ndarray, categories: Sequence[str] | None = None) -> np.ndarray:
        """Scores images.

        Args:
            images: `(n, height, width, channels)`, in the range that the Keras network takes.
            categories: other categories for this call; by default those of the runner.

        Returns:
            `(n, categories)` float32, in the order of `categories`.

        Raises:
            TypeError: images that are no array of integers or floats.
            ValueError: images of another shape, with NaN, or with values that contradict what the
                pack takes; an unknown or repeated category; a branch's file is another one than
                the manifest's.
            FileNotFoundError: a branch's file is missing.
        """
        return self.decide(images, categories)[0]

    def decide(
        self, images: np.ndarray, categories: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Scores images and decides which of them show none of the categories.

        Args:
            images: as for a call.
            categories: as for a call.

        Returns:
            `(n, categories)` float32 scores, and `(n,)` bool, or `None` without a threshold: the
            network stored none, or not all of its categories were chosen.

        Raises:
            TypeError: as for a call.
            ValueError: as for a call.
            FileNotFoundError: as for a call.
        """
        with self._lock:  # `reload` may put another manifest in its place
            logits, manifest = self.logits(images, categories), self.manifest
        complete = logits.shape[1] == len(manifest.hierarchy.categories)
        none = manifest.threshold.rejects(logits) if manifest.threshold and complete else None
        return activate(logits, manifest.classifier_activation), none

    def logits(self, images: np.ndarray, categories: Sequence[str] | None = None) -> np.ndarray:
        """Computes the logits of images.

        Args:
            images: as for a call.
            categories: as for a call.

        Returns:
            `(n, categories)` float32.

        Raises:
            TypeError: as for a call.
            ValueError: as for a call.
            FileNotFoundError: as for a call.
        """
        who = repr(str(self.folder))
        images = check_images(images, self.input_shape[1:], who)
        mean, std = self.manifest.mean, self.manifest.std
        limits = limits_of((mean, std)) if mean and std else None
        suspicious = check_values(images, limits, "images", who)
        if suspicious and not self._suspicion_told:
            self._suspicion_told = True
            warn_user(suspicious)
        encode = self._trunk.encode
        with self._lock:
            chosen = self._choose(categories)
            return np.array([self._run(encode(image[None]), chosen) for image in images])

    def latency(
        self, runs: int = 50, warm_up: int = 10, categories: Sequence[str] | None = None
    ) -> np.ndarray:
        """Measures how long an image takes, input and output included.

        Args:
            runs: number of images to measure.
            warm_up: number of images before them.
            categories: as for a call.

        Returns:
            `(runs,)` milliseconds.
        """
        noise = np.random.default_rng(0).integers(0, 256, self.input_shape)
        image = self._trunk.encode(noise.astype("uint8"))
        times = []
        for _ in range(warm_up + runs):
            with self._lock:
                chosen = self._choose(categories)
                start = time.perf_counter()
                activate(self._run(image, chosen)[None], self.manifest.classifier_activation)
                times.append(1e3 * (time.perf_counter() - start))
        return np.array(times[warm_up:])

    def reload(self) -> None:
        """Reads the manifest again: added branches can be chosen, removed ones are dropped.

        The trunk stays loaded, and so does every branch whose file did not change.

        Raises:
            FileNotFoundError: the manifest is gone.
            ValueError: it is damaged, or of a pack with another trunk.
        """
        with self._lock:
            self._reload()

    def _reload(self) -> None:
        manifest = read_manifest(self.folder)
        before = self.manifest.trunk
        if dataclasses.replace(manifest.trunk, file=before.file) != before:  # names may change
            raise ValueError(
                f"The branch pack {str(self.folder)!r} has another trunk now. Make a new "
                "PackRunner."
            )
        self.manifest = manifest
        kept = {part.sha256 for part in manifest.branches.values()}
        self._loaded = {key: part for key, part in self._loaded.items() if key in kept}

    def _choose(self, categories: Sequence[str] | None) -> Hierarchy:
        """The part of the hierarchy that these categories need."""
        hierarchy = self.manifest.hierarchy
        names = self._chosen if categories is None else categories
        return hierarchy if names is None else hierarchy.prune(names)

    def _branch(self, node: Node) -> PartRunner:
        part = self.manifest.branches[node.id]
        if part.sha256 not in self._loaded:
            self._loaded[part.sha256] = load_part(
                self.folder,
                part,
                threads=self.threads,
                interpreter=self.interpreter.split()[0],
            )
        return self._loaded[part.sha256]

    def _run(self, image: np.ndarray, chosen: Hierarchy) -> np.ndarray:
        """The logits of one encoded image, `(categories,)` float32."""
        found = {}

        def run(node: Node, features: np.ndarray) -> None:
            output = self._branch(node).pass_on(features)
            if node.is_category:
                found[node.id] = output[0, 0]
            for child in node.children:
                run(child, output)

        features = self._trunk.pass_on(image)
        for root in chosen.roots:
            run(root, features)
        return np.array([found[id_] for id_ in chosen.category_ids], "float32")


def _tensor(detail: dict) -> Tensor:
    scale, zero_point = detail["quantization"]
    shape = tuple(map(int, detail["shape"]))
    return Tensor(shape, np.dtype(detail["dtype"]).name, float(scale), int(zero_point))
