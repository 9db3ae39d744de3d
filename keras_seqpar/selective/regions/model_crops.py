"""Runs a Keras network on crops of any size, layer by layer."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras
import numpy as np

from keras_seqpar.networks.graph import build_model, one_at_a_time, replay
from keras_seqpar.selective.keras_engine.graph import graph_of
from keras_seqpar.selective.regions.crops import MOST_SIZES
from keras_seqpar.selective.regions.geometry import Geometry

Taken = TypeVar("Taken")


class ModelCrops:
    """A Keras network as one of frames and of crops.

    Args:
        geometry: of the network.

    Attributes:
        half: the score of 0.5.
        kept: how many sizes of crops are taken: backends compile for each.
    """

    half, kept = 0.5, MOST_SIZES

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        self._calls: list[Any] = [geometry.graph.operations[n] for n in geometry.graph.live]

    def load(self) -> None:
        """Nothing is to be loaded: layers are called as they are."""

    def full(self, frame: np.ndarray, take: Callable[[np.ndarray], Taken]) -> Taken:
        """Runs a whole frame; as `FileCrops.full`."""
        values = {self.geometry.frame: keras.ops.convert_to_tensor(frame[None])}
        for call in self._calls:
            given = [values[i] for i in call.inputs]
            values |= dict(zip(call.outputs, call(given), strict=True))
        return take(keras.ops.convert_to_numpy(values[self.geometry.output])[0])

    crop = full


@one_at_a_time
def open_sizes(model: keras.Model) -> keras.Model:
    """Makes a network take frames of any size.

    Args:
        model: a functional model with one image as its input.

    Returns:
        The same network, which shares all layers with `model`, for images of any height and width.

    Example:

    >>> open_sizes(street).input_shape
    (None, None, None, 3)
    """
    shape = model.inputs[0].shape
    if shape[1] is None and shape[2] is None:
        return model

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return replay(graph_of(layer), args[0], call)
        return layer(*args, **kwargs)

    inputs = keras.Input((None, None, shape[3]), dtype=model.inputs[0].dtype)
    return build_model(inputs, replay(graph_of(model), inputs, call), name=model.name)
