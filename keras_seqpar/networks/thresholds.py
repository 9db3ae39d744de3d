"""Thresholds for "none of these": scores of logits, thresholds fitted on them, ROC. NumPy only.

A network names one of its categories, whatever the image shows. A score of the logits says how
well it knows the image; high scores mean known:

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
"""What a threshold can be put on: the energy of the logits, or the largest logit.

Example:

>>> SCORES
('energy', 'max_logit')
"""
KEEP = 0.95  # share of in-distribution images to keep: "false positives at 95 % true positives"
"""Share of the in-distribution images that `fit_threshold` keeps by default, and at which the
false positives of a score are usually published: "FPR at 95 % TPR".

Example:

>>> roc([3.0, 2.0, 1.0], [0.5, 2.5]).out_of_distribution_at(KEEP)
0.5
"""


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The score below which an image shows none of a network's categories.

    Args:
        value: the score, in units of a logit.
        score: one of `SCORES`.
        temperature: `T` of the energy, see `fit_threshold`.

    Raises:
        TypeError: `value` or `temperature` is no number.
        ValueError: an unknown score, a value that is not finite, a temperature that is not above
            0, or one for the largest logit.

    Example:

    >>> Threshold(1.0, "max_logit").rejects([[0.2, 0.1], [3.0, 0.1]])
    array([ True, False])
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
        """The threshold itself, or the one that `get_config` described; `None` stays `None`."""
        if source is None or isinstance(source, cls):
            return source
        if isinstance(source, Mapping):
            return cls(**source)
        raise TypeError(
            f"Expected a Threshold or None, got {source!r:.80}. Make one with "
            "keras_seqpar.fit_threshold."
        )

    def get_config(self) -> dict:
        """The threshold as JSON-ready data; `Threshold.of` reads it."""
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
    """What every threshold keeps of in-distribution and of out-of-distribution images.

    Args:
        thresholds: from infinity downwards, then every score that occurs; an image is kept
            whose score is at or above the threshold.
        in_distribution: share of these images that each keeps (true positives).
        out_of_distribution: share of these images that each keeps (false positives).

    Example:

    >>> curve = roc([3.0, 2.0, 1.0], [0.5, 2.5])
    >>> curve.thresholds.tolist(), curve.out_of_distribution.tolist()
    ([inf, 3.0, 2.5, 2.0, 1.0, 0.5], [0.0, 0.0, 0.5, 0.5, 0.5, 1.0])
    """

    thresholds: np.ndarray
    in_distribution: np.ndarray
    out_of_distribution: np.ndarray

    @property
    def area(self) -> float:
        """AUROC: how often an in-distribution image scores above one that is not."""
        heights = (self.in_distribution[1:] + self.in_distribution[:-1]) / 2
        return float(np.sum(np.diff(self.out_of_distribution) * heights))

    def out_of_distribution_at(self, keep: float = KEEP) -> float:
        """Share of out-of-distribution images that are kept with a share of the others.

        Args:
            keep: share of in-distribution images to keep; the highest threshold that keeps so
                many is taken.

        Raises:
            ValueError: `keep` is no share above 0.
        """
        _check_share("keep", keep)
        return float(self.out_of_distribution[np.argmax(self.in_distribution >= keep)])


def known_score(logits, score: str = "energy", temperature: float = 1.0) -> np.ndarray:
    """Scores how well a network knows what an image shows: high scores mean known.

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


def roc(in_distribution, out_of_distribution) -> Roc:
    """Compares the scores of two sets of images at every threshold.

    Args:
        in_distribution: `(n,)` scores of images of the network's categories.
        out_of_distribution: `(m,)` scores of other images.

    Returns:
        The curve.

    Raises:
        ValueError: no vectors, an empty one, or a score that is not finite.

    Example:

    >>> roc([3.0, 2.0, 1.0], [0.5, 2.5]).area
    0.6666666666666666
    """
    known = _check_scores("in_distribution", in_distribution)
    other = _check_scores("out_of_distribution", out_of_distribution)
    scores = np.unique(np.concatenate([known, other]))[::-1]

    def kept(some: np.ndarray) -> np.ndarray:
        below = np.searchsorted(np.sort(some), scores, side="left")
        return np.concatenate([[0.0], (len(some) - below) / len(some)])

    return Roc(np.concatenate([[np.inf], scores]), kept(known), kept(other))


def fit_threshold(
    in_distribution,
    out_of_distribution=None,
    *,
    score: str = "energy",
    temperature: float = 1.0,
    keep: float | None = None,
) -> Threshold:
    """Fits a threshold on logits of images that were not trained on.

    The threshold is half-way between two scores that occur, so that rounding on another backend
    or device changes no decision on these images.

    Args:
        in_distribution: `(n, categories)` logits of images of the network's categories.
        out_of_distribution: `(m, categories)` logits of other images, if there are any.
        score: one of `SCORES`.
        temperature: `T` of the energy, `T log sum exp(z / T)` over the logits `z`.
        keep: least share of the in-distribution images to keep. The default is 0.95 where no
            out-of-distribution images are given. Where they are, it is the share with the
            highest balanced accuracy: the mean of the share of in-distribution images kept and
            the share of the others rejected.

    Returns:
        The threshold.

    Raises:
        ValueError: logits that do not fit, an unknown score, a share that is not above 0 and at
            most 1.

    Example:

    >>> logits = keras.ops.convert_to_numpy(with_activation(pets, None)(images))
    >>> threshold = fit_threshold(logits, keep=0.9)
    >>> float(threshold.rejects(logits).mean())
    0.1
    """
    known = known_score(in_distribution, score, temperature)
    scores = known
    if out_of_distribution is not None:
        if np.shape(in_distribution)[1:] != np.shape(out_of_distribution)[1:]:
            raise ValueError(
                "Both sets of logits must be of the same categories, got the shapes "
                f"{np.shape(in_distribution)} and {np.shape(out_of_distribution)}."
            )
        scores = np.concatenate([known, known_score(out_of_distribution, score, temperature)])
    if out_of_distribution is None or keep is not None:
        keep = KEEP if keep is None else keep
        _check_share("keep", keep)
        # As many as must be kept; the share is rounded first, for 0.07 * 100 is above 7.
        lowest = np.sort(known)[len(known) - math.ceil(round(keep * len(known), 6))]
    else:
        curve = roc(known, scores[len(known) :])
        difference = curve.in_distribution - curve.out_of_distribution
        balanced = np.round(1 + difference, 9)  # so that equals are equal
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
