"""Networks on devices: conversion to .tflite and to branch packs, verification, running.

Conversion needs Keras and TensorFlow, verification Keras; quantization of a float file and running
need neither.
"""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "checking.bounds": ["BOUNDS", "Bounds"],
        "checking.verifying": ["Report", "verify"],
        "export.aware": ["convert_aware"],
        "export.converting": ["convert"],
        "network": ["from_pixels", "labels_of"],
        "export.packs.adding": ["add_branch"],
        "export.packs.packing": ["PACK_QUANTIZATIONS", "pack"],
        "export.signatures": ["convert_signatures"],
        "format.pack_files": ["remove_branch"],
        "format.files": ["DTYPES", "QUANTIZATIONS", "QUANTIZERS", "Converted"],
        "quantization.post_training": ["quantize"],
        "quantization.qat.bridge": ["from_tf_keras", "to_tf_keras"],
        "quantization.qat.sparsity": ["cluster", "prune", "strip"],
        "quantization.qat.fake_quantization": ["quantize_aware"],
        "runtime.manifest": ["read_manifest"],
        "runtime.pack_runner": ["PackRunner"],
        "runtime.interpreters": ["INTERPRETERS"],
        "runtime.runner": ["Runner"],
    },
)
