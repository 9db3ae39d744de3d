"""Reading `.keras` files, with one clear error for whatever is wrong with them."""

import os
from pathlib import Path

import keras

from keras_seqpar.networks.parts import find_parts


def load_model(path: str | os.PathLike) -> keras.Model:
    """Loads any Keras model from a `.keras` file, not compiled.

    Args:
        path: the file.

    Returns:
        The model.

    Raises:
        ValueError: the file is missing, or is no readable `.keras` file.

    Example:

    >>> again = load_model("model.keras")
    """
    if not Path(path).is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # what Keras raises depends on what it finds in the file
        raise ValueError(f"{path} is no readable .keras file: {error}") from error


def load_network(path: str | os.PathLike) -> keras.Model:
    """Loads a network of this package, plain ones included, from a `.keras` file, not compiled.

    Args:
        path: the file.

    Returns:
        The network.

    Raises:
        ValueError: as for `load_model`, or the file holds a model of something else.

    Example:

    >>> load_network("model.keras").output_shape
    (None, 3)
    """
    model = load_model(path)
    find_parts(model, allow_plain=True)
    return model
