"""How a training went: loss and accuracy against the epoch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_seqpar.utils.files import replacing


def learning_curves(history: Sequence[Mapping[str, float]], path=None):
    """Draws loss and accuracy of training and validation against the epoch.

    Args:
        history: one mapping per epoch with `epoch`, `loss`, `accuracy`, `val_loss` and
            `val_accuracy`.
        path: where to save the figure; `None` saves nothing.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib is not installed.

    Example:

    >>> learning_curves(history, "curves.png")
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    epochs = [line["epoch"] for line in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axes.plot(epochs, [line[key] for line in history], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend()
    if path is not None:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120)
    return figure


def write_curves(path: str | os.PathLike, history: Sequence[Mapping[str, float]]) -> None:
    """Saves the learning curves; prints a line where matplotlib is not installed.

    Args:
        path: the file to make or replace.
        history: as for `learning_curves`.
    """
    try:
        learning_curves(history, path)
    except ImportError:
        print(f"No {Path(path).name}: the package matplotlib is not installed.")
