"""How long a network takes for one image in Keras on this machine."""

import statistics
import time

import keras
import numpy as np


def measure_latency(model: keras.Model, *, runs: int = 20) -> float:
    """Measures how long a network takes for one image in Keras on this machine.

    Three runs before the measured ones do not count.

    Args:
        model: any Keras model of inputs whose sizes are fixed.
        runs: number of runs to measure.

    Returns:
        The median of the runs, in milliseconds.

    Example:

    >>> milliseconds = measure_latency(pets, runs=3)
    """
    inputs = [np.zeros((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    batch = inputs if len(inputs) > 1 else inputs[0]
    times = []
    for _ in range(runs + 3):
        start = time.perf_counter()
        model.predict_on_batch(batch)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[3:])
