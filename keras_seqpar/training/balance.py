"""Unbalanced categories: what to say about them, and what makes them count the same."""

from collections.abc import Sequence

import numpy as np

NONE, BALANCED = "none", "balanced"
CLASS_WEIGHTS = (NONE, BALANCED)
UNIFORM = "uniform"
SAMPLINGS = (UNIFORM, BALANCED)
# What decides which epoch is the best -> its column in the history, and whether more is better.
BEST_BY = {
    "accuracy": ("val_accuracy", True),
    "balanced_accuracy": ("val_balanced_accuracy", True),
    "loss": ("val_loss", False),
}
RATIO = 2  # from this ratio of the largest to the smallest category on, data is called unbalanced
_SHOWN = 10  # categories in a sentence


def counts_of(labels: np.ndarray, categories: int) -> np.ndarray:
    """`(categories,)`: the number of images of each category.

    Args:
        labels: `(images,)` category index of every image.
        categories: number of categories.
    """
    return np.bincount(labels, minlength=categories)


def balanced_weights(counts: np.ndarray) -> dict[int, float]:
    """Weights for `fit(class_weight=...)` with which all categories count the same in the loss.

    Args:
        counts: the number of training images of each category.

    Returns:
        Category index -> images / (categories * images of the category). Their mean over the
        images is 1, so that the loss keeps its size.

    Example:

    >>> balanced_weights(np.array([300, 100]))
    {0: 0.6666666666666666, 1: 2.0}
    """
    total, present = int(counts.sum()), int(np.count_nonzero(counts))
    return {i: total / (present * int(n)) for i, n in enumerate(counts) if n}


def balanced_accuracy(recalls: Sequence[float | None]) -> float | None:
    """The mean top-1 of the categories that have images; `None` where none has.

    Args:
        recalls: top-1 of each category, `None` for those without images.
    """
    known = [value for value in recalls if value is not None]
    return float(np.mean(known)) if known else None


def unbalanced_note(
    split: str,
    labels: Sequence[str],
    counts: np.ndarray,
    class_weight: str = NONE,
    sampling: str = UNIFORM,
) -> str | None:
    """A sentence with the counts of unbalanced categories; `None` where they are balanced.

    Args:
        split: name of the split, for example "training".
        labels: the categories.
        counts: the number of images of each.
        class_weight: one of `CLASS_WEIGHTS`.
        sampling: one of `SAMPLINGS`.
    """
    if counts.max() < RATIO * max(1, counts.min()):
        return None
    order = np.argsort(-counts, kind="stable")
    shown = [f"{counts[i]:,} of {labels[i]}" for i in order]
    if len(shown) > _SHOWN:
        half = _SHOWN // 2
        shown = [*shown[:half], "...", *shown[-half:]]
    text = f"The {split} images are unbalanced: {', '.join(shown)}. "
    if class_weight == BALANCED:
        return text + "--class_weight balanced makes all categories count the same in the loss."
    if sampling == BALANCED:
        return text + "--sampling balanced trains on each category equally often."
    return text + (
        "Top-1 can be high although rare categories are never right, so look at the balanced "
        "accuracy, too: the mean over the categories. --class_weight balanced makes all "
        "categories count the same in the loss, --sampling balanced trains on each equally often, "
        "and --best_by balanced_accuracy counts them the same in the choice of best.keras."
    )


def missed_note(labels: Sequence[str], network: str) -> str | None:
    """A sentence that names the categories at 0 %; `None` where there is none.

    Args:
        labels: the categories of which no image is classified right.
        network: what classified them, for example "best.keras".
    """
    if not labels:
        return None
    shown = ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
    count = "this category" if len(labels) == 1 else f"these {len(labels)} categories"
    return f"{network} has 0 % of the images of {count} right: {shown}."
