"""Networks on devices: conversion to .tflite, verification, running.

Conversion needs Keras and TensorFlow, verification Keras, running NumPy only.
"""

import importlib.util

from keras_seqpar.mobile.runner import INTERPRETERS, Runner

if importlib.util.find_spec("keras"):
    from keras_seqpar.mobile.convert import DTYPES, QUANTIZATIONS, Converted, convert
    from keras_seqpar.mobile.network import from_pixels, labels_of
    from keras_seqpar.mobile.verify import BOUNDS, Bounds, Report, verify

__all__ = [
    "BOUNDS",
    "DTYPES",
    "INTERPRETERS",
    "QUANTIZATIONS",
    "Bounds",
    "Converted",
    "Report",
    "Runner",
    "convert",
    "from_pixels",
    "labels_of",
    "verify",
]
