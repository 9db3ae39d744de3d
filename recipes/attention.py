"""Sweeps the gain of top-down attention: what a right cue helps, and what a wrong one harms.

    python recipes/attention.py runs/digits/best.keras
    python recipes/attention.py runs/imagenette/best.keras --dataset imagenette --data_dir PATH \\
        --after stage4_block1_conv2,stage5_block1_relu --json out.json --plot out.png

Measures top-1 at every gain of a grid, where
- the cue is right: the image's true category has the gain (arXiv 2308.05128, section 4.4);
- the cue is wrong: another category has it, averaged over all others;
- some categories cannot be present and are inhibited (gains below 1): --absent of the others,
  drawn for every image by --seed;
- in nested networks: the superclass of the true category has it, or a wrong superclass;
- the gain acts behind other layers of the categories' branches (--after).

The calibrated gain is chosen on a random half of the images and measured on the other half. A
right cue knows the answer, so that it alone asks for ever higher gains: with --trust 0.8 the gain
is the best for cues of which 80 % are right.

Constant gains of the network are set to 1 first. KERAS_BACKEND chooses the backend.
"""

import sys
from pathlib import Path

import numpy as np
from cues import inhibited, nodes_at, right_cue, run, wrong_cue
from options import DATA_FLAGS, Options

import keras_seqpar as sp
from keras_seqpar import data, plots
from keras_seqpar.families.layers import check_gain
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.training import evaluation
from keras_seqpar.utils.files import make_folder, write_json

GAINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2, 2.5, 3, 4, 6, 8)


def make_options() -> Options:
    """All flags."""
    options = Options(
        __doc__,
        {"gains": ", ".join(f"{gain:g}" for gain in GAINS), "absent": "half of the others"},
        first="model",
    )
    options.group(
        "What to measure",
        ("list", "gains", None, "Gains with commas between; 1 is always among them."),
        ("list", "after", None, "Layers of the categories' branches, without their prefix."),
        ("integer", "absent", None, "How many categories to inhibit.", 1),
        ("float", "trust", 1.0, "Share of right cues to calibrate for, 0 to 1.", 0.0),
        ("integer", "seed", 0, "Of halves, absent categories and drawn cues.", 0),
        ("string", "json", None, "Write everything to this file, too."),
        ("string", "plot", None, "Draw the curves to this file: .png, .svg or .pdf."),
    )
    options.group("Data", *DATA_FLAGS)
    return options


def read_gains(texts: list[str] | None) -> list[float]:
    """The gains of --gains in order, 1 among them.

    Raises:
        ValueError: no numbers, or none that gains can be.
    """
    try:
        gains = {check_gain(float(text), "--gains") for text in texts or GAINS}
    except ValueError as error:
        raise ValueError(f"--gains={','.join(texts or [])}: {error}") from error
    return sorted({*gains, 1.0})


