"""The plain network that a network is compared with."""

import keras

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.builders import build_plain
from keras_seqpar.networks.parts import find_parts


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

    >>> model = build_phl(["cat", "dog", "car"], family="resnet18", width=0.25)
    >>> phone = cutout(model, ["cat"])
    >>> print(compare(model, phone, plain_twin(phone)))
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
