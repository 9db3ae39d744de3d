"""Counts the networks of arXiv 2308.05128 (tables 2 to 4) and sets them beside the paper's figures.

    python recipes/cost_table.py            # prints the table of docs/results.md
    python recipes/cost_table.py --update   # and writes it into docs/results.md

No data and no training: networks are built, cut and counted at 224 pixels. The network with
1,000 categories is also run, saved, reloaded and cut; how long that took and how much memory
is printed below the table.
"""

import os
import pathlib
import re
import resource
import tempfile
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from absl import app, flags
from keras import ops

import keras_seqpar as ks
from keras_seqpar import hierarchy

UPDATE = flags.DEFINE_bool("update", False, "Write the table into docs/results.md.")

RESULTS = pathlib.Path(__file__).parent.parent / "docs" / "results.md"
MARK = re.compile(r"(<!-- cost table -->\n).*?(<!-- end -->)", re.DOTALL)

# What the paper reports: parameters and GMACs of the full network, then of the cutout.
PAPER = {
    "Imagenette": ("19,986,506 / 3.99", "14,264,901 / 3.66"),
    "Imagewoof": ("11,929,930 / 3.91", "10,781,253 / 3.73"),
    "ImageNet100": ("24.95 M / -", "13,840,469 / full - 27.99 %"),
    "ImageNet-1k": ("119.8 M / 14.55", "13,488,133 / 3.87"),
}


def row(case: str, what: str, model: keras.Model, paper: str, full: ks.cost, plain: ks.cost) -> str:
    """One line of the table."""
    cost = ks.cost(model)
    with_norms = (cost.macs + cost.norm_macs) / 1e9

    def against(base) -> str:
        if base is None:
            return "-"
        return f"{cost.params / base.params - 1:+.1%} / {cost.macs / base.macs - 1:+.1%}"

    return (
        f"| {case} | {what} | {cost.params:,} | {cost.macs / 1e9:.2f} ({with_norms:.2f}) "
        f"| {paper} | {against(full)} | {against(plain)} |"
    )


def case(name: str, full: keras.Model, chosen, plain: keras.Model, label: str) -> list[str]:
    """The three lines of one case: full network, cutout, plain network."""
    cutout = ks.cutout(full, chosen)
    full_cost, plain_cost = ks.cost(full), ks.cost(plain)
    paper = PAPER.get(name, ("-", "-"))
    count = len(full.layers[-1].hierarchy.categories)
    return [
        row(name, label, full, paper[0], None, plain_cost),
        row("", f"cutout, {len(chosen)} of {count}", cutout, paper[1], full_cost, plain_cost),
        row("", plain.name.replace("_", " "), plain, "-", full_cost, None),
    ]


def exercise(full: keras.Model, chosen) -> str:
    """Runs, saves, reloads and cuts a large network; says how long each took."""
    image = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    seconds = {}

    def timed(what: str, work):
        start = time.perf_counter()
        result = work()
        seconds[what] = time.perf_counter() - start
        return result

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "full.keras")
        scores = timed("one image", lambda: full(image, training=False))
        timed("save", lambda: full.save(path))
        again = timed("load", lambda: keras.models.load_model(path))
        cutout = timed("cut", lambda: ks.cutout(again, chosen))
        cutout.save(os.path.join(folder, "cutout.keras"))
    same = ks.cutout(full, chosen)(image, training=False)
    error = np.abs(ops.convert_to_numpy(cutout(image, training=False) - same)).max()
    if scores.shape != (1, len(full.layers[-1].hierarchy.categories)) or error:
        raise RuntimeError(f"The reloaded cutout differs by {error}.")
    return ", ".join(f"{what} {value:.0f} s" for what, value in seconds.items())


def main(_) -> None:
    """Builds and counts all cases."""
    nette = hierarchy.subset_labels("imagenette")
    woof = hierarchy.from_subset("imagewoof", levels=2)
    hundred = {f"group {i}": [f"category {i}.{j}" for j in range(10)] for i in range(10)}
    spread = [f"category {i}.{j}" for i in range(10) for j in range(2)]
    thousand = hierarchy.from_subset("imagenet1k", levels=2)
    cats = hierarchy.subset_labels("meow")
    plain50 = {n: ks.build_plain(n, family="resnet50") for n in (10, 100)}
    nhl = "NHL `early`, 10 superclasses of 10"
    lines = [
        "| case | network | parameters | GMACs (with normalization) | paper | against own full net"
        " | against plain |",
        "|---|---|---|---|---|---|---|",
        *case("Imagenette", ks.build_phl(nette), nette[:5], plain50[10], "PHL `late_sp`"),
        *case("Imagewoof", ks.build_nhl(woof), woof.categories[::2], plain50[10], "NHL `late_sp`"),
        *case("ImageNet100", ks.build_nhl(hundred, plan="early"), spread, plain50[100], nhl),
        *case(
            "10 categories",
            ks.build_phl(nette, plan="early"),
            nette[:5],
            plain50[10],
            "PHL `early`",
        ),
    ]
    start = time.perf_counter()
    family = "convnext_v2_tiny"
    full = ks.build_nhl(thousand, family=family)
    built = time.perf_counter() - start
    label = f"ConvNeXt V2 tiny NHL `late_sp`, {len(thousand.superclasses)} superclasses"
    lines += case("ImageNet-1k", full, cats, ks.build_plain(1000, family=family), label)
    times = f"build {built:.0f} s, {exercise(full, cats)}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines += ["", f"The network with 1,000 categories: {times}; peak memory {peak:.1f} GiB."]
    table = "\n".join(lines)
    print(table)
    if UPDATE.value:
        text = RESULTS.read_text()
        temporary = RESULTS.with_suffix(".tmp")
        temporary.write_text(MARK.sub(lambda m: f"{m[1]}{table}\n{m[2]}", text))
        temporary.replace(RESULTS)


if __name__ == "__main__":
    app.run(main)
