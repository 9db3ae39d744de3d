"""Runs a .tflite file in the interpreter that is installed. Needs NumPy and an interpreter only."""

import copy
import os
import time
import warnings
from pathlib import Path

import numpy as np

from keras_seqpar.mobile.runtime.interpreters import Signature, find_interpreter
from keras_seqpar.mobile.runtime.reading import lines, read_tflite

LABELS_SUFFIX = ".labels.txt"
NONE = "none_of_these"  # output of files whose network stores a threshold


class Runner:
    """A .tflite file that is loaded and ready to run.

    It has the inputs and outputs of the Keras network: integers at the file's inputs and outputs
    are scaled here.

    Args:
        path: a .tflite file; labels are read from `<name>.labels.txt` beside it, or from the
            file's metadata if there is no such file.
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
        labels: one per score in order; `None` if neither has any.
        about: what `convert` wrote into the file: name of the network, quantization, `mean`
            and `std` of its input in pixels, `activation` over its logits, `none_of_these` with
            the threshold if it stores one, `max_gain` where gains are limited; empty for other
            files.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, no .tflite file, or not for images; its label file does
            not fit; `threads` is below 1; `interpreter` or `signature` is unknown.
        ImportError: no interpreter is installed.

    Example:

    >>> runner = Runner("digits.tflite")
    >>> scores = runner(images)  # (n, height, width, channels) -> (n, categories)
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
            else:
                self._engine.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"{self.interpreter} cannot load {str(self.path)!r}: {error} The file is damaged, "
                "or the interpreter too old for it."
            ) from error
        self._find_tensors()

    def beside(self, signature: str) -> "Runner":
        """Makes a runner of another signature of the same file, which is loaded only once.

        Args:
            signature: its name.

        Returns:
            The runner. The two must not be used by several threads at once.

        Raises:
            ValueError: the file has no such signature.
        """
        other = copy.copy(self)
        other.signature = _choose(self.path, self.signatures, signature)
        other._engine = Signature(self._loaded, signature)
        other._find_tensors()
        return other

    def _find_tensors(self) -> None:
        """Finds inputs, outputs and labels of the signature that runs."""
        contents = self._contents
        inputs = self._engine.get_input_details()
        outputs = self._engine.get_output_details()
        none = [output for output in outputs if output["name"] == NONE]
        scores = [output for output in outputs if output["name"] != NONE]
        if len(inputs) > 2 or len(inputs[0]["shape"]) != 4 or len(scores) != 1:
            shapes = [tuple(map(int, x["shape"])) for x in (*inputs, *outputs)]
            raise ValueError(
                f"{str(self.path)!r} is no network for images: its inputs and outputs have the "
                f"shapes {shapes}. Wanted: (batch, height, width, channels), perhaps gains "
                "(batch, nodes), and one output, perhaps none_of_these beside it."
            )
        self._image, self._gains = inputs[0], inputs[1] if len(inputs) == 2 else None
        self._scores, self._none = scores[0], none[0] if none else None
        self.input_shape = tuple(map(int, self._image["shape"]))
        count = int(self._scores["shape"][-1])
        inside = contents.signatures[self.signature] if self.signature else contents.labels
        self.labels = _read_labels(self.path, count, inside, only_inside=bool(self.signature))

    @property
    def input_dtype(self) -> np.dtype:
        """Dtype of the file's image input: float32, uint8 or int8."""
        return np.dtype(self._image["dtype"])

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
            ValueError: images or gains of another shape, gains that are negative or not finite,
                or gains for a network without.
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
            ValueError: as for a call.
        """
        images = np.asarray(images)
        batch, *shape = self.input_shape
        if list(images.shape[1:]) != shape or not len(images):
            raise ValueError(
                f"{self.path.name} takes images of shape (n, {', '.join(map(str, shape))}), "
                f"got {images.shape}."
            )
        self._set_gains(gains)
        scores, none = [], []
        for start in range(0, len(images), batch):
            some = images[start : start + batch]
            fill = np.resize(some, (batch, *shape)) if len(some) < batch else some
            self._run(encode(fill, self._image))
            scores.append(self._read(self._scores)[: len(some)])
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
        self._set_gains(None)
        times = []
        for _ in range(warm_up + runs):
            start = time.perf_counter()
            self._run(image)
            self._read(self._scores)
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
        if not (np.isfinite(gains) & (gains >= 0)).all():
            raise ValueError(f"gains must be finite and not negative, got {gains.tolist()}.")
        most = self.about.get("max_gain")
        if most is not None and (gains > most).any():
            warnings.warn(
                f"Gains up to {gains.max():g} are clipped to {most:g}: {self.path.name} was "
                "calibrated up to that. Convert again with a larger max_gain.",
                stacklevel=4,
            )
            gains = np.minimum(gains, most)
        gains = np.broadcast_to(gains, shape)
        self._engine.set_tensor(self._gains["index"], encode(gains, self._gains))

    def _run(self, image: np.ndarray) -> None:
        self._engine.set_tensor(self._image["index"], image)
        self._engine.invoke()

    def _read(self, output: dict) -> np.ndarray:
        """The values of an output in float32."""
        values = self._engine.get_tensor(output["index"])
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


def encode(values: np.ndarray, detail: dict) -> np.ndarray:
    """Scales values to the integers of an input; floats stay."""
    dtype = np.dtype(detail["dtype"])
    scale, zero = detail["quantization"]
    if dtype.kind not in "iu" or not scale:
        return values.astype(dtype)
    if (values.dtype, dtype, scale, zero) == (np.uint8, np.uint8, 1, 0):
        return values
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(dtype)


def _read_labels(
    path: Path, outputs: int, inside: tuple[str, ...] | None, only_inside: bool = False
) -> tuple[str, ...] | None:
    """The labels beside a file, or those `inside` it."""
    beside = path.with_name(path.stem + LABELS_SUFFIX)
    there = beside.is_file() and not only_inside
    labels = lines(beside.read_bytes()) if there else inside
    if labels is not None and len(labels) != outputs:
        where = str(beside) if there else f"the metadata of {path.name}"
        raise ValueError(
            f"{where!r} has {len(labels)} labels, but {path.name} has {outputs} outputs. "
            "The two belong to different conversions: convert again."
        )
    return labels
