"""Where "none of these" begins: scores of logits, thresholds fitted on them, ROC. NumPy only.

A network names one of its categories, whatever the image shows. How well it knows the image
is read from the logits, and a high score means known:

- `"energy"`: `T log sum exp(z / T)` over the logits `z`, the negative of the energy of Liu et al.,
  arXiv 2010.03759, equation 3. They recommend the temperature `T` = 1 (section 4.2).
- `"max_logit"`: the largest logit (Hendrycks et al., arXiv 1911.11132, section 3).

For a single category both are the logit itself.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

SCORES = ("energy", "max_logit")
KEEP = 0.95  # share of own images to keep, as in "false positives at 95 % true positives"


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The score below which an image shows none of a network's categories.

    Args:
        value: the score, in units of a logit.
        score: one of `SCORES`.
        temperature: of the energy.

    Raises:
        TypeError: a number is none.
        ValueError: an unknown score, a value that is not finite, a temperature that is not above
            0, or one for the largest logit.
    """

    value: float
    score: str = "energy"
    temperature: float = 1.0

    def __post_init__(self):
        for name in ("value", "temperature"):
            number = getattr(self, name)
            if isinstance(number, bool) or not hasattr(number, "__float__"):
                raise TypeError(f"The {name} of a threshold must be a number, got {number!r}.")
            object.__setattr__(self, name, float(number))
        _check_score(self.score, self.temperature)
        if not math.isfinite(self.value):
            raise ValueError(f"The value of a threshold must be finite, got {self.value}.")

    @classmethod
    def of(cls, source) -> "Threshold | None":
        """Reads a threshold, its configuration, or `None`, which stays."""
        if source is None or isinstance(source, cls):
            return source
        if isinstance(source, Mapping):
            return cls(**source)
        raise TypeError(
            f"Expected a Threshold or None, got {source!r:.80}. Make one with "
            "keras_seqpar.fit_threshold."
        )

    def get_config(self) -> dict:
        """Returns the threshold as JSON-ready data; `Threshold.of` reads it back."""
        return dataclasses.asdict(self)

    def rejects(self, logits) -> np.ndarray:
        """Says which images show none of the categories.

        Args:
            logits: `(images, categories)`.

        Returns:
            `(images,)` bool.
        """
        return known_score(logits, self.score, self.temperature) < self.value


@dataclasses.dataclass(frozen=True, eq=False)
class Roc:
    """What every threshold keeps of the own and of the foreign images.

    Args:
        thresholds: from infinity downwards, then every score that occurs; an image is kept
            whose score is at or above the threshold.
        own: share of the own images that each keeps (true positives).
        foreign: share of the foreign images that each keeps (false positives).
    """

    thresholds: np.ndarray
    own: np.ndarray
    foreign: np.ndarray

    @property
    def area(self) -> float:
        """AUROC: how often a random own image scores above a random foreign one."""
        heights = (self.own[1:] + self.own[:-1]) / 2
        return float(np.sum(np.diff(self.foreign) * heights))

    def foreign_at(self, own: float = KEEP) -> float:
        """Share of the foreign images kept by the highest threshold that keeps `own` of the own.

        Raises:
            ValueError: `own` is no share above 0.
        """
        _check_share("own", own)
        return float(self.foreign[np.argmax(self.own >= own)])


def known_score(logits, score: str = "energy", temperature: float = 1.0) -> np.ndarray:
    """How well a network knows what it sees; high is known.

    Args:
        logits: `(images, categories)`.
        score: one of `SCORES`.
        temperature: of the energy; 1 for the largest logit.

    Returns:
        `(images,)` float64.

    Raises:
        ValueError: logits of another shape, none, or not finite; an unknown score; a temperature
            that is not above 0.

    Example:

    >>> known_score([[0.0, 0.0], [9.0, 0.0]], "max_logit")
    array([0., 9.])
    """
    logits = np.asarray(logits, "float64")
    if logits.ndim != 2 or not logits.size:
        raise ValueError(f"logits must be (images, categories), got the shape {logits.shape}.")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite, but some are NaN or infinite.")
    _check_score(score, temperature)
    top = logits.max(-1)
    if score == "max_logit":
        return top
    return top + temperature * np.log(np.exp((logits - top[:, None]) / temperature).sum(-1))


