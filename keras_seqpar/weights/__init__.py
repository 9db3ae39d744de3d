"""Weights by name: strict copies, and filling networks from timm and keras.applications."""

from keras_seqpar.weights.copies import copy_weights, named_weights
from keras_seqpar.weights.filling import Filled
from keras_seqpar.weights.keras_applications import from_keras_applications
from keras_seqpar.weights.loading import load
from keras_seqpar.weights.timm import from_timm

__all__ = [
    "Filled",
    "copy_weights",
    "from_keras_applications",
    "from_timm",
    "load",
    "named_weights",
]
