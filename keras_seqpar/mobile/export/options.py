"""The options of `convert`, checked as far as that needs no network."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_seqpar.mobile.format.files import check_options
from keras_seqpar.mobile.runtime.runner import OUTPUTS, SCORES
from keras_seqpar.utils.names import unknown_name

INTEGERS = ("int8", "int16x8")  # quantizations with activations in integers


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FileOptions:
    """The options of `convert`, whose docstring describes them.

    Raises:
        TypeError: description, author or license is no text.
        ValueError: an unknown quantization, dtype, quantizer or kind of outputs, two that cannot
            be combined, or a batch size below 1.
    """

    quantization: str = "dynamic"
    calibration: np.ndarray | None = None
    input_dtype: str = "float32"
    output_dtype: str = "float32"
    outputs: str = SCORES
    batch_size: int = 1
    image_size: tuple[int, int] | None = None
    labels: bool | Sequence[str] = True
    quantizer: str = "tensorflow"
    max_gain: float | None = None
    description: str | None = None
    author: str | None = None
    license: str | None = None

    def __post_init__(self):
        check_options(self.quantization, self.input_dtype, self.output_dtype, self.quantizer)
        if self.outputs not in OUTPUTS:
            raise ValueError(unknown_name("outputs", self.outputs, OUTPUTS))
        size = self.batch_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"batch_size must be a whole number of 1 or more, got {size!r}.")
        for name in ("description", "author", "license"):
            text = getattr(self, name)
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{name} must be a text, got {text!r}.")

    @property
    def integers(self) -> bool:
        """The file's activations are integers, whose ranges must be known."""
        return self.quantization in INTEGERS
