"""What the tests of quantization-aware training share."""

import keras
import numpy as np

CATEGORIES = ("3", "5", "0")
SIZE = 32


def fit(twin, digits, *, epochs: int, rate: float, callbacks=()) -> None:
    """Trains a tf_keras model that gives logits."""
    import tf_keras

    keras.utils.set_random_seed(0)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    twin.compile(tf_keras.optimizers.Adam(rate), loss)
    twin.fit(*digits.train, batch_size=32, epochs=epochs, verbose=0, callbacks=list(callbacks))


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Top-1."""
    return float(np.mean(np.asarray(scores).argmax(-1) == labels))
