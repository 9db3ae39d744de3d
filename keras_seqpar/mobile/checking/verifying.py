"""Checks a .tflite file against the Keras network it was made of, on real images."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.mobile.checking.bounds import (
    BOUNDS,
    CONFIDENCE,
    LOGIT_BOUNDS,
    MARGIN,
    Bounds,
    bounds_for,
    needed,
    proven,
)
from keras_seqpar.mobile.network import in_float32, read_network
from keras_seqpar.mobile.runtime.activations import activate
from keras_seqpar.mobile.runtime.runner import LOGITS, SCORES, Runner
from keras_seqpar.networks.parts import with_activation
from keras_seqpar.surgery.unknowns import none_of_these
from keras_seqpar.utils.warning import warn_user

RUNS = 50  # of which the median latency is taken
BATCH = 32  # images per call of the Keras network


@dataclasses.dataclass(frozen=True)
class Report:
    """How a file compares with Keras on real images; `print` shows a table.

    Args:
        path: the file.
        quantization: of the file.
        images: how many were compared.
        agreement: share of images for which file and Keras predict the same category.
        max_error: largest difference of any score, relative to the range of Keras's scores.
        mean_error: the mean of these differences.
        accuracy: of the file; `None` without labels.
        keras_accuracy: of the Keras network; `None` without labels.
        none_agreement: share of images for which both decide the same about none of these; `None`
            if the network stores no threshold.
        rejected: share of images that, according to the file, show none of these; `None` if the
            network stores no threshold.
        bytes: size of the file.
        milliseconds: median latency of one run.
        interpreter: name and version of the interpreter.
        threads: number of its CPU threads.
        bounds: the bounds that the file must keep.
        ties: share of images for which several categories have the file's best score, but one has
            Keras's.
        zeros: share of the file's scores that are exactly 0.
        outputs: what was compared: `"scores"`, or the `"logits"` of a file that gives these.
        signature: the signature that ran, in a file of several.

    Example:

    >>> report = verify("pets.tflite", pets, images)
    >>> report.agreement, report.problems
    (1.0, [])
    """

    path: Path
    quantization: str
    images: int
    agreement: float
    max_error: float
    mean_error: float
    accuracy: float | None
    keras_accuracy: float | None
    none_agreement: float | None
    rejected: float | None
    bytes: int
    milliseconds: float
    interpreter: str
    threads: int
    bounds: Bounds
    ties: float
    zeros: float
    outputs: str = SCORES
    signature: str | None = None

    @property
    def name(self) -> str:
        """The file, and the signature where it has several."""
        return self.path.name + (f", signature {self.signature}" if self.signature else "")

    @property
    def problems(self) -> list[str]:
        """What is beyond the bounds; empty if the file is within them."""
        found = []
        if not self.max_error <= self.bounds.max_error:  # also where it is NaN
            found.append(
                f"the largest error, {self.max_error:.2g} of the output range, is above "
                f"{self.bounds.max_error:g}"
            )
        most = self.bounds.max_mean_error
        if not found and most is not None and not self.mean_error <= most:
            found.append(
                f"the mean error, {self.mean_error:.2g} of the output range, is above {most:g}"
            )
        shares = {"top-1 agreement": self.agreement}
        if self.none_agreement is not None:
            shares["agreement on none of these"] = self.none_agreement
        for name, share in shares.items():
            if problem := self.bounds.agreement_problem(name, share, self.images):
                found.append(problem)
        if self.ties > 1 - self.bounds.min_agreement:
            found.append(
                f"for {self.ties:.2%} of {self.images} images several categories share the best "
                "score, so chance decides which is predicted: convert with outputs='logits'"
            )
        most = self.bounds.max_accuracy_drop
        if most is not None and self.accuracy is not None and self.keras_accuracy is not None:
            drop = round(self.keras_accuracy - self.accuracy, 9)  # of shares of whole images
            if not drop <= most:
                found.append(
                    f"the accuracy, {self.accuracy:.2%} of {self.images} images, is more than "
                    f"{most:.2%} below Keras's {self.keras_accuracy:.2%}"
                )
        return found

    def check(self) -> "Report":
        """Returns the report if the file is within its bounds.

        Raises:
            ValueError: it is not; the message names the bounds.
        """
        if self.problems:
            raise ValueError(f"{self.name} disagrees with Keras: {'; '.join(self.problems)}.")
        return self

    def __str__(self) -> str:
        threads = f"{self.threads} thread" + ("s" if self.threads > 1 else "")
        wanted, mean = self.bounds.min_proven, self.bounds.max_mean_error
        proof = ("" if wanted is None else f">= {wanted:.2%}, ") + f"{CONFIDENCE:.0%} confidence"
        mean = "" if mean is None else f"<= {mean:g}, "
        rows = [
            ("top-1 agreement", f"{self.agreement:.2%}", f">= {self.bounds.min_agreement:.2%}"),
            ("proven by these", f"{proven(self.agreement, self.images):.2%}", proof),
            ("largest error", f"{self.max_error:.2g}", f"<= {self.bounds.max_error:g}"),
            ("mean error", f"{self.mean_error:.2g}", f"{mean}of the range of {self.outputs}"),
            ("ties at the top", f"{self.ties:.2%}", f"of images; {self.zeros:.2%} of scores are 0"),
        ]
        if self.accuracy is not None:
            note = f"Keras {self.keras_accuracy:.2%}"
            if self.bounds.max_accuracy_drop is not None:
                note += f", at most {self.bounds.max_accuracy_drop:.2%} below"
            rows.append(("accuracy", f"{self.accuracy:.2%}", note))
        if self.none_agreement is not None:
            note = f">= {self.bounds.min_agreement:.2%}, it rejects {self.rejected:.2%}"
            rows.append(("none of these", f"{self.none_agreement:.2%}", note))
        rows += [
            ("size", f"{self.bytes:,}", "bytes"),
            ("median latency", f"{self.milliseconds:.2f}", f"ms, {threads}, {RUNS} runs"),
        ]
        lines = [
            f"{self.name} ({self.quantization}) in {self.interpreter}, "
            f"beside Keras on {self.images} images"
        ]
        lines += [f"  {name:<16}{value:>12}  {note}" for name, value, note in rows]
        return "\n".join(lines)


def verify(
    path: str | os.PathLike,
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    max_error: float | None = None,
    min_agreement: float | None = None,
    max_accuracy_drop: float | None = None,
    threads: int = 1,
    interpreter: str | None = None,
    signature: str | None = None,
) -> Report:
    """Runs a file and its Keras network on the same images.

    A network in mixed precision is compared in float32, a gains input is neutral. Where the
    network stores a threshold, the decisions about none of these are compared as well. Of a file
    that gives logits, these are compared. Runs on every backend.

    Few images prove little: where 87 % of all images agree, 5 images all agree half of the time.
    So a file whose scores may differ (all kinds but float32 and float16) passes only if its
    agreement on these images proves, with 95 % confidence, that it is no more than 3 points below
    the bound: with the usual bound of 97 %, 49 images that all agree do. The message says how many
    it takes.

    Args:
        path: a .tflite file.
        model: the network that it was made of; of one signature, the cutout with its categories.
        images: real images `(n, height, width, channels)` as the network takes them, 100 or more.
        labels: `(n,)` index of the true category of every image.
        max_error: replaces `BOUNDS[quantization].max_error`; the bound of the mean error changes
            by the same factor.
        min_agreement: replaces `BOUNDS[quantization].min_agreement`.
        max_accuracy_drop: how far the file's accuracy may be below Keras's: 0.01 is one point.
            Needs labels; by default any accuracy is allowed.
        threads: number of CPU threads of the interpreter.
        interpreter: name of the interpreter; by default the first that is installed.
        signature: which one to verify in a file of several; by default the first.

    Returns:
        The report. Its `check()` raises if the file is beyond the bounds.

    Raises:
        TypeError: an argument of the wrong type.
        FileNotFoundError: there is no such file.
        ValueError: the file is no .tflite file, does not fit the network, or has no such
            signature; images or labels that do not fit.
        ImportError: no interpreter is installed.

    Example:

    >>> print(verify("pets.tflite", pets, images, labels).check())
    """
    runner = Runner(path, threads=threads, interpreter=interpreter, signature=signature)
    facts = read_network(model)
    images = facts.check_images(images, runner.input_shape[1:])
    as_logits = runner.outputs == LOGITS
    logits = as_logits or (facts.parts is not None and facts.activation in (None, "linear"))
    bounds = _bounds(runner, logits, max_error, min_agreement, max_accuracy_drop)
    if max_accuracy_drop is not None and labels is None:
        raise ValueError("max_accuracy_drop needs labels: the true category of every image.")
    network = in_float32(model)
    if as_logits and facts.parts is not None:
        network = with_activation(network, None)
    if facts.threshold:
        network = none_of_these(network)
    expected, *decided = _keras_outputs(network, images)
    if expected.ndim != 2:
        raise ValueError(f"Only scores (n, categories) can be verified, got {expected.shape}.")
    labels = _check_labels(labels, expected)
    scores, none = runner.decide_checked(images, logits=as_logits)
    if bool(decided) != (none is not None):
        raise ValueError(
            f"Only one of {str(path)!r} and the model {model.name!r} says none of these: the file "
            "was made of another network, or before it stored a threshold (with_threshold)."
        )
    if scores.shape != expected.shape:
        raise ValueError(
            f"{str(path)!r} gives {scores.shape[1]} scores per image, the model {model.name!r} "
            f"{expected.shape[1]}: the file was made of another network."
        )
    spread = float(expected.max() - expected.min())
    errors = np.abs(scores - expected) / (spread or 1.0)
    _warn_of_few_images(len(images), bounds)
    top, keras_top = scores.argmax(-1), expected.argmax(-1)
    return Report(
        path=runner.path,
        quantization=runner.about.get("quantization", "unknown"),
        images=len(images),
        agreement=float((top == keras_top).mean()),
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
        accuracy=None if labels is None else float((top == labels).mean()),
        keras_accuracy=None if labels is None else float((keras_top == labels).mean()),
        none_agreement=None if none is None else float((none == (decided[0][:, 0] > 0.5)).mean()),
        rejected=None if none is None else float(none.mean()),
        bytes=runner.path.stat().st_size,
        milliseconds=float(np.median(runner.latency(RUNS))),
        interpreter=runner.interpreter,
        threads=threads,
        bounds=bounds,
        ties=float((_tied(scores) & ~_tied(expected)).mean()),
        zeros=float((activate(scores, facts.activation if as_logits else None) == 0).mean()),
        outputs=LOGITS if logits else SCORES,
        signature=runner.signature,
    )


def _bounds(runner: Runner, logits: bool, *given: float | None) -> Bounds:
    """The bounds given, or those of the file's quantization."""
    usual = (LOGIT_BOUNDS if logits else BOUNDS).get(runner.about.get("quantization", ""))
    bounds = bounds_for(usual, *given)
    if bounds is None:
        raise ValueError(
            f"{runner.path.name} does not say how it was quantized (it was not made here), so it "
            "has no usual bounds. Give max_error and min_agreement."
        )
    return bounds


