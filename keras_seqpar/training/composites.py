"""Two categories side by side in one image: does a gain choose between them?"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.data.datasets import Split
from keras_seqpar.training.cues import GainSetting, run_settings
from keras_seqpar.training.gain_sweeps import neutral_network


def side_by_side(split: Split, truth: np.ndarray, seed: int) -> tuple[Split, np.ndarray]:
    """Puts the middle half of every image beside that of an image of another category.

    Args:
        split: images, all of one size and an even width.
        truth: the category of each image.
        seed: draws the other images.

    Returns:
        The composites, of the size of the images, and the categories of their left and right
        halves, `(images, 2)`.

    Raises:
        ValueError: all images are of one category.
    """
    if len(set(truth)) < 2:
        raise ValueError("Composites need images of two categories or more; all are of one.")
    rng, count = np.random.default_rng(seed), len(truth)
    partners = rng.integers(count, size=count)
    while len(same := np.flatnonzero(truth[partners] == truth)):
        partners[same] = rng.integers(count, size=len(same))

    def read(numbers) -> np.ndarray:
        numbers = np.asarray(numbers)
        pair = [split.read(numbers), split.read(partners[numbers])]
        start = pair[0].shape[2] // 4
        return np.concatenate([x[:, :, start : start + x.shape[2] // 2] for x in pair], axis=2)

    return Split(split.names, split.labels, read), np.stack([truth, truth[partners]], axis=1)


def composite_rates(
    neutral: np.ndarray, logits: Mapping[float, np.ndarray], pairs: np.ndarray
) -> dict[str, Any]:
    """How often a cue on one of the categories decides, over the gains.

    Args:
        neutral: logits of the composites without gains, `(images, categories)`.
        logits: gain -> logits where all categories have it.
        pairs: the two categories of each composite, `(images, 2)`.

    Returns:
        JSON-ready data. `neutral`: share of the composites whose top-1 is one of their two
        categories, without gains. For each of `gains`: `hits`, the cued category is in the
        image and is the top-1; `others`, the top-1 is the category beside it; `false_alarms`,
        the cued category is not in the image and is the top-1. Means over both categories of
        every composite, and over all categories that it lacks (0 if it lacks none).
    """
    rows, categories = np.arange(len(pairs)), neutral.shape[-1]
    absent = np.ones_like(neutral, bool)
    absent[rows[:, None], pairs] = False
    found: dict[str, Any] = {
        "gains": sorted(logits),
        "neutral": float((neutral.argmax(-1)[:, None] == pairs).any(-1).mean()),
        "hits": [],
        "others": [],
        "false_alarms": [],
    }
    for gain in found["gains"]:
        top = np.empty(neutral.shape, int)  # with a cue on each of the categories
        for cued in range(categories):
            steered = neutral.copy()
            steered[:, cued] = logits[gain][:, cued]
            top[:, cued] = steered.argmax(-1)
        cued_top = top[rows[:, None], pairs]
        alarms = (top == np.arange(categories))[absent]
        found["hits"].append(float((cued_top == pairs).mean()))
        found["others"].append(float((cued_top == pairs[:, ::-1]).mean()))
        found["false_alarms"].append(float(alarms.mean()) if len(alarms) else 0.0)
    return found


def run_composites(
    network: keras.Model,
    split: Split,
    truth: np.ndarray,
    *,
    gains: Sequence[float],
    seed: int = 0,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Measures what gains on categories do to composites of two.

    Args:
        network: a SeqPar network.
        split: images of its categories.
        truth: the index of each image's category in the logits.
        gains: the gains, including 1.
        seed: draws which images stand side by side.
        batch_size: images per step.

    Returns:
        What `composite_rates` says.

    Raises:
        ValueError: all images are of one category.
    """
    images, pairs = side_by_side(split, truth, seed)
    settings = {gain: GainSetting(gain=gain) for gain in gains}
    logits = run_settings(neutral_network(network), images, list(settings.values()), batch_size)
    found = {gain: logits[setting] for gain, setting in settings.items()}
    return composite_rates(found[1.0], found, pairs)


def composite_table(found: Mapping[str, Any]) -> str:
    """The rates over the gains as a table."""
    lines = [
        "Two categories side by side, gain on one of the categories",
        f"  Without gains, the top-1 is one of the two in {found['neutral']:.2%}.",
        "    gain  cued one  one beside it  false alarm",
    ]
    columns = [found[key] for key in ("gains", "hits", "others", "false_alarms")]
    for gain, hit, other, alarm in zip(*columns, strict=True):
        lines.append(f"  {gain:6g}  {hit:8.2%}  {other:13.2%}  {alarm:11.2%}")
    return "\n".join(lines)
