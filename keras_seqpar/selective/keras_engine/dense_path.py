"""Runs a network on full images or crops of any size, without storing anything in between."""

from typing import Any

import keras
import numpy as np

from keras_seqpar.selective.change_maps.program import Program
from keras_seqpar.selective.keras_engine import kernels
from keras_seqpar.selective.keras_engine.backend import check_freeze, load_backend


class DensePath:
    """A program as a function of one image.

    Args:
        program: the network, with one input and one output.
        output_function: applied to the output before it becomes an array.
        freeze: make the weights constants of what is compiled (TensorFlow only).
    """

    def __init__(self, program: Program, output_function, *, freeze: bool = False):
        check_freeze(freeze)
        self.backend: Any = load_backend()
        self._program, self._output_function = program, output_function
        self._weights = [kernels.weights_of(step, freeze) for step in program.steps]
        channels = program.shapes[program.inputs[0]][2]
        self._runner = self.backend.DenseRunner(self._compute, channels)

    @property
    def traces(self) -> int:
        """How often anything was compiled."""
        return self._runner.traces

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Runs the network.

        Args:
            image: `(height, width, channels)`.

        Returns:
            The output without a batch axis.
        """
        return self._runner(np.ascontiguousarray(image[None], "float32"))[0]

    def _compute(self, image):
        """All steps; called, or traced, by the backend."""
        values = {self._program.inputs[0]: image}
        for step, weights in zip(self._program.steps, self._weights, strict=True):
            inputs = [values[value] for value in step.inputs]
            if step.kind == "bilinear":
                outputs = [self.backend.upsample_bilinear(inputs[0], step.layer.size)]
            else:
                outputs = kernels.on_full_maps(step, weights, inputs)
            values.update(zip(step.outputs, outputs, strict=True))
        return self._output_function(values[keras.tree.flatten(self._program.outputs)[0]])
