"""What the tests of quantization-aware training share."""

import keras
import numpy as np

from tests.references.digits_nets import NETS, SIZE

__all__ = ["CATEGORIES", "SIZE", "clear", "fit"]

CATEGORIES = NETS["qat"][0]


def fit(twin, digits, *, epochs: int, rate: float, callbacks=()) -> None:
    """Trains a tf_keras model that gives logits."""
    import tf_keras

    keras.utils.set_random_seed(0)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    twin.compile(tf_keras.optimizers.Adam(rate), loss)
    twin.fit(*digits.train, batch_size=32, epochs=epochs, verbose=0, callbacks=list(callbacks))


def clear(scores: np.ndarray) -> np.ndarray:
    """Which images are decided on by more than rounding to int8 changes scores by, 0.1 each."""
    best = np.sort(scores, -1)
    return best[:, -1] - best[:, -2] > 0.2
