"""Keras's own dense network and the stream of a Keras model, as rivals of files."""

from collections.abc import Callable

import keras
import numpy as np

from keras_seqpar.benchmarking.networks import make_network
from keras_seqpar.benchmarking.rivals import Rival
from keras_seqpar.selective.streams import stream

TOLERANCE = 1e-4  # of the range of the outputs


def keras_rivals(name: str, size: int) -> dict[str, Rival]:
    """A network in Keras, dense and as a stream.

    Args:
        name: as for `make_network`.
        size: side of the frames in pixels.

    Returns:
        `"dense Keras"` and `"stream Keras"` -> rival.
    """
    model = make_network(name, size)
    dtype = np.dtype("float32")
    selective = stream(model, engine="keras", input_shape=(size, size, 3))
    return {
        "dense Keras": Rival(compile_dense(model), dtype),
        "stream Keras": Rival(selective, dtype, "dense Keras", TOLERANCE),
    }


def compile_dense(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Keras's own dense inference for one frame, compiled where the backend compiles.

    Args:
        model: a model of one image input.

    Returns:
        A function from a frame `(height, width, channels)` to the output with a batch axis.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        graph = tf.function(lambda x: model(x, training=False))
        return lambda frame: graph(tf.constant(frame[None])).numpy()
    if backend == "torch":
        import torch

        def run(frame):
            with torch.no_grad():
                return keras.ops.convert_to_numpy(model(frame[None], training=False))

        return run
    import jax

    state = [
        [v.value for v in x] for x in (model.trainable_variables, model.non_trainable_variables)
    ]
    jitted = jax.jit(lambda t, n, x: model.stateless_call(t, n, x, training=False)[0])
    return lambda frame: np.asarray(jitted(*state, frame[None]))
