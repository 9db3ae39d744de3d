"""The internals of litert-quantizer that quantization uses are there, and do what it needs."""

import inspect

import numpy as np
import pytest

from keras_seqpar import mobile
from keras_seqpar.mobile.quantization import compat
from tests import harness
from tests.mobile.clients import noise

pytestmark = pytest.mark.only_backend("tensorflow")
ADAPT = "Adapt keras_seqpar/mobile/quantization/compat.py."


def test_internals_are_there():
    from litert_quantizer import calibrator, quantizer
    from litert_quantizer.utils import qsv_utils

    taken = inspect.signature(calibrator.Calibrator).parameters
    assert {"num_threads", "qsv_update_func"} <= set(taken), (
        f"litert_quantizer.calibrator.Calibrator takes other arguments. {ADAPT}"
    )
    assert hasattr(calibrator.Calibrator, "get_model_qsvs"), (
        f"litert_quantizer.calibrator.Calibrator has no get_model_qsvs any more. {ADAPT}"
    )
    assert hasattr(qsv_utils, "min_max_update"), (
        f"litert_quantizer.utils.qsv_utils has no min_max_update any more. {ADAPT}"
    )
    assert "_recipe_manager" in inspect.getsource(quantizer.Quantizer), (
        f"litert_quantizer.quantizer.Quantizer has no _recipe_manager any more. {ADAPT}"
    )


def test_ranges_are_the_extremes_of_all_samples(tmp_path):
    from litert_quantizer import quantizer
    from litert_quantizer.qtyping import TFLOperationName

    net = harness.network(harness.LABELS[:2], include_preprocessing=True)
    made = mobile.convert(net, tmp_path / "net.tflite", quantization="float32")
    content = made.path.read_bytes()
    work = quantizer.Quantizer(bytearray(content))
    work.add_static_config(
        ".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
    )
    images = noise(3).astype("float32")
    samples = [{"image": image[None]} for image in images]
    found = compat.measured_ranges(work, content, "serving_default", samples)["image"]
    assert np.ravel(found["min"]) == images.min() and np.ravel(found["max"]) == images.max(), (
        f"min_max_update does not keep the extremes of all samples any more. {ADAPT}"
    )
