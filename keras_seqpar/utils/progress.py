"""A progress bar for loops over batches, and notes about waits."""

import sys
from collections.abc import Iterator

WIDTH = 30  # characters of the bar


def note(message: str) -> None:
    """Says on the standard error stream why the program waits.

    Example:

    >>> note("warming up: compiling 'resnet50', once.")
    """
    print(message, file=sys.stderr, flush=True)


def batches(count: int, batch_size: int, label: str | None = None) -> Iterator[range]:
    """Yields the indices of one batch after the other, and shows a bar on a terminal meanwhile.

    Args:
        count: number of items.
        batch_size: items per batch; the last batch may be smaller.
        label: text before the bar; `None` shows no bar.

    Yields:
        A range of indices.

    Example:

    >>> for rows in batches(5, 2):
    ...     print(list(rows))
    [0, 1]
    [2, 3]
    [4]
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of 1 or more, got {batch_size!r}.")
    shown = label is not None and sys.stderr.isatty()
    for start in range(0, count, batch_size):
        stop = min(count, start + batch_size)
        yield range(start, stop)
        if shown:
            bar = "=" * (WIDTH * stop // count)
            end = "\n" if stop == count else ""
            print(f"\r{label} [{bar:{WIDTH}}] {stop}/{count}", end=end, file=sys.stderr, flush=True)
