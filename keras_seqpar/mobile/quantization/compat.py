"""All use of litert-quantizer's internals, in this one file.

`tests/mobile/quantization/test_compat.py` names each of them and says what depends on it. The
quantizer is imported here when it is needed.
"""

from collections.abc import Mapping, Sequence

import numpy as np


def measured_ranges(
    work, content: bytes, signature: str, samples: Sequence[Mapping[str, np.ndarray]]
) -> dict:
    """Measures the smallest and the largest value of every tensor, over all samples.

    TensorFlow's converter takes these extremes, too. The public `Quantizer.calibrate` would take
    moving averages, which depend on the order of the images.

    Args:
        work: a `litert_quantizer.quantizer.Quantizer` that has its recipe.
        content: the float file.
        signature: its key.
        samples: name of an input -> its value.

    Returns:
        Name of a tensor -> its range, as `Quantizer.quantize` takes it.
    """
    from litert_quantizer import calibrator
    from litert_quantizer.utils.qsv_utils import min_max_update

    found = calibrator.Calibrator(bytearray(content), num_threads=1, qsv_update_func=min_max_update)
    found.calibrate({signature: samples}, work._recipe_manager)
    return found.get_model_qsvs()