def sweep(name: str, logits: dict[float, np.ndarray], nodes, truth, *, absent, seed, trust=1.0):
    """Measures cues on one place over all gains.

    Args:
        name: what the gain acts on.
        logits: gain -> logits where all nodes have it, `(images, categories)`.
        nodes: the node of each category, `None` for none.
        truth: the true category of each image.
        absent: how many categories to inhibit; 0 for no such curve.
        seed: of all random choices.
        trust: the share of right cues that `calibrated` is chosen for.

    Returns:
        JSON-ready data: top-1 at each gain of the `right` and the `wrong` cue; `inhibition`
        (gains below 1); `peak` of the right cue, the gain nearest to 1 of several equal ones;
        `ebb`: the first gain above the peak at which the right cue no longer helps, if there
        is one; `calibrated`: the best gain of a random half, measured on the other half.
    """
    names = list(dict.fromkeys(node for node in nodes if node is not None))
    numbers = np.array([-1 if node is None else names.index(node) for node in nodes])
    gains, neutral = sorted(logits), logits[1.0]
    plain = (neutral.argmax(-1) == truth).astype("float64")
    right = np.array([right_cue(neutral, logits[g], numbers, truth) for g in gains])
    wrong = np.array([wrong_cue(neutral, logits[g], numbers, truth, seed) for g in gains])
    peak = best(gains, right.mean(-1))
    beyond = [g for g, hits in zip(gains, right, strict=True) if hits.mean() <= plain.mean()]
    report = {
        "name": name,
        "gains": gains,
        "neutral": mean(plain),
        "right": [mean(hits) for hits in right],
        "wrong": [mean(hits) for hits in wrong],
        "peak": {"gain": gains[peak], "top1": mean(right[peak])},
        "ebb": next((g for g in beyond if g > gains[peak]), None),
    }
    low = [g for g in gains if g < 1]
    if absent and low:
        hits = [inhibited(neutral, logits[g], truth, absent, seed) for g in low]
        top1 = [mean(h) for h in hits]
        report["inhibition"] = {"absent": absent, "gains": low, "top1": top1}
    order = np.random.default_rng(seed).permutation(len(truth))
    fit, other = order[: len(truth) // 2], order[len(truth) // 2 :]
    if len(fit):
        mixed = trust * right + (1 - trust) * np.where(np.isnan(wrong), right, wrong)
        chosen = best(gains, mixed[:, fit].mean(-1))
        found = {
            "gain": gains[chosen],
            "trust": trust,
            "fitted_on": len(fit),
            "images": len(other),
            "neutral": mean(plain[other]),
            "right": mean(right[chosen, other]),
            "wrong": mean(wrong[chosen, other]),
        }
        report["calibrated"] = found | {"break_even": break_even(**found)}
    return report


def best(gains: list[float], top1: np.ndarray) -> int:
    """Where top-1 is highest; of several the gain nearest to 1."""
    return max(range(len(gains)), key=lambda i: (top1[i], -abs(gains[i] - 1)))


def mean(hits: np.ndarray) -> float | None:
    """The mean of what is no NaN, or `None`."""
    hits = hits[~np.isnan(hits)]
    return float(hits.mean()) if len(hits) else None


def break_even(neutral: float, right: float, wrong: float | None, **_) -> float | None:
    """The share of right cues from which on giving cues beats giving none; `None` if none does."""
    if wrong is None or right <= neutral:
        return None
    return max(0.0, (neutral - wrong) / (right - wrong))


def measure(network, split: data.Split, truth: np.ndarray, chosen) -> list[dict]:
    """Runs all sweeps that the flags ask for.

    Args:
        network: a SeqPar network.
        split: images of its categories.
        truth: the true category of each image, as the number of its logit.
        chosen: `gains` (numbers), `after`, `absent`, `trust`, `seed`, `batch_size`.

    Raises:
        ValueError: no SeqPar network, fewer than two categories, too many absent ones, or a
            layer that is not in every category's branch.
    """
    tree = find_parts(network).hierarchy
    others = len(tree.category_ids) - 1
    if not others:
        raise ValueError("A cue needs two categories or more to choose from, the network has one.")
    absent = max(1, others // 2) if chosen.absent is None else chosen.absent
    if not chosen.trust <= 1:
        raise ValueError(f"--trust is a share from 0 to 1, got {chosen.trust}.")
    if absent > others:
        raise ValueError(f"--absent is at most {others}, the other categories; got {absent}.")
    logits = sp.with_activation(network, None)
    logits = sp.attend(logits, {node.id: 1.0 for node in tree.nodes})
    places = [(None, None), *((None, level) for level in range(1, tree.depth))]
    places += [(after, None) for after in dict.fromkeys(chosen.after or [])]
    wanted = [(*place, gain) for place in places for gain in chosen.gains if gain != 1]
    neutral = (None, None, 1.0)
    found = run(logits, split, [neutral, *wanted], chosen.batch_size)
    reports = []
    for after, level in places:
        name = "Gain on the categories" if level is None else f"Gain on superclasses, level {level}"
        name += f", after {after}" if after else ""
        of_gain = {g: found[neutral if g == 1 else (after, level, g)] for g in chosen.gains}
        options = {"absent": absent if level is None else 0, "seed": chosen.seed}
        options["trust"] = chosen.trust
        report = sweep(name, of_gain, nodes_at(tree, level), truth, **options)
        reports.append(report | {"level": level, "after": after})
    return reports


def table(report: dict) -> str:
    """Draws one sweep, and says what it found."""
    inhibition = report.get("inhibition", {"absent": 0, "gains": [], "top1": []})
    low = dict(zip(inhibition["gains"], inhibition["top1"], strict=True))
    last = f"  {inhibition['absent']} absent inhibited" if low else ""
    lines = [report["name"], f"  {'gain':>6}  right cue  wrong cue{last}"]
    rows = zip(report["gains"], report["right"], report["wrong"], strict=True)
    for gain, right, wrong in rows:
        cell = f"{percent(low[gain]):>{len(last)}}" if gain in low else ""
        lines.append(f"  {gain:6g}  {percent(right):>9}  {percent(wrong):>9}{cell}")
    peak, ebb, neutral = report["peak"], report["ebb"], report["neutral"]
    last = report["gains"][-1]
    text = f"  Right cue: {percent(neutral)} without gains; "
    if peak["top1"] > neutral:
        rise = 100 * (peak["top1"] - neutral)
        text += f"peak of {percent(peak['top1'])} ({rise:+.2f} points) at gain {peak['gain']:g}"
        if peak["gain"] == last:
            text += ", the end of the grid: it may lie beyond."
        else:
            text += f"; ebbs to {percent(report['right'][-1])} at {last:g}, "
            text += f"no better than without from {ebb:g} on." if ebb else "still above."
    else:
        text += "no gain of the grid raises it."
    lines.append(text)
    if found := report.get("calibrated"):
        without, right, wrong = (percent(found[key]) for key in ("neutral", "right", "wrong"))
        lines += [
            f"  Calibrated for cues of which {found['trust']:.0%} are right: gain "
            f"{found['gain']:g}, chosen on {found['fitted_on']} images.",
            f"  On the other {found['images']}: {without} without, {right} with right cues, "
            f"{wrong} with wrong ones.",
        ]
        if found["break_even"] is not None:
            lines.append(
                f"  Cues at this gain pay off where more than {percent(found['break_even'])} of "
                "them are right."
            )
    return "\n".join(lines)


def percent(share: float | None) -> str:
    """A share as text."""
    return "-" if share is None else f"{100 * share:.2f} %"


def study(chosen) -> dict:
    """Measures as the flags say, and prints what was found.

    Returns:
        JSON-ready data; `sweeps` holds one entry per place of the gain.

    Raises:
        ValueError: bad input.
    """
    chosen.gains = read_gains(chosen.gains)
    network = load_network(chosen.model)
    find_parts(network)  # a plain network is refused before images are read
    dataset = evaluation.load_split(
        network,
        chosen.dataset,
        split=chosen.split,
        image_size=chosen.image_size,
        data_dir=chosen.data_dir,
        skip_unreadable=chosen.skip_unreadable,
    )
    every = dataset.splits[chosen.split]
    truth = evaluation.match(network, dataset)[every.labels]
    own = np.flatnonzero(truth >= 0)
    split = data.Split(
        tuple(every.names[i] for i in own), every.labels[own], lambda i: every.read(own[i])
    )
    reports = measure(network, split, truth[own], chosen)
    print(f"{chosen.model} on {dataset.name}, {chosen.split}: {len(own)} images")
    for report in reports:
        print(f"\n{table(report)}")
    return {
        "model": chosen.model,
        "dataset": dataset.name,
        "split": chosen.split,
        "images": len(own),
        "categories": list(find_parts(network).hierarchy.categories),
        "seed": chosen.seed,
        "sweeps": reports,
    }


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        if chosen.plot and Path(chosen.plot).suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"--plot must end in .png, .svg or .pdf, got {chosen.plot!r}.")
        report = study(chosen)
        if chosen.json:
            write_json(chosen.json, report)
        if chosen.plot:
            plots.attention(report["sweeps"], make_folder(chosen.plot))
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