def roc(own, foreign) -> Roc:
    """Compares the scores of own and foreign images at every threshold.

    Args:
        own: `(n,)` scores of images of the network's categories.
        foreign: `(m,)` scores of other images.

    Returns:
        The curve.

    Raises:
        ValueError: no vectors, an empty one, or a score that is not finite.

    Example:

    >>> roc([3.0, 2.0, 1.0], [0.5, 2.5]).area
    0.6666666666666666
    """
    own, foreign = _check_scores("own", own), _check_scores("foreign", foreign)
    scores = np.unique(np.concatenate([own, foreign]))[::-1]

    def kept(some: np.ndarray) -> np.ndarray:
        below = np.searchsorted(np.sort(some), scores, side="left")
        return np.concatenate([[0.0], (len(some) - below) / len(some)])

    return Roc(np.concatenate([[np.inf], scores]), kept(own), kept(foreign))


def fit_threshold(
    own,
    foreign=None,
    *,
    score: str = "energy",
    temperature: float = 1.0,
    keep: float | None = None,
) -> Threshold:
    """Fits a threshold on logits of images that were not trained on.

    It lies half-way between two scores that occur, so that rounding on another backend or device
    decides none of these images otherwise.

    Args:
        own: `(n, categories)` logits of images of the network's categories.
        foreign: `(m, categories)` its logits of other images, if there are any.
        score: one of `SCORES`.
        temperature: of the energy.
        keep: least share of the own images to keep. By default 0.95 without foreign images;
            with them, whatever has the highest balanced accuracy: the mean of the shares of own
            images kept and of foreign ones rejected.

    Returns:
        The threshold.

    Raises:
        ValueError: logits that do not fit, an unknown score, a share that is not above 0 and at
            most 1.

    Example:

    >>> logits = with_activation(pets, None).predict(images)
    >>> pets = with_threshold(pets, fit_threshold(logits, keep=0.98))
    """
    own_scores = known_score(own, score, temperature)
    scores = own_scores
    if foreign is not None:
        if np.shape(own)[1:] != np.shape(foreign)[1:]:
            raise ValueError(
                "own and foreign logits must be of the same categories, got the shapes "
                f"{np.shape(own)} and {np.shape(foreign)}."
            )
        scores = np.concatenate([own_scores, known_score(foreign, score, temperature)])
    if foreign is None or keep is not None:
        keep = KEEP if keep is None else keep
        _check_share("keep", keep)
        # As many as must be kept; the share is rounded first, for 0.07 * 100 is above 7.
        lowest = np.sort(own_scores)[len(own_scores) - math.ceil(round(keep * len(own_scores), 6))]
    else:
        curve = roc(own_scores, scores[len(own_scores) :])
        balanced = np.round(curve.own + 1 - curve.foreign, 9)  # so that equals are equal
        best = len(balanced) - 1 - np.argmax(balanced[::-1])  # the one that keeps most
        lowest = curve.thresholds[best]
    below = scores[scores < lowest]
    margin = 1e-3 * max(1.0, abs(lowest))  # below all scores: more than rounding
    value = (lowest + below.max()) / 2 if below.size else lowest - margin
    return Threshold(value, score, temperature)


def _check_score(score: str, temperature: float) -> None:
    if score not in SCORES:
        raise ValueError(f"Unknown score {score!r}. Valid: {', '.join(SCORES)}.")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a finite number above 0, got {temperature}.")
    if score == "max_logit" and temperature != 1:
        raise ValueError(
            f"temperature={temperature} belongs to the energy; max_logit takes none. Leave it out "
            'or take score="energy".'
        )


def _check_scores(name: str, scores) -> np.ndarray:
    scores = np.asarray(scores, "float64")
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(
            f"{name} must be one or more finite scores in a vector, got the shape {scores.shape}. "
            "keras_seqpar.surgery.unknowns.known_score makes scores of logits."
        )
    return scores


def _check_share(name: str, share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"{name} must be a share above 0 and at most 1, got {share}.")
