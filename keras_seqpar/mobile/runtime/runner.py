"""Runs a .tflite file in the interpreter that is installed. Needs NumPy and an interpreter only."""

import os
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.mobile.runtime.activations import ACTIVATIONS, activate
from keras_seqpar.mobile.runtime.inputs import (
    check_images,
    encode,
    input_limits,
    limit_gains,
)
from keras_seqpar.mobile.runtime.interpreters import Signature, find_interpreter, not_picklable
from keras_seqpar.mobile.runtime.labels import find_labels
from keras_seqpar.mobile.runtime.reading import read_tflite
from keras_seqpar.utils.pixels import check_values
from keras_seqpar.utils.warning import warn_user

SCORES, LOGITS = OUTPUTS = ("scores", "logits")
NONE = "none_of_these"  # output of files whose network stores a threshold


class Runner:
    """A .tflite file that is loaded and ready to run.

    It has the inputs and outputs of the Keras network: integers at the file's inputs and outputs
    are scaled here, and where the file gives logits (`outputs="logits"` of `convert`), the scores
    are computed from them in floats. Several threads may call it: their calls are computed one
    after the other. It cannot be pickled; another process makes its own from the path.

    Args:
        path: a .tflite file; labels are read from its metadata, or from `<name>.labels.txt` beside
            it if the metadata has none.
        threads: number of CPU threads.
        interpreter: a name in `INTERPRETERS`; by default the first that is installed.
        signature: for a file of several signatures (`convert_signatures`), which one to run; by
            default the first. Their labels are read from the file alone.

    Attributes:
        path: the file.
        signature: name of the signature that runs; `None` if the file has only one.
        signatures: names of all signatures; empty if the file has only one.
        interpreter: name and version of the interpreter.
        threads: number of CPU threads.
        input_shape: `(batch, height, width, channels)`, all fixed.
        limits: smallest and largest value that the file's images should have: `(0, 255)` where it
            takes pixels; `None` where the file does not say it.
        labels: one per score in order; `None` if neither has any.
        about: what `convert` wrote into the file: name of the network, quantization, `mean`
            and `std` of its input in pixels, `activation` over its logits, `outputs` if these are
            its logits, `none_of_these` with the threshold if it stores one, `max_gain` where gains
            are limited; empty for other files.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, no .tflite file, or not for images; its label file does
            not fit; `threads` is below 1; `interpreter` or `signature` is unknown.
        ImportError: no interpreter is installed.

    Example:

    >>> runner = Runner("pets.tflite")
    >>> runner.labels, runner(images).shape  # (n, height, width, channels) -> (n, categories)
    (('cat', 'dog'), (60, 2))
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threads: int = 1,
        interpreter: str | None = None,
        signature: str | None = None,
    ):
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads must be a whole number of 1 or more, got {threads!r}.")
        self.path = Path(path)
        self.threads = threads
        self._contents = contents = read_tflite(self.path)
        self.about = contents.about
        keys = tuple(contents.signatures)
        self.signatures = keys if len(keys) > 1 else ()
        self.signature = _choose(self.path, self.signatures, signature)
        self.interpreter, engine = find_interpreter(interpreter)
        try:
            self._loaded = self._engine = engine(str(self.path), num_threads=threads)
            if self.signature:
                self._engine = Signature(self._loaded, self.signature)
        except (ValueError, RuntimeError) as error:
            raise self._refused("load", error) from error
        _check_sizes(self.path, self._engine.get_input_details())
        try:
            if not self.signature:
                self._engine.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise self._refused("load", error) from error
        self._lock = threading.RLock()  # of the interpreter: its tensors belong to one call
        self._suspicion_told = False
        self._find_tensors()

    def beside(self, signature: str) -> "Runner":
        """Makes a runner of another signature of the same file, which is loaded only once.

        Args:
            signature: its name.

        Returns:
            The runner. Calls of the two are computed one after the other.

        Raises:
            ValueError: the file has no such signature.
        """
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other.signature = _choose(self.path, self.signatures, signature)
        other._engine = Signature(self._loaded, signature)
        _check_sizes(self.path, other._engine.get_input_details())
        other._find_tensors()
        return other

    def _find_tensors(self) -> None:
        """Finds inputs, outputs and labels of the signature that runs."""
        contents = self._contents
        inputs = self._engine.get_input_details()
        outputs = self._engine.get_output_details()
        none = [output for output in outputs if output["name"] == NONE]
        scores = [output for output in outputs if output["name"] != NONE]
        ranks = [len(x["shape"]) for x in (*inputs, *none)]
        wanted = [4, 2, 2][: len(inputs)] + [2] * len(none)
        one = len(scores) == 1 and len(scores[0]["shape"]) > 0
        if not 1 <= len(inputs) <= 2 or ranks != wanted or not one:
            shapes = [tuple(map(int, x["shape"])) for x in (*inputs, *outputs)]
            raise ValueError(
                f"{str(self.path)!r} is no network for images: its inputs and outputs have the "
                f"shapes {shapes}. Wanted: (batch, height, width, channels), perhaps gains "
                "(batch, nodes), and one output, perhaps none_of_these beside it."
            )
        self._image, self._gains = inputs[0], inputs[1] if len(inputs) == 2 else None
        self._scores, self._none = scores[0], none[0] if none else None
        self.input_shape = tuple(map(int, self._image["shape"]))
        for key in ("mean", "std"):
            if len(known := self.about.get(key, [0])) not in (1, self.input_shape[-1]):
                raise ValueError(
                    f"{str(self.path)!r} is damaged: its {key} {known} does not fit images of "
                    f"{self.input_shape[-1]} channels. Copy or convert it again."
                )
        count = int(self._scores["shape"][-1])
        inside = contents.signatures[self.signature] if self.signature else contents.labels
        self.labels = find_labels(self.path, count, inside, only_inside=bool(self.signature))
        self._activation = _activation(self.path, self.about)
        self.limits = input_limits(self.path, self.about, self._image)

    def __reduce_ex__(self, protocol):
        raise not_picklable(self, self.path)

    @property
    def outputs(self) -> str:
        """What the file gives: `"scores"`, or `"logits"` from which scores are computed here."""
        return self.about.get("outputs", SCORES)

    @property
    def input_dtype(self) -> np.dtype:
        """Dtype of the file's image input: float32, uint8 or int8."""
        return np.dtype(self._image["dtype"])

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the scores, with the file's batch size."""
        return tuple(map(int, self._scores["shape"]))

    def scores_of(self, values: np.ndarray) -> np.ndarray:
        """Turns the file's own output, as a stream gives it, into scores in float32."""
        return activate(_scaled(values, self._scores), self._activation)

    def __call__(self, images: np.ndarray, gains: np.ndarray | None = None) -> np.ndarray:
        """Runs the network.

        Args:
            images: `(n, height, width, channels)`, in the range that the Keras network takes.
            gains: for a network with a gains input, one `(nodes,)` vector for all images, 0 or
                more; neutral by default. If the file limits gains (`about["max_gain"]`), larger
                ones are clipped, with a warning.

        Returns:
            `(n, outputs)` float32.

        Raises:
            TypeError: images that are no array of integers or floats.
            ValueError: images or gains of another shape; images with NaN or values that contradict
                what the file takes; gains that are negative or not finite, or gains for a network
                without.
        """
        return self.decide(images, gains)[0]

    def decide(
        self, images: np.ndarray, gains: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Runs the network and decides which images show none of its categories.

        Args:
            images: `(n, height, width, channels)`, in the range that the Keras network takes.
            gains: as for a call.

        Returns:
            `(n, outputs)` float32 scores, and `(n,)` bool, or `None` if the file has no output
            `none_of_these`.

        Raises:
            TypeError: as for a call.
            ValueError: as for a call.
        """
        images = check_images(images, self.input_shape[1:], self.path.name)
        suspicious = check_values(images, self.limits, "images", self.path.name)
        if suspicious and not self._suspicion_told:
            self._suspicion_told = True
            warn_user(suspicious)
        return self.decide_checked(images, gains)

    def decide_checked(
        self, images: np.ndarray, gains: np.ndarray | None = None, *, logits: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Does what `decide` does, for images that were checked already.

        Args:
            images: as for `decide`.
            gains: as for `decide`.
            logits: return the logits of a file that gives these, not the scores.
        """
        activation = None if logits else self._activation
        batch, *shape = self.input_shape
        scores, none = [], []
        with self._lock:
            self._set_gains(gains)
            for start in range(0, len(images), batch):
                some = images[start : start + batch]
                fill = np.resize(some, (batch, *shape)) if len(some) < batch else some
                self._run(encode(fill, self._image))
                scores.append(activate(self._read(self._scores), activation)[: len(some)])
                if self._none:
                    none.append(self._read(self._none)[: len(some), 0] > 0.5)
        return np.concatenate(scores), np.concatenate(none) if none else None

    def latency(self, runs: int = 50, warm_up: int = 10) -> np.ndarray:
        """Measures how long a run takes, input and output included.

        Args:
            runs: number of runs to measure.
            warm_up: number of runs before them.

        Returns:
            `(runs,)` milliseconds.
        """
        low, high = (0, 256) if self.input_dtype != np.int8 else (-128, 128)
        noise = np.random.default_rng(0).integers(low, high, self.input_shape)
        image = noise.astype(self.input_dtype)
        times = []
        for _ in range(warm_up + runs):
            with self._lock:
                self._set_gains(None)
                start = time.perf_counter()
                self._run(image)
                activate(self._read(self._scores), self._activation)
                times.append(1e3 * (time.perf_counter() - start))
        return np.array(times[warm_up:])

    def _set_gains(self, gains) -> None:
        if self._gains is None:
            if gains is not None:
                raise ValueError(f"{self.path.name} has no gains input.")
            return
        shape = tuple(map(int, self._gains["shape"]))
        gains = np.ones(shape[1:]) if gains is None else np.asarray(gains)
        if gains.shape != shape[1:]:
            raise ValueError(f"gains must have the shape {shape[1:]}, got {gains.shape}.")
        gains, clipped = limit_gains(gains, self.about.get("max_gain"), self.path.name)
        if clipped:
            warnings.warn(clipped, stacklevel=4)
        gains = np.broadcast_to(gains, shape)
        self._engine.set_tensor(self._gains["index"], encode(gains, self._gains))

    def _run(self, image: np.ndarray) -> None:
        try:
            self._engine.set_tensor(self._image["index"], image)
            self._engine.invoke()
        except RuntimeError as error:  # signatures are prepared when they first run
            raise self._refused("run", error) from error

    def _refused(self, what: str, error: Exception) -> ValueError:
        """The error for a file that the interpreter does not take."""
        return ValueError(
            f"{self.interpreter} cannot {what} {str(self.path)!r}: {error} The file is damaged, or "
            "needs what this interpreter lacks."
        )

    def _read(self, output: dict) -> np.ndarray:
        """The values of an output in float32."""
        return _scaled(self._engine.get_tensor(output["index"]), output)


def _scaled(values: np.ndarray, output: Mapping) -> np.ndarray:
    """Values of an output in float32."""
    scale, zero = output["quantization"]
    if values.dtype.kind in "iu":
        return ((values.astype("int32") - zero) * np.float32(scale)).astype("float32")
    return values


def _choose(path: Path, keys: tuple[str, ...], signature: str | None) -> str | None:
    """The signature to run; `None` for a file of one."""
    if not keys and signature is not None:
        raise ValueError(
            f"{path.name} has one signature only, so there is no {signature!r} to choose. Files of "
            "several come from keras_seqpar.mobile.convert_signatures."
        )
    if signature is not None and signature not in keys:
        raise ValueError(f"{path.name} has no signature {signature!r}. It has: {', '.join(keys)}.")
    return signature or (keys[0] if keys else None)


def _check_sizes(path: Path, inputs: Sequence[Mapping]) -> None:
    """Refuses a file that leaves the size of its images open: it has a 1 in that place."""
    for detail in inputs[:1]:
        shape, stated = list(detail["shape"]), list(detail["shape_signature"])
        if len(shape) == 4 and any(
            pair == (1, -1) for pair in zip(shape[1:], stated[1:], strict=True)
        ):
            raise ValueError(
                f"{str(path)!r} leaves the size of its images open: {tuple(map(int, stated))}. "
                "Convert it with a fixed input shape: (height, width, channels)."
            )


def _activation(path: Path, about: Mapping) -> str | None:
    """What turns a file's outputs into scores; `None` where they are what the network gives."""
    if about.get("outputs", SCORES) == SCORES:
        return None
    activation = about.get("activation")
    if about["outputs"] != LOGITS or activation not in ACTIVATIONS:
        raise ValueError(
            f"{str(path)!r} gives {about['outputs']!r} for the activation {activation!r}, which "
            "this keras_seqpar cannot turn into scores. Convert it again, or install the "
            "keras_seqpar that made it."
        )
    return activation
