"""Counts the networks of arXiv 2308.05128 (tables 2 to 4) and compares with the paper's figures.

    python benchmarks/costs.py            # prints the rows of docs/results/costs.json
    python benchmarks/costs.py --update   # and writes them into it; then docs/results/make.py

No data and no training: networks are built, cut and counted at 224 pixels. The network with
1,000 categories is also run, saved, reloaded and cut; the seconds and the peak memory are printed
below the table. Takes about 2 minutes and 4 GiB. KERAS_BACKEND selects the backend; default: jax.
"""

from keras_seqpar.utils.commands import flag_group, run

import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from absl import flags
from keras import ops

import keras_seqpar as sp
from keras_seqpar import hierarchy
from keras_seqpar.benchmarking.results import update
from keras_seqpar.costs.counting import Cost
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "costs.json"
# The paper's parameters / GMACs: of the full network, of the cutout.
PAPER = {
    "Imagenette": ("19,986,506 / 3.99", "14,264,901 / 3.66"),
    "Imagewoof": ("11,929,930 / 3.91", "10,781,253 / 3.73"),
    "ImageNet100": ("24.95 M / -", "13,840,469 / full - 27.99 %"),
    "ImageNet-1k": ("119.8 M / 14.55", "13,488,133 / 3.87"),
}

args = flags.FLAGS
with flag_group("Output"):
    flags.DEFINE_bool("update", False, "Write the rows into docs/results/costs.json.")


def row(
    case: str,
    network: str,
    cost: Cost,
    paper: str | None,
    full: Cost | None,
    plain: Cost | None,
) -> list[Any]:
    """One row of the table.

    Args:
        case: the data.
        network: what was counted.
        cost: its cost.
        paper: the paper's figures, or `None`.
        full: cost of the full network to compare with, or `None`.
        plain: cost of the plain network to compare with, or `None`.
    """

    def against(base: Cost | None) -> str | None:
        if base is None:
            return None
        return f"{cost.params / base.params - 1:+.1%} / {cost.macs / base.macs - 1:+.1%}"

    gmacs = cost.macs / 1e9, (cost.macs + cost.norm_macs) / 1e9
    rounded = [round(count, 2) for count in gmacs]
    return [case, network, cost.params, *rounded, paper, against(full), against(plain)]


def count(case: str, full: keras.Model, kept: Sequence[str], label: str) -> list[list[Any]]:
    """The three rows of one case: full network, cutout, plain network.

    Args:
        case: the data.
        full: the full network.
        kept: categories of the cutout.
        label: what the full network is called.
    """
    plain = sp.plain_twin(full)
    of_full, of_plain = sp.cost(full), sp.cost(plain)
    of_cutout = sp.cost(sp.cutout(full, kept))
    paper = PAPER.get(case, (None, None))
    cut = f"cutout, {len(kept)} of {len(find_parts(full).hierarchy.categories)}"
    return [
        row(case, label, of_full, paper[0], None, of_plain),
        row("", cut, of_cutout, paper[1], of_full, of_plain),
        row("", plain.name.replace("_", " "), of_plain, None, of_full, None),
    ]


def exercise(full: keras.Model, kept: Sequence[str]) -> str:
    """Runs, saves, reloads and cuts a large network; returns how long each took.

    Raises:
        RuntimeError: the cutout of the reloaded network computes something else.
    """
    image = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    seconds = {}

    def timed(name: str, work):
        start = time.perf_counter()
        result = work()
        seconds[name] = time.perf_counter() - start
        return result

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "full.keras")
        scores = timed("one image", lambda: full(image, training=False))
        timed("save", lambda: full.save(path))
        reloaded = timed("load", lambda: load_network(path))
        cutout = timed("cut", lambda: sp.cutout(reloaded, kept))
        cutout.save(os.path.join(folder, "cutout.keras"))
    expected = sp.cutout(full, kept)(image, training=False)
    error = np.abs(ops.convert_to_numpy(cutout(image, training=False) - expected)).max()
    if scores.shape != (1, len(find_parts(full).hierarchy.categories)) or error:
        raise RuntimeError(f"The reloaded cutout differs by {error}.")
    return ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())


def main(_) -> None:
    """Builds and counts all cases."""
    nette = hierarchy.subset_labels("imagenette")
    woof = hierarchy.from_subset("imagewoof", levels=2)
    hundred = {f"group {i}": [f"category {i}.{j}" for j in range(10)] for i in range(10)}
    spread = [f"category {i}.{j}" for i in range(10) for j in range(2)]
    thousand = hierarchy.from_subset("imagenet1k", levels=2)
    cats = hierarchy.subset_labels("meow")
    hundred_nhl = sp.build_nhl(hundred, plan="early")
    rows = [
        *count("Imagenette", sp.build_phl(nette), nette[:5], "PHL `late_sp`"),
        *count("Imagewoof", sp.build_nhl(woof), woof.categories[::2], "NHL `late_sp`"),
        *count("ImageNet100", hundred_nhl, spread, "NHL `early`, 10 superclasses of 10"),
        *count("10 categories", sp.build_phl(nette, plan="early"), nette[:5], "PHL `early`"),
    ]
    start = time.perf_counter()
    full = sp.build_nhl(thousand, family="convnext_v2_tiny")
    built = time.perf_counter() - start
    label = f"ConvNeXt V2 tiny NHL `late_sp`, {len(thousand.superclasses)} superclasses"
    rows += count("ImageNet-1k", full, cats, label)
    seconds = f"build {built:.0f} s, {exercise(full, cats)}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    note = f"The network with 1,000 categories: {seconds}; peak memory {peak:.1f} GiB."
    print(*rows, note, sep="\n")
    if args.update:
        update(RESULTS, rows, note)


if __name__ == "__main__":
    run(main)
