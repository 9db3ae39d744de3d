"""Draws the figures of the page Concepts and of the README, from the preset.

    python docs/figures/make.py

Writes branches.svg, cutout.svg and changes.svg beside itself. Numbers in them are counted and
computed here; `python docs/results/make.py` draws what was measured.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["SOURCE_DATE_EPOCH"] = "0"  # the same figure gives the same file

import matplotlib
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import keras_seqpar as sp
from keras_seqpar import selective
from keras_seqpar.plots import drawing

HERE = Path(__file__).resolve().parent
GRAY, LIGHT = "#666666", "#DDDDDD"
KEPT = ("church", "tench")


def box(axes, x, y, width, height, color, text, *, inside="white", size=9.0) -> None:
    """A box with text in its middle."""
    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, color=color))
    axes.text(
        x + width / 2, y + height / 2, text, color=inside, size=size, ha="center", va="center"
    )


def arrow(axes, start, end, color=GRAY) -> None:
    """An arrow between two points."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, color=color))


def branches(path: Path, cost, kept=None) -> None:
    """Trunk and branches; with `kept`, the other branches are pale."""
    figure = drawing.new_figure(8, 3.6)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 8), ylim=(0, 3.6))
    axes.axis("off")
    trunk, *nodes = cost.nodes
    axes.imshow(scene(0.35), extent=(0.05, 1.25, 1.35, 2.55), aspect="auto", zorder=2)
    axes.text(0.65, 1.15, "image", color=GRAY, size=9, ha="center")
    arrow(axes, (1.28, 1.8), (1.68, 1.8))
    text = f"trunk\n\nwhat all\ncategories use\n\n{drawing.short(trunk.macs)} MACs"
    box(axes, 1.7, 0.75, 1.3, 2.1, drawing.BLUE, text)
    for i, branch in enumerate(nodes):
        y = 3.4 - 0.35 * i
        chosen = kept is None or branch.label in kept
        color = (drawing.GREEN if chosen else LIGHT, GRAY if chosen else LIGHT)
        arrow(axes, (3.02, 1.8), (3.98, y), color[1])
        inside = "white" if chosen else "#999999"
        text = f"{branch.label}: {drawing.short(branch.macs)} MACs" if chosen else branch.label
        box(axes, 4, y - 0.14, 2.5, 0.28, color[0], text, inside=inside, size=8)
        if chosen:
            arrow(axes, (6.52, y), (6.98, y))
            axes.text(7.02, y, "score", color=GRAY, size=8, va="center")
    drawing.finish(figure, path)


def scene(ball: float) -> np.ndarray:
    """A drawn street of 512 x 512 pixels, with a ball at a share of its width."""
    y, x = np.mgrid[:512, :512]
    frame = np.empty((512, 512, 3), "uint8")
    frame[:] = 170, 205, 235  # sky
    frame[330:] = 130, 130, 135  # road
    frame[430:442, np.arange(512) % 128 < 64] = 240, 240, 240
    for left, top, color in ((30, 150, (190, 120, 90)), (270, 100, (205, 185, 140))):
        frame[top:330, left : left + 170] = color
        for window in (left + 25, left + 110):
            frame[top + 30 : top + 70, window : window + 35] = 70, 80, 100
    frame[(x - 512 * ball) ** 2 + (y - 370) ** 2 < 20**2] = 220, 60, 40
    return frame


def changes(path: Path, camera) -> None:
    """Two frames, and what has to be computed again for the second one, layer after layer."""
    before, after = scene(0.76), scene(0.84)
    camera(np.float32(before))
    stats = camera(np.float32(after)).stats
    grids = {}  # the last map of each size
    for name, kept in camera.maps.items():
        grids[kept.shape[1:3]] = name
    squares = sorted((grid for grid in grids if grid[0] == grid[1]), reverse=True)
    panels = [("frame", before), ("next frame", after), ("changed pixels", camera.change_map())]
    for grid in squares[1:4]:
        again = camera.change_map(grids[grid])
        panels.append((f"map of {grid[0]} x {grid[1]}: {again.mean():.0%}", again))
    figure = drawing.new_figure(7, 5)
    for axes, (title, panel) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        axes.imshow(panel, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, size=9)
        axes.set_xticks([])
        axes.set_yticks([])
    drawing.finish(figure, path)
    print(f"{stats.changed:.1%} changed, {stats.saved:.0%} saved")


def main() -> None:
    """Draws all figures."""
    matplotlib.rcParams["svg.hashsalt"] = "keras_seqpar"
    model = sp.load_preset("imagenette_small")
    branches(HERE / "branches.svg", sp.cost(model))
    branches(HERE / "cutout.svg", sp.cost(model), KEPT)
    network = selective.open_sizes(model)
    changes(HERE / "changes.svg", selective.stream(network, input_shape=(512, 512, 3)))


if __name__ == "__main__":
    main()
