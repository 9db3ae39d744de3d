"""A table that compares the costs of networks, and the plain network to compare with."""

from collections.abc import Callable

import keras

from keras_seqpar.costs.counting import cost, short_number
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.builders import build_plain
from keras_seqpar.networks.parts import find_parts


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

    Raises:
        TypeError: one is no Keras model.
        ValueError: as for `cost`.

    Example:

    >>> print(compare(model, cutout(model, ["cat"]), plain_twin(model)))
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


def plain_twin(
    model: keras.Model, *, name: str | None = None, seed: int | None = None
) -> keras.Model:
    """Builds the plain network that a network is compared with; its weights are random.

    It has the family, width, stem, rate of stochastic depth, preprocessing, input shape,
    categories and activation of the given network.

    Args:
        model: a network of this package, a cutout for example.
        name: name of the new model.
        seed: makes the initial weights repeatable.

    Returns:
        A network as from `build_plain`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package, or was saved before networks stored how
            they were built.

    Example:

    >>> plain = plain_twin(pets, seed=0)
    >>> cost(pets).params / cost(plain).params < 0.4
    True
    """
    parts = find_parts(model, allow_plain=True)
    build = parts.require_build(model.name)
    if build.trunk:
        raise ValueError(
            f"The trunk of {model.name!r} is of the model {build.trunk!r}, not of a family, so "
            "there is no plain network of it here. Compare it with that model."
        )
    tree = parts.hierarchy
    return build_plain(
        Hierarchy([tree.node(id_) for id_ in tree.category_ids]),
        family=build.family,
        input_shape=tuple(model.inputs[0].shape[1:]),
        width=build.width,
        stem=build.stem,
        classifier_activation=parts.classifier_activation,
        include_preprocessing=build.include_preprocessing,
        drop_path_rate=build.drop_path_rate,
        name=name,
        seed=seed,
    )
