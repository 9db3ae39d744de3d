"""Thresholds for "none of these", fitted on one half of the images and measured on the other."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_seqpar.networks.thresholds import (
    KEEP,
    SCORES,
    Roc,
    Threshold,
    fit_threshold,
    known_score,
    roc,
)

KEPT_AT = f"out_of_distribution_kept_at_{KEEP:g}"
ROWS = {
    "AUROC": "auroc",
    f"out-of-distribution kept where {KEEP:.0%} of in-distribution are": KEPT_AT,
    "in-distribution images kept": "in_distribution_kept",
    "out-of-distribution images rejected": "out_of_distribution_rejected",
    "top-1 of in-distribution, no rejection": "top1",
    "top-1 of in-distribution, rejected are wrong": "top1_kept",
    "accuracy over all, no rejection": "accuracy_without",
    "accuracy over all": "accuracy",
}


@dataclasses.dataclass(frozen=True)
class Rejection:
    """The threshold of one score, and its accuracy.

    Args:
        threshold: fitted on the first half.
        figures: measured on the second half, see `measure_threshold`.
        curve: the ROC on the second half.
    """

    threshold: Threshold
    figures: Mapping[str, Any]
    curve: Roc


def split_halves(labels: np.ndarray, seed: int) -> np.ndarray:
    """Splits images into two random halves, category by category.

    Args:
        labels: `(images,)` category of each.
        seed: of the random choice.

    Returns:
        `(images,)` bool: whether an image is in the first half. The second half has at most one
        image more of each category.
    """
    rng = np.random.default_rng(seed)
    first = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        order = rng.permutation(np.flatnonzero(labels == label))
        first[order[: len(order) // 2]] = True
    return first


def check_halves(first: np.ndarray, truth: np.ndarray) -> None:
    """Checks that both halves have in-distribution and out-of-distribution images.

    Args:
        first: from `split_halves`.
        truth: `(images,)` index of the true category, -1 for out-of-distribution images.

    Raises:
        ValueError: a half has images of one kind only.
    """
    for half, purpose in ((first, "fit"), (~first, "measure")):
        inside, outside = int((half & (truth >= 0)).sum()), int((half & (truth < 0)).sum())
        if not inside or not outside:
            raise ValueError(
                f"The half to {purpose} on has {inside} in-distribution and {outside} "
                "out-of-distribution images; it needs both. Cut fewer categories out with "
                "--categories, or take data with images of other categories, at least two of each."
            )


def measure_threshold(
    logits: np.ndarray, truth: np.ndarray, threshold: Threshold
) -> tuple[dict[str, Any], Roc]:
    """Measures a threshold on images that it was not fitted on.

    Args:
        logits: `(images, categories)`.
        truth: `(images,)` index of the true category, -1 for out-of-distribution images.
        threshold: the threshold to measure.

    Returns:
        JSON-ready figures, and the ROC curve. `top1` is over the in-distribution images and
        ignores the threshold; `top1_kept` counts rejected ones as wrong; `accuracy` and
        `accuracy_without` are over all images, where an out-of-distribution image is right if it
        is rejected.
    """
    inside = truth >= 0
    right = logits.argmax(-1) == truth
    kept = ~threshold.rejects(logits)
    scores = known_score(logits, threshold.score, threshold.temperature)
    curve = roc(scores[inside], scores[~inside])
    figures = {
        "threshold": threshold.get_config(),
        "auroc": curve.area,
        KEPT_AT: curve.out_of_distribution_at(KEEP),
        "in_distribution": int(inside.sum()),
        "in_distribution_kept": float(kept[inside].mean()),
        "out_of_distribution": int((~inside).sum()),
        "out_of_distribution_rejected": float((~kept[~inside]).mean()),
        "top1": float(right[inside].mean()),
        "top1_kept": float((right & kept)[inside].mean()),
        "accuracy_without": float(right.mean()),
        "accuracy": float(np.where(inside, right & kept, ~kept).mean()),
    }
    return figures, curve


def fit_scores(
    logits: np.ndarray,
    truth: np.ndarray,
    first: np.ndarray,
    *,
    keep: float | None = None,
    temperature: float = 1.0,
) -> dict[str, Rejection]:
    """Fits a threshold for every score on one half of the images and measures it on the other.

    Args:
        logits: `(images, categories)`.
        truth: `(images,)` index of the true category, -1 for out-of-distribution images.
        first: `(images,)` bool, the half to fit on.
        keep: smallest share of in-distribution images to keep; `None` for the threshold with the
            highest balanced accuracy.
        temperature: temperature of the energy score.

    Returns:
        Score -> threshold and measurements.

    Raises:
        ValueError: `keep` or `temperature` out of range.
    """
    fitted = {}
    for score in SCORES:
        threshold = fit_threshold(
            logits[first & (truth >= 0)],
            logits[first & (truth < 0)],
            score=score,
            temperature=temperature if score == "energy" else 1.0,
            keep=keep,
        )
        fitted[score] = Rejection(
            threshold, *measure_threshold(logits[~first], truth[~first], threshold)
        )
    return fitted


def rejection_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures of several scores side by side.

    Args:
        figures: score -> figures, see `measure_threshold`.
    """
    width = max(map(len, ROWS))
    lines = [f"  {'':{width}}" + "".join(f"{score:>11}" for score in figures)]
    for title, key in ROWS.items():
        cells = (f"{found[key]:.2%}" for found in figures.values())
        lines.append(f"  {title:{width}}" + "".join(f"{cell:>11}" for cell in cells))
    values = (f"{found['threshold']['value']:.3f}" for found in figures.values())
    lines.append(f"  {'threshold':{width}}" + "".join(f"{value:>11}" for value in values))
    return "\n".join(lines)
