"""Small networks that the mobile tests convert."""

import keras

from tests import harness

SIZE = 16  # of their images; the trained one takes 32


def network(count=2, **options):
    """A small network with random weights that takes pixels."""
    return harness.network(harness.LABELS[:count], include_preprocessing=True, **options)


def external(outputs=4, size=SIZE) -> keras.Model:
    """A functional model that is not of this package."""
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(outputs, activation="softmax")(x), name="other")
