"""The model that a command names: a `.keras` file, or a preset."""

from pathlib import Path

import keras

from keras_seqpar.networks.loading import load_model
from keras_seqpar.presets.loading import load_preset

PRESET = "preset:"  # before the name of one


def load_source(source: str | None) -> keras.Model:
    """Loads the model that a command names.

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
    if source.startswith(PRESET):
        return load_preset(source.removeprefix(PRESET))
    return load_model(source)


def stem_of(source: str) -> str:
    """The name of a source of `load_source`, for names of files and titles.

    Example:

    >>> stem_of("runs/digits/best.keras"), stem_of("preset:imagenette_small")
    ('best', 'imagenette_small')
    """
    return Path(source.removeprefix(PRESET)).stem
