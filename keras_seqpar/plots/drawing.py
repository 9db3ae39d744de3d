"""What all figures share: colors, numbers with units, saving."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from keras_seqpar.utils.files import write_file

# Colors that color-blind readers can tell apart: Okabe and Ito, "Color Universal Design" (2008).
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
# Color, marker and line of the first, second, ... group.
STYLES = (
    (BLUE, "o", "-"),
    (VERMILION, "s", "--"),
    (GREEN, "^", ":"),
    (ORANGE, "D", "-."),
    (PURPLE, "v", "--"),
)


def short(count: float) -> str:
    """A number with an SI prefix, for example "1.14 M"."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter(places=2)(count).strip()


def new_figure(width: float, height: float):
    """An empty figure, its size in inches, with automatic layout."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def finish(figure, path, title: str | None = None):
    """Adds the title, saves the figure if there is a path, and returns it."""
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    if path is not None:
        content = io.BytesIO()  # an error of the disk would lose its reason in the encoder
        figure.savefig(content, format=Path(path).suffix[1:] or "png", dpi=120)
        write_file(path, content.getvalue())
    return figure


@contextlib.contextmanager
def optional(path: str | os.PathLike) -> Iterator[None]:
    """Leaves out a figure, and prints that it does, if a package for it is not installed.

    Args:
        path: the file of the figure that is drawn inside.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "matplotlib").partition(".")[0]
        print(f"No {Path(path).name}: the package {package} is not installed.")


def legend(axes) -> None:
    """Adds a legend; its labels are plain text, without formulas."""
    for text in axes.legend(fontsize=8, framealpha=0.8).get_texts():
        text.set_parse_math(False)
