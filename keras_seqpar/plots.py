"""Figures. matplotlib is imported only in here, and only when a figure is drawn."""

import os
from pathlib import Path

from keras_seqpar.hierarchy import Hierarchy, Node

MOST_LEAVES = 150  # beyond that, the categories of a superclass are drawn as one leaf
ROW, CHARACTER, LEFT = 0.24, 0.09, 0.7  # inches: of a row, a character, the trunk's label


def tree(hierarchy: Hierarchy, path=None, *, title: str | None = None):
    """Draws a hierarchy from left (the trunk) to right (the categories).

    Args:
        hierarchy: what to draw. Beyond 150 categories each superclass's are drawn as their
            number.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        TypeError: no hierarchy.
        ValueError: a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = tree(Hierarchy.of({"pets": ["cat", "dog"], "car": None}), "pets.png")
    """
    if not isinstance(hierarchy, Hierarchy):
        raise TypeError(f"Expected a Hierarchy, got {hierarchy!r}. Make one with Hierarchy.of.")
    from matplotlib.figure import Figure

    lines, texts, rows = _layout(hierarchy, len(hierarchy.category_ids) > MOST_LEAVES)
    right = max(x + CHARACTER * len(text) for x, _, text, _ in [*texts, (0, 0, title or "", "")])
    above = 2 if title else 1  # rows
    figure = Figure(figsize=(right + LEFT, ROW * (rows + above)))
    axes = figure.add_axes((0, 0, 1, 1))
    for xs, ys in lines:
        axes.plot(xs, ys, color="0.6", linewidth=1, solid_joinstyle="round", zorder=1)
    for x, y, text, kind in texts:
        colour, weight = _STYLES[kind]
        leaf = kind == "category"
        axes.plot(x, y, "o", color=colour, markersize=4, zorder=2)
        axes.annotate(
            text,
            (x, y),
            (6, -0.5) if leaf else (-3, 2),
            textcoords="offset points",
            ha="left" if leaf else "right",
            va="center" if leaf else "bottom",
            fontsize=9,
            fontweight=weight,
            parse_math=False,  # labels are free text
        )
    if title:
        axes.text(-LEFT + 0.1, -1.5, title, fontsize=10, va="center", parse_math=False)
    axes.set_xlim(-LEFT, right)
    axes.set_ylim(rows - 0.5, -above - 0.5)
    axes.set_axis_off()
    if path is not None:
        _save(figure, Path(path))
    return figure


_STYLES = {
    "trunk": ("0.2", "bold"),
    "superclass": ("tab:blue", "bold"),
    "category": ("tab:orange", "normal"),
}


def _layout(hierarchy: Hierarchy, short: bool):
    """Places all nodes: across in inches, so that labels have room, down in rows.

    Returns:
        Lines as (xs, ys), texts as (x, y, text, kind), and the number of rows.
    """
    across = [0.0]
    for level in range(1, hierarchy.depth + 1):
        labels = [node.label for node in hierarchy.superclasses if hierarchy.level(node) == level]
        across.append(across[-1] + 0.4 + CHARACTER * max(map(len, labels), default=2))
    lines, texts = [], []
    rows = 0

    def leaf(x: float, text: str) -> float:
        nonlocal rows
        rows += 1
        texts.append((x, rows - 1.0, text, "category"))
        return rows - 1.0

    def place(nodes: tuple[Node, ...], level: int) -> float:
        """Places nodes of a level and, in the middle before them, their parent: its row."""
        leaves = [node for node in nodes if node.is_category]
        gather = short and len(leaves) > 1
        x, ys = across[level], []
        for node in nodes:
            if node.children:
                ys.append(place(node.children, level + 1))
                texts.append((x, ys[-1], node.label, "superclass"))
            elif not gather:
                ys.append(leaf(x, node.label))
        if gather:
            ys.append(leaf(x, f"{len(leaves)} categories"))
        parent, knee, middle = across[level - 1], across[level - 1] + 0.2, (ys[0] + ys[-1]) / 2
        for y in ys:
            lines.append(((parent, knee, knee, x), (middle, middle, y, y)))
        return middle

    texts.append((0.0, place(hierarchy.roots, 1), "trunk", "trunk"))
    return lines, texts, rows


def _save(figure, path: Path) -> None:
    """Saves under a temporary name first: the file appears whole or not at all."""
    part = path.with_name(f".{os.getpid()}.{path.name}")  # the ending says what kind it is
    try:
        figure.savefig(part, dpi=120)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
