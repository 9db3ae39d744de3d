"""Strict copies of weights between networks, by name."""

from collections.abc import Mapping, Sequence

import keras

from keras_seqpar.networks.graph import leaf_layers


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """All weights of a model, nested models included, as `layer/weight` -> variable.

    Args:
        model: a network of this package; its layer names are unique over all sub-models.

    Returns:
        The variables in layer order.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: two layers have the same name.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, got {model!r} of type {type(model).__name__}.")
    named: dict[str, keras.Variable] = {}
    for layer in leaf_layers(model):
        for variable in layer.weights:
            key = f"{layer.name}/{variable.name}"
            if key in named and named[key] is not variable:
                raise ValueError(f"Two weights of {model.name!r} are called {key!r}.")
            named[key] = variable
    return named


def copy_weights(source: keras.Model, target: keras.Model, *, strict: bool = True) -> list[str]:
    """Copies weights from one network to another by layer and weight name.

    Never use `load_weights` between networks with different categories: Keras matches
    layers by class and position there and puts the wrong branch's weights in silently.

    Args:
        source: where to take the weights.
        target: where to put them.
        strict: both must have the same names and shapes. Otherwise what fits is copied:
            names that both have, with equal shapes.

    Returns:
        The names that were copied.

    Raises:
        TypeError: one of them is no Keras model.
        ValueError: `strict`, and the two differ (the message shows how), or nothing fits.

    Example:

    >>> copied = copy_weights(trained, cutout_with_new_branch, strict=False)
    """
    have, want = named_weights(source), named_weights(target)
    fitting = [key for key in want if key in have and _shape(have[key]) == _shape(want[key])]
    if strict or not fitting:
        refuse_difference(have, want, f"The weights of {source.name!r} do not fit {target.name!r}.")
    for key in fitting:
        want[key].assign(keras.ops.copy(have[key]))  # JAX would share, and `fit` frees, the array
    return fitting


def refuse_difference(have: Mapping, want: Mapping, title: str) -> None:
    """Compares two sets of named arrays or variables.

    Args:
        have: the source's.
        want: the target's.
        title: first line of the message.

    Raises:
        ValueError: they differ in names or shapes; the message lists how.
    """
    missing = [key for key in want if key not in have]
    extra = [key for key in have if key not in want]
    shapes = [
        f"{key}: {_shape(have[key])} given, {_shape(want[key])} wanted"
        for key in want
        if key in have and _shape(have[key]) != _shape(want[key])
    ]
    if missing or extra or shapes:
        raise ValueError(
            title
            + _listing("missing in the source", missing)
            + _listing("without a place in the target", extra)
            + _listing("of another shape", shapes)
        )


def _shape(value) -> tuple[int, ...]:
    return tuple(value.shape)


def _listing(title: str, names: Sequence[str], most: int = 8) -> str:
    if not names:
        return ""
    rest = [f"... and {len(names) - most} more"] if len(names) > most else []
    return f"\n  {len(names)} {title}:" + "".join(f"\n    {n}" for n in [*names[:most], *rest])
