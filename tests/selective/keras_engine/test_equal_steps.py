"""Which steps are compiled once for all of them."""

import keras
from keras import layers

from keras_seqpar.selective.change_maps.flattening import flatten
from keras_seqpar.selective.change_maps.program import compile_program
from keras_seqpar.selective.keras_engine.engine import Engine


def test_steps_that_compute_the_same_are_equal():
    """JAX compiles single steps, one of each group of equal ones."""
    frame = keras.Input((12, 12, 4))

    def conv(x, name, **settings):
        return layers.Conv2D(4, 3, **{"padding": "same"} | settings, name=name)(x)

    x = conv(frame, "one")
    x = layers.ReLU(name="relu_one")(x)
    x = conv(x, "two")
    x = layers.ReLU(name="relu_two")(x)
    x = layers.ReLU(6, name="relu_6")(conv(x, "tanh", activation="tanh"))
    x = layers.ReLU(name="relu_three")(conv(x, "three"))
    x = conv(layers.LayerNormalization(name="norm_one")(x), "dilated", dilation_rate=2)
    x = keras.ops.clip(layers.LayerNormalization(name="norm_two")(x), 0.0, 1.0)
    x = conv(keras.ops.clip(x, 0.0, 2.0), "no_bias", use_bias=False)
    x = layers.Add(name="add")([x, keras.ops.clip(x, 0.0, 1.0)])
    engine = Engine(compile_program(flatten(keras.Model(frame, conv(x, "last")), None)))
    steps = engine.program.steps
    groups: dict[int, list[str]] = {}
    for i, first in enumerate(engine.equal_steps):
        groups.setdefault(first, []).append(steps[i].name.partition("clip")[0] or "clip")
    shared = [names for names in groups.values() if len(names) > 1]
    assert shared == [["one", "two", "three"], ["relu_one", "relu_two"], ["clip", "clip"]]
