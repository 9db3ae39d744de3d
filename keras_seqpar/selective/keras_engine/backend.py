"""The module with the code for the Keras backend in use, one of `*_maps.py`."""

import importlib
from typing import Any

import keras


def load_backend() -> Any:
    """Imports `tensorflow_maps`, `jax_maps` or `torch_maps`, which define the same functions."""
    package = "keras_seqpar.selective.keras_engine"
    return importlib.import_module(f"{package}.{keras.backend.backend()}_maps")


def check_freeze(freeze: bool) -> None:
    """Raises a `ValueError` where constant weights are requested on another backend."""
    if freeze and keras.backend.backend() != "tensorflow":
        raise ValueError(
            "freeze=True is for the TensorFlow backend, but the backend is "
            f"{keras.backend.backend()}: leave it out."
        )
