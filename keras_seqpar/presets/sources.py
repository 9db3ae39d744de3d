"""The model that a command's flag names: a `.keras` file, or a preset."""

import keras

from keras_seqpar.networks.loading import load_model
from keras_seqpar.presets.loading import load_preset


def load_source(source: str | None) -> keras.Model:
    """Loads the model that a flag names.

    Args:
        source: a `.keras` file, or `"preset:NAME"`.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: nothing was given, an unknown preset, or no readable file.

    Example:

    >>> load_source("model.keras").output_shape
    (None, 3)
    """
    if not source:
        raise ValueError("Give --model: a .keras file, or preset:NAME.")
    kind, _, name = source.partition(":")
    return load_preset(name) if kind == "preset" else load_model(source)
