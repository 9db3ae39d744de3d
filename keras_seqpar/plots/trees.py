"""Hierarchies, and networks with their costs, as trees: trunk left, categories right."""

from collections.abc import Callable, Sequence

import keras

from keras_seqpar.costs.counting import cost
from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.plots import drawing

MOST_LEAVES = 150  # with more, the categories of a superclass are drawn as one leaf
ROW, CHARACTER, MARGIN = 0.24, 0.09, 0.25  # inches: a row, a character, left of the trunk's label

# One node, or the categories gathered into one leaf -> the text beside the dot.
_Describe = Callable[[Sequence[Node]], str]


def tree(hierarchy: Hierarchy, path=None, *, title: str | None = None):
    """Draws a hierarchy from left (the trunk) to right (the categories).

    Args:
        hierarchy: what to draw. With more than 150 categories, those of a superclass are drawn
            as one leaf with their number.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        TypeError: `hierarchy` is no `Hierarchy`.
        ValueError: a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = tree(Hierarchy.of({"pets": ["cat", "dog"], "car": None}), "pets.png")
    """
    if not isinstance(hierarchy, Hierarchy):
        raise TypeError(f"Expected a Hierarchy, got {hierarchy!r}. Make one with Hierarchy.of.")
    return drawing.finish(_draw(hierarchy, "trunk", _name, title), path)


def topology(
    model: keras.Model, path=None, *, input_shape: tuple | None = None, title: str | None = None
):
    """Draws a network: trunk and branches, each with its parameters and MACs.

    Args:
        model: a SeqPar network. With more than 150 categories, those of a superclass are drawn
            as one leaf with their number and the sum of their costs.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        input_shape: `(height, width, channels)` to count the MACs for; by default the
            model's own.
        title: text above the figure; by default the network's name, size and sums.

    Returns:
        The `matplotlib.figure.Figure`. The numbers are those of `keras_seqpar.cost`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: no SeqPar network, an input size that is not known, or a kind of file that
            matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = topology(model, "network.png")
    """
    hierarchy = find_parts(model).hierarchy
    counted = cost(model, input_shape)
    first, *others = counted.nodes  # a category may be called trunk as well
    by_id = {node.id: node for node in others}

    def numbers(parts) -> str:
        params, macs = (sum(getattr(part, key) for part in parts) for key in ("params", "macs"))
        return f"{drawing.short(params)} / {drawing.short(macs)}"

    def describe(nodes: Sequence[Node]) -> str:
        return f"{_name(nodes)}  {numbers([by_id[node.id] for node in nodes])}"

    if title is None:
        height, width, _ = counted.input_shape
        title = (
            f"{model.name}: parameters / MACs for one image of {height}x{width}; "
            f"in all {numbers(counted.nodes)}"
        )
    trunk = f"trunk  {numbers([first])}"
    return drawing.finish(_draw(hierarchy, trunk, describe, title), path)


def _name(nodes: Sequence[Node]) -> str:
    return nodes[0].label if len(nodes) == 1 else f"{len(nodes)} categories"


def _draw(hierarchy: Hierarchy, trunk: str, describe: _Describe, title: str | None):
    from matplotlib.figure import Figure

    short = len(hierarchy.category_ids) > MOST_LEAVES
    lines, texts, rows = _layout(hierarchy, short, trunk, describe)
    left = MARGIN + CHARACTER * len(trunk)
    right = max(x + CHARACTER * len(text) for x, _, text, _ in texts)
    right = max(right, CHARACTER * len(title or "") - left + 0.2)
    above = 2 if title else 1  # rows
    figure = Figure(figsize=(right + left, ROW * (rows + above)))
    axes = figure.add_axes((0, 0, 1, 1))
    for xs, ys in lines:
        axes.plot(xs, ys, color="0.6", linewidth=1, solid_joinstyle="round", zorder=1)
    for x, y, text, kind in texts:
        color, weight = _STYLES[kind]
        leaf = kind == "category"
        axes.plot(x, y, "o", color=color, markersize=4, zorder=2)
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
        axes.text(-left + 0.1, -1.5, title, fontsize=10, va="center", parse_math=False)
    axes.set_xlim(-left, right)
    axes.set_ylim(rows - 0.5, -above - 0.5)
    axes.set_axis_off()
    return figure


_STYLES = {
    "trunk": ("0.2", "bold"),
    "superclass": (drawing.BLUE, "bold"),
    "category": (drawing.ORANGE, "normal"),
}


def _layout(hierarchy: Hierarchy, short: bool, trunk: str, describe: _Describe):
    """Places all nodes: horizontally in inches, with room for labels; vertically in rows.

    Returns:
        Lines as (xs, ys), texts as (x, y, text, kind), and the number of rows.
    """
    across = [0.0]
    for level in range(1, hierarchy.depth + 1):
        at_level = [node for node in hierarchy.superclasses if hierarchy.level(node) == level]
        longest = max((len(describe([node])) for node in at_level), default=2)
        across.append(across[-1] + 0.4 + CHARACTER * longest)
    lines, texts = [], []
    rows = 0

    def leaf(x: float, text: str) -> float:
        nonlocal rows
        rows += 1
        texts.append((x, rows - 1.0, text, "category"))
        return rows - 1.0

    def place(nodes: tuple[Node, ...], level: int) -> float:
        """Places nodes of a level; returns the row of their parent, in the middle of them."""
        leaves = [node for node in nodes if node.is_category]
        gather = short and len(leaves) > 1
        x, ys = across[level], []
        for node in nodes:
            if node.children:
                ys.append(place(node.children, level + 1))
                texts.append((x, ys[-1], describe([node]), "superclass"))
            elif not gather:
                ys.append(leaf(x, describe([node])))
        if gather:
            ys.append(leaf(x, describe(leaves)))
        parent, knee, middle = across[level - 1], across[level - 1] + 0.2, (ys[0] + ys[-1]) / 2
        for y in ys:
            lines.append(((parent, knee, knee, x), (middle, middle, y, y)))
        return middle

    texts.append((0.0, place(hierarchy.roots, 1), trunk, "trunk"))
    return lines, texts, rows
