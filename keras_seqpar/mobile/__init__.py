"""Networks on devices: conversion to .tflite, verification, running.

Conversion needs Keras and TensorFlow, verification Keras; quantization of a float file and running
need neither.
"""

import importlib.util

from keras_seqpar.mobile.files import DTYPES, QUANTIZATIONS, QUANTIZERS, Converted
from keras_seqpar.mobile.quantize import quantize
from keras_seqpar.mobile.runner import INTERPRETERS, Runner

if importlib.util.find_spec("keras"):
    from keras_seqpar.mobile.convert import convert
    from keras_seqpar.mobile.network import from_pixels, labels_of
    from keras_seqpar.mobile.verify import BOUNDS, Bounds, Report, verify

__all__ = [
    "BOUNDS",
    "DTYPES",
    "INTERPRETERS",
    "QUANTIZATIONS",
    "QUANTIZERS",
    "Bounds",
    "Converted",
    "Report",
    "Runner",
    "convert",
    "from_pixels",
    "labels_of",
    "quantize",
    "verify",
]
