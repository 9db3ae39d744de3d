"""Costs of cutouts by the number of categories that they keep."""

import keras
import numpy as np

from keras_seqpar.costs.counting import cost
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.plots import drawing

DRAWS = 20  # random choices of the kept categories; costs of nested networks depend on them
_AXES = {"params": "parameters", "macs": "multiply-accumulates (MACs) per image"}


def cost_curve(
    model: keras.Model,
    plain: keras.Model | None = None,
    path=None,
    *,
    input_shape: tuple | None = None,
    seed: int = 0,
    title: str | None = None,
):
    """Draws parameters and MACs of all cutouts against the number of kept categories.

    In nested networks the costs depend on which categories are kept: the line is the mean over 20
    random choices, the band reaches from the cheapest to the most expensive choice.

    Args:
        model: a SeqPar network.
        plain: a plain network of the same family, drawn as a horizontal line.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        input_shape: `(height, width, channels)` to count the MACs for; by default the
            models' own.
        seed: of the random choices.
        title: text above the figure; by default the network's name.

    Returns:
        The `matplotlib.figure.Figure`. The numbers are those of `keras_seqpar.cost`.

    Raises:
        TypeError: a model is no Keras model.
        ValueError: `model` is no SeqPar network, `plain` none of this package, an input size
            that is not known, or a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = cost_curve(model, plain_twin(model), "costs.png")
    """
    hierarchy = find_parts(model).hierarchy
    trunk, *nodes = cost(model, input_shape).nodes
    of_plain = cost(plain, input_shape) if plain is not None else None
    paths = [
        [node.id for node in hierarchy.path(hierarchy.node(id_))] for id_ in hierarchy.category_ids
    ]
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(paths)) for _ in range(DRAWS)]
    figure = drawing.new_figure(9, 3.8)
    for axes, (key, label) in zip(figure.subplots(1, 2), _AXES.items(), strict=True):
        first, prices = getattr(trunk, key), {node.id: getattr(node, key) for node in nodes}
        sums = first + np.array([_sums(order, paths, prices) for order in orders])
        kept = np.arange(1, len(paths) + 1)
        marker = "o" if len(paths) <= 30 else ""
        axes.plot(
            kept, sums.mean(0), marker=marker, markersize=4, color=drawing.BLUE, label="cutouts"
        )
        axes.fill_between(kept, sums.min(0), sums.max(0), color=drawing.BLUE, alpha=0.2, lw=0)
        most = sums.max()
        if of_plain is not None:
            across = getattr(of_plain, key)
            axes.axhline(across, color=drawing.VERMILION, ls="--", label="plain network")
            most = max(most, across)
        axes.set_xlabel("kept categories")
        axes.set_ylabel(label)
        axes.set_ylim(0, 1.08 * most)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter(_engineering())
        axes.grid(color="0.9")
        drawing.legend(axes)
    return drawing.finish(figure, path, model.name if title is None else title)


def _sums(order, paths, prices) -> list[float]:
    """Costs of the branches of the first 1, 2, ... categories in an order."""
    paid, total, sums = set(), 0, []
    for category in order:
        new = [id_ for id_ in paths[category] if id_ not in paid]
        paid.update(new)
        total += sum(prices[id_] for id_ in new)
        sums.append(total)
    return sums


def _engineering():
    from matplotlib.ticker import EngFormatter

    return EngFormatter()
