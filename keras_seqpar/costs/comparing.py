"""A table that compares the costs of networks."""

from collections.abc import Callable

import keras

from keras_seqpar.costs.counting import cost, short_number


def compare(
    full: keras.Model,
    *others: keras.Model,
    input_shape: tuple | None = None,
    latency: Callable[[keras.Model], float] | None = None,
) -> str:
    """Compares networks in a table: the full one, its cutouts, and the plain network.

    A cutout saves more against its own full network than against the plain network of the same
    family, which it replaces. The table shows both.

    Args:
        full: the network that the first percentages refer to.
        others: cutouts, and last the plain network that the second percentages refer to.
        input_shape: `(height, width, channels)` to count the MACs for.
        latency: measures a network in milliseconds, for example
            `keras_seqpar.costs.measure_latency`; adds a column.

    Returns:
        A table to print. Its numbers are those of `cost`.

    Example:

    >>> print(compare(model, cutout(model, ["cat"]), build_plain(["cat"], family="resnet50")))
    """
    costs = [cost(model, input_shape) for model in (full, *others)]
    first, last = costs[0], costs[-1]
    width = max(8, *(len(c.name) for c in costs))
    head = f"{'network':<{width}} {'categories':>10}"
    for title in ("parameters", "MACs", "float32", *(["ms"] if latency else [])):
        head += f" {title:>13} {'vs first':>8} {'vs last':>8}"
    lines = [head, "-" * len(head)]
    ms = [latency(model) for model in (full, *others)] if latency else []
    for i, (model, c) in enumerate(zip((full, *others), costs, strict=True)):
        columns = [
            (f"{c.params:,}", c.params, first.params, last.params),
            (short_number(c.macs), c.macs, first.macs, last.macs),
            (short_number(c.bytes, "B"), c.bytes, first.bytes, last.bytes),
            *([(f"{ms[i]:.2f}", ms[i], ms[0], ms[-1])] if latency else []),
        ]
        line = f"{c.name:<{width}} {model.output_shape[-1]:>10}"
        for text, value, of_first, of_last in columns:
            line += f" {text:>13} {value / of_first - 1:>+8.1%} {value / of_last - 1:>+8.1%}"
        lines.append(line)
    return "\n".join(lines)
