"""Compiles functions of arrays by the backend's own means."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops


def compiled(function: Callable, variables: Sequence, inputs: Sequence[Sequence]) -> Callable:
    """A function of lists of arrays that gives a list of arrays.

    TensorFlow compiles it now, once for all sizes that are open; JAX compiles it when it is called,
    for every size; PyTorch does not compile.

    Args:
        function: lists of tensors -> list of tensors.
        variables: that it reads.
        inputs: of each list, symbolic tensors of the shapes and types that it gets.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        specs = [[tf.TensorSpec(x.shape, x.dtype) for x in each] for each in inputs]
        call = tf.function(function, autograph=False, input_signature=specs)
        call.get_concrete_function()
    elif backend == "jax":
        import jax

        @jax.jit
        def stateless(values, *args):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return function(*args)

        def call(*args):
            return stateless([variable.value for variable in variables], *args)

    else:
        import torch

        call = torch.no_grad()(function)
    return lambda *args: [np.asarray(ops.convert_to_numpy(x)) for x in call(*args)]


def rounded(count: int, most: int) -> int:
    """The number of rows or columns to compute for `count`: JAX compiles a run for every size."""
    if keras.backend.backend() != "jax":
        return count
    return min(1 << (count - 1).bit_length(), most)
