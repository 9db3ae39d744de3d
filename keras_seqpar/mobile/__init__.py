"""Networks on devices: conversion to .tflite and to branch packs, verification, running.

Conversion needs Keras and TensorFlow, verification Keras; quantization of a float file and running
need neither.
"""

import importlib.util

from keras_seqpar.mobile.crop_stream import CropResult, CropStream
from keras_seqpar.mobile.files import DTYPES, QUANTIZATIONS, QUANTIZERS, Converted
from keras_seqpar.mobile.manifest import read_manifest, remove_branch
from keras_seqpar.mobile.pack_runner import PackRunner
from keras_seqpar.mobile.quantize import quantize
from keras_seqpar.mobile.runner import INTERPRETERS, Runner

if importlib.util.find_spec("keras"):
    from keras_seqpar.mobile.aware import convert_aware, quantize_aware
    from keras_seqpar.mobile.bridge import from_tf_keras, to_tf_keras
    from keras_seqpar.mobile.convert import convert
    from keras_seqpar.mobile.crops import convert_crops
    from keras_seqpar.mobile.network import from_pixels, labels_of
    from keras_seqpar.mobile.packs import PACK_QUANTIZATIONS, add_branch, pack
    from keras_seqpar.mobile.signatures import convert_signatures
    from keras_seqpar.mobile.sparse import cluster, prune, strip
    from keras_seqpar.mobile.verify import BOUNDS, Bounds, Report, verify

__all__ = [
    "BOUNDS",
    "DTYPES",
    "INTERPRETERS",
    "PACK_QUANTIZATIONS",
    "QUANTIZATIONS",
    "QUANTIZERS",
    "Bounds",
    "Converted",
    "CropResult",
    "CropStream",
    "PackRunner",
    "Report",
    "Runner",
    "add_branch",
    "cluster",
    "convert",
    "convert_aware",
    "convert_crops",
    "convert_signatures",
    "from_pixels",
    "from_tf_keras",
    "labels_of",
    "pack",
    "prune",
    "quantize",
    "quantize_aware",
    "read_manifest",
    "remove_branch",
    "strip",
    "to_tf_keras",
    "verify",
]