def _warn_of_few_images(images: int, bounds: Bounds) -> None:
    """Says what few images prove, where the bounds ask for no proof."""
    wanted = max(0.0, bounds.min_agreement - MARGIN)
    if bounds.min_proven is None and (sure := proven(1.0, images)) < wanted:
        warn_user(
            f"Compared on {images} image{'s' * (images > 1)}: that proves an agreement of "
            f"{sure:.2%} or more only ({CONFIDENCE:.0%} confidence). Compare on "
            f"{needed(1.0, wanted)} or more."
        )


def _tied(scores: np.ndarray) -> np.ndarray:
    """Whether several categories have the best score, `(n,)` bool."""
    return (scores == scores.max(-1, keepdims=True)).sum(-1) > 1


def _keras_outputs(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """The outputs of the Keras network, each `(n, ...)`; gains are neutral."""
    found = []
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH].astype("float32")
        if len(model.inputs) == 2:
            some = [some, np.ones((len(some), model.inputs[1].shape[-1]), "float32")]
        outputs = model(some, training=False)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        found.append([keras.ops.convert_to_numpy(output) for output in outputs])
    return [np.concatenate(some) for some in zip(*found, strict=True)]


def _check_labels(labels, scores: np.ndarray) -> np.ndarray | None:
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be whole numbers, got {labels.dtype}.")
    count, categories = scores.shape
    if labels.shape != (count,):
        raise ValueError(f"labels must have the shape ({count},), got {labels.shape}.")
    if labels.min() < 0 or labels.max() >= categories:
        raise ValueError(
            f"labels must be in 0 .. {categories - 1}, the network's outputs, but some are in "
            f"{labels.min()} .. {labels.max()}."
        )
    return labels
