"""Accuracy over the gain of top-down attention: with right cues, wrong cues and inhibition."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.data.datasets import Split
from keras_seqpar.families.layers import check_gain
from keras_seqpar.networks.parts import find_parts, with_activation
from keras_seqpar.surgery.attention import attend
from keras_seqpar.training.cues import (
    GainSetting,
    inhibition_hits,
    nodes_at,
    right_cue_hits,
    run_settings,
    wrong_cue_hits,
)

GAINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2, 2.5, 3, 4, 6, 8)


@dataclasses.dataclass(frozen=True)
class SweepSettings:
    """What to measure.

    Args:
        gains: the gains in ascending order, including 1; see `parse_gain_grid`.
        after: further layers of the categories' branches that the gain acts after, in turn.
        absent: number of categories to inhibit; `None` for half of the others.
        trust: share of right cues that the gain is calibrated for, 0 to 1.
        seed: of the halves, the absent categories and the drawn cues.
        batch_size: images per step.
    """

    gains: Sequence[float]
    after: Sequence[str] = ()
    absent: int | None = None
    trust: float = 1.0
    seed: int = 0
    batch_size: int = 64


def parse_gain_grid(texts: Sequence[str] | None) -> list[float]:
    """The gains of the flag --gains in ascending order, including 1; `None`: the default grid.

    Raises:
        ValueError: not numbers, or negative or infinite ones.
    """
    try:
        gains = {check_gain(float(text), "--gains") for text in texts or GAINS}
    except ValueError as error:
        raise ValueError(f"--gains={','.join(texts or [])}: {error}") from error
    return sorted({*gains, 1.0})


def sweep(
    name: str,
    logits: Mapping[float, np.ndarray],
    nodes: Sequence[str | None],
    truth: np.ndarray,
    *,
    absent: int,
    seed: int,
    trust: float = 1.0,
) -> dict[str, Any]:
    """Measures cues on the nodes of one level over all gains.

    Args:
        name: what the gain acts on.
        logits: gain -> logits where all nodes have it, `(images, categories)`.
        nodes: the node of each category, `None` for none.
        truth: the true category of each image.
        absent: number of categories to inhibit; 0 for no inhibition curve.
        seed: of all random choices.
        trust: the share of right cues that `calibrated` is optimized for.

    Returns:
        JSON-ready data: top-1 at each gain with the `right` and the `wrong` cue; `inhibition`
        (gains below 1); `peak` of the right cue (of equal ones, the gain nearest to 1);
        `ebb`: the first gain above the peak at which the right cue no longer helps, or `None`;
        `calibrated`: the best gain of a random half of the images, measured on the other half.
    """
    names = list(dict.fromkeys(node for node in nodes if node is not None))
    numbers = np.array([-1 if node is None else names.index(node) for node in nodes])
    gains, neutral = sorted(logits), logits[1.0]
    plain = (neutral.argmax(-1) == truth).astype("float64")
    right = np.array([right_cue_hits(neutral, logits[g], numbers, truth) for g in gains])
    wrong = np.array([wrong_cue_hits(neutral, logits[g], numbers, truth, seed) for g in gains])
    peak = _best(gains, right.mean(-1))
    useless = [g for g, hits in zip(gains, right, strict=True) if hits.mean() <= plain.mean()]
    report: dict[str, Any] = {
        "name": name,
        "gains": gains,
        "neutral": _mean(plain),
        "right": [_mean(hits) for hits in right],
        "wrong": [_mean(hits) for hits in wrong],
        "peak": {"gain": gains[peak], "top1": _mean(right[peak])},
        "ebb": next((g for g in useless if g > gains[peak]), None),
    }
    low = [g for g in gains if g < 1]
    if absent and low:
        top1 = [_mean(inhibition_hits(neutral, logits[g], truth, absent, seed)) for g in low]
        report["inhibition"] = {"absent": absent, "gains": low, "top1": top1}
    order = np.random.default_rng(seed).permutation(len(truth))
    fit, other = order[: len(truth) // 2], order[len(truth) // 2 :]
    if len(fit):
        mixed = trust * right + (1 - trust) * np.where(np.isnan(wrong), right, wrong)
        best = _best(gains, mixed[:, fit].mean(-1))
        top1_right, top1_wrong = _mean(right[best, other]), _mean(wrong[best, other])
        report["calibrated"] = {
            "gain": gains[best],
            "trust": trust,
            "fitted_on": len(fit),
            "images": len(other),
            "neutral": _mean(plain[other]),
            "right": top1_right,
            "wrong": top1_wrong,
            "break_even": break_even(_mean(plain[other]), top1_right, top1_wrong),
        }
    return report


def break_even(neutral: float, right: float, wrong: float | None) -> float | None:
    """The share of right cues above which cues help; `None` if right cues do not help.

    Args:
        neutral: top-1 without cues.
        right: top-1 with right cues.
        wrong: top-1 with wrong cues; `None` if there are none.
    """
    if wrong is None or right <= neutral:
        return None
    return max(0.0, (neutral - wrong) / (right - wrong))


def neutral_network(network: keras.Model) -> keras.Model:
    """A SeqPar network that returns logits, with all of its gains set to 1."""
    nodes = find_parts(network).hierarchy.nodes
    return attend(with_activation(network, None), {node.id: 1.0 for node in nodes})


def run_sweeps(
    network: keras.Model, split: Split, truth: np.ndarray, settings: SweepSettings
) -> list[dict[str, Any]]:
    """Sweeps the gains of categories, of superclasses level by level, and after other layers.

    Args:
        network: a SeqPar network.
        split: images of its categories.
        truth: the index of each image's true category in the logits.
        settings: what to measure.

    Raises:
        ValueError: no SeqPar network, fewer than two categories, too many absent ones, or a
            layer that is not in every category's branch.
    """
    hierarchy = find_parts(network).hierarchy
    others = len(hierarchy.category_ids) - 1
    if not others:
        raise ValueError("A cue needs two categories or more to choose from, the network has one.")
    absent = max(1, others // 2) if settings.absent is None else settings.absent
    if not settings.trust <= 1:
        raise ValueError(f"--trust is a share from 0 to 1, got {settings.trust}.")
    if absent > others:
        raise ValueError(f"--absent is at most {others}, the other categories; got {absent}.")
    network = neutral_network(network)
    targets: list[tuple[str | None, int | None]] = [(None, None)]
    targets += [(None, level) for level in range(1, hierarchy.depth)]
    targets += [(after, None) for after in dict.fromkeys(settings.after)]
    neutral = GainSetting()
    wanted = [GainSetting(*target, gain) for target in targets for gain in settings.gains]
    wanted = [neutral, *(setting for setting in wanted if setting.gain != 1)]
    logits = run_settings(network, split, wanted, settings.batch_size)
    reports = []
    for after, level in targets:
        name = "Gain on the categories" if level is None else f"Gain on superclasses, level {level}"
        name += f", after {after}" if after else ""
        report = sweep(
            name,
            {
                gain: logits[neutral if gain == 1 else GainSetting(after, level, gain)]
                for gain in settings.gains
            },
            nodes_at(hierarchy, level),
            truth,
            absent=absent if level is None else 0,
            seed=settings.seed,
            trust=settings.trust,
        )
        reports.append(report | {"level": level, "after": after})
    return reports


def sweep_table(report: Mapping[str, Any]) -> str:
    """One sweep as a table, and its results in sentences."""
    inhibition = report.get("inhibition", {"absent": 0, "gains": [], "top1": []})
    inhibited = dict(zip(inhibition["gains"], inhibition["top1"], strict=True))
    head = f"  {inhibition['absent']} absent inhibited" if inhibited else ""
    lines = [report["name"], f"  {'gain':>6}  right cue  wrong cue{head}"]
    rows = zip(report["gains"], report["right"], report["wrong"], strict=True)
    for gain, right, wrong in rows:
        cell = f"{_percent(inhibited[gain]):>{len(head)}}" if gain in inhibited else ""
        lines.append(f"  {gain:6g}  {_percent(right):>9}  {_percent(wrong):>9}{cell}")
    peak, ebb, neutral = report["peak"], report["ebb"], report["neutral"]
    last = report["gains"][-1]
    text = f"  Right cue: {_percent(neutral)} without gains; "
    if peak["top1"] > neutral:
        rise = 100 * (peak["top1"] - neutral)
        text += f"peak of {_percent(peak['top1'])} ({rise:+.2f} points) at gain {peak['gain']:g}"
        if peak["gain"] == last:
            text += ", the end of the grid: higher gains may help more."
        else:
            text += f"; ebbs to {_percent(report['right'][-1])} at {last:g}, "
            text += f"no better than without gains from {ebb:g} on." if ebb else "still better."
    else:
        text += "no gain of the grid raises it."
    lines.append(text)
    if found := report.get("calibrated"):
        without, right, wrong = (_percent(found[key]) for key in ("neutral", "right", "wrong"))
        lines += [
            f"  Calibrated for cues of which {found['trust']:.0%} are right: gain "
            f"{found['gain']:g}, chosen on {found['fitted_on']} images.",
            f"  On the other {found['images']}: {without} without, {right} with right cues, "
            f"{wrong} with wrong ones.",
        ]
        if found["break_even"] is not None:
            lines.append(
                f"  Cues with this gain help if more than {_percent(found['break_even'])} of "
                "them are right."
            )
    return "\n".join(lines)


def _best(gains: Sequence[float], top1: np.ndarray) -> int:
    """Index of the highest top-1; of equal ones, that of the gain nearest to 1."""
    return max(range(len(gains)), key=lambda i: (top1[i], -abs(gains[i] - 1)))


def _mean(hits: np.ndarray) -> Any:
    """The mean without NaN, or `None`."""
    hits = hits[~np.isnan(hits)]
    return float(hits.mean()) if len(hits) else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
