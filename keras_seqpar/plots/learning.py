"""Learning curves: loss and accuracy against the epoch."""

import os
from collections.abc import Mapping, Sequence

from keras_seqpar.plots import drawing


def learning_curves(history: Sequence[Mapping[str, float]], path=None):
    """Draws loss and accuracy of training and validation against the epoch.

    Args:
        history: one mapping per epoch with `epoch`, `loss`, `accuracy`, `val_loss` and
            `val_accuracy`.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib is not installed.

    Example:

    >>> history = [
    ...     {"epoch": 1, "loss": 1.9, "accuracy": 0.4, "val_loss": 1.7, "val_accuracy": 0.5},
    ...     {"epoch": 2, "loss": 1.2, "accuracy": 0.6, "val_loss": 1.3, "val_accuracy": 0.6},
    ... ]
    >>> figure = learning_curves(history, "curves.png")
    """
    figure = drawing.new_figure(9, 3.5)
    epochs = [line["epoch"] for line in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axes.plot(epochs, [line[key] for line in history], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend()
    return drawing.finish(figure, path)


def compare_curves(runs: Mapping[str, Sequence[Mapping[str, float]]], path=None):
    """Draws loss and accuracy on the validation images of several runs against the epoch.

    Args:
        runs: name of a run -> its history, as for `learning_curves`.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: no run, or a kind of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> epochs = [{"epoch": 1, "val_loss": 1.7, "val_accuracy": 0.5}]
    >>> figure = compare_curves({"seqpar": epochs, "plain": epochs}, "comparison.png")
    """
    if not runs:
        raise ValueError("Give at least one run: its name and its history.")
    figure = drawing.new_figure(9, 3.5)
    panels = figure.subplots(1, 2)
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        for i, (run, history) in enumerate(runs.items()):
            color, marker, line = drawing.STYLES[i % len(drawing.STYLES)]
            epochs, values = zip(*((x["epoch"], x[f"val_{name}"]) for x in history), strict=True)
            axes.plot(epochs, values, line, color=color, marker=marker, markersize=3, label=run)
        axes.set(xlabel="epoch", ylabel=f"validation {name}")
        axes.grid(alpha=0.3)
    drawing.legend(panels[-1])
    return drawing.finish(figure, path)


def write_curves(path: str | os.PathLike, history: Sequence[Mapping[str, float]]) -> None:
    """Saves the learning curves; prints a line where matplotlib is not installed.

    Args:
        path: the file to make or replace.
        history: as for `learning_curves`.

    Example:

    >>> epoch = {"epoch": 1, "loss": 1.9, "accuracy": 0.4, "val_loss": 1.7, "val_accuracy": 0.5}
    >>> write_curves("curves.png", [epoch, {**epoch, "epoch": 2}])
    """
    with drawing.optional(path):
        learning_curves(history, path)
