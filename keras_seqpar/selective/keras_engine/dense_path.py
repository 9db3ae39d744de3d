"""Runs a network's steps on whole images of any size, with nothing kept in between."""

import importlib
from typing import Any

import keras
import numpy as np

from keras_seqpar.selective.change_maps.program import Program
from keras_seqpar.selective.keras_engine import kernels


class Whole:
    """A program as a function of one image; batch normalization is folded.

    Args:
        program: the network, of one input and one output.
        finish: what is done to the output before it leaves the backend.
        freeze: make the weights constants of what is compiled.
    """

    def __init__(self, program: Program, finish, *, freeze: bool = False):
        if freeze and keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"freeze=True is for the TensorFlow backend, this is {keras.backend.backend()}: "
                "leave it out."
            )
        name = f"keras_seqpar.selective._{keras.backend.backend()}"
        self.backend: Any = importlib.import_module(name)
        self._program, self._finish = program, finish
        self._weights = [kernels.weights_of(step, freeze) for step in program.steps]
        channels = program.shapes[program.inputs[0]][2]
        self._caller = self.backend.Caller(self._walk, channels)

    @property
    def traces(self) -> int:
        """How often anything was compiled."""
        return self._caller.traces

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Runs it.

        Args:
            image: `(height, width, channels)`.

        Returns:
            The output without a batch axis.
        """
        return self._caller(np.ascontiguousarray(image[None], "float32"))[0]

    def _walk(self, image):
        env = {self._program.inputs[0]: image}
        for step, weights in zip(self._program.steps, self._weights, strict=True):
            inputs = [env[value] for value in step.inputs]
            if step.kind == "bilinear":
                made = [self.backend.enlarge(inputs[0], step.layer.size)]
            else:
                made = kernels.on_whole(step, weights, inputs)
            env.update(zip(step.outputs, made, strict=True))
        return self._finish(env[keras.tree.flatten(self._program.outputs)[0]])
