"""Transposed convolutions in streams: convolutions to blocks of outputs and depth to space."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar import selective
from keras_seqpar.selective.change_maps import transposed
from keras_seqpar.selective.change_maps.flattening import flatten
from keras_seqpar.selective.change_maps.program import compile_program
from tests import harness
from tests.selective import random_nets as rn
from tests.selective.players import play


def between_convolutions(layer, shape=(7, 6, 3)):
    """A network with the layer in its middle."""
    frame = keras.Input(shape)
    x = layers.Conv2D(4, 3, padding="same", name="before")(frame)
    x = layers.Conv2D(2, 2, padding="same", name="behind")(layer(x))
    model = keras.Model(frame, x)
    harness.randomize(model)
    return model


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "strides"), [(1, 2), (2, 2), (2, 3), (3, 1), (3, 2), ((4, 5), (2, 3)), (5, 2)]
)
def test_streams_equal_dense_runs(kernel, strides, padding):
    layer = layers.Conv2DTranspose(
        3, kernel, strides=strides, padding=padding, activation="softmax", name="up"
    )
    model = between_convolutions(layer)
    streams = play(model, rn.lone_pixels((7, 6))[:4])
    assert not streams[0].program.unsupported
    assert streams[0].change_map("up").shape == tuple(layer.output.shape[1:3])
    assert not streams[0].change_map("up").all()


def test_runs_do_not_end_inside_a_transposed_convolution():
    model = between_convolutions(layers.Conv2DTranspose(3, (1, 2), strides=2, name="up"))
    for stream in play(model, rn.lone_pixels((7, 6))[:4], prune=1e-9):
        cut = [stream.program.steps[segment.last] for segment in stream._engine.runs[:-1]]
        assert cut and "depth_to_space" not in [step.kind for step in cut]


@pytest.mark.parametrize(("kernel", "strides"), [(2, 2), (3, 3), (3, 1)])
def test_blocks_take_the_multiply_accumulates_of_the_layer(kernel, strides):
    layer = layers.Conv2DTranspose(5, kernel, strides=strides, padding="same", name="up")
    model = between_convolutions(layer)
    steps = [x for x in compile_program(flatten(model)).steps if x.name == "up"]
    assert [step.kind for step in steps] == (
        ["conv"] if strides == 1 else ["conv", "depth_to_space"]
    )
    assert steps[0].macs * 7 * 6 == 7 * 6 * kernel**2 * 4 * 5
    rates = {x.name: x.macs for x in selective.report(model).layers}
    assert rates["up"] == 7 * 6 * kernel**2 * 4 * 5


def test_normalization_and_padding_are_folded_where_the_stride_is_one():
    frame = keras.Input((7, 6, 3))
    x = layers.ZeroPadding2D(1, name="pad")(frame)
    x = layers.Conv2DTranspose(3, 2, padding="valid", use_bias=False, name="up")(x)
    model = keras.Model(frame, layers.BatchNormalization(name="norm")(x))
    harness.randomize(model)
    (stream,) = play(model, rn.lone_pixels((7, 6))[:3], ["rectangle"])
    assert [step.kind for step in stream.program.steps] == ["conv"]


def test_padding_before_a_transposed_convolution_is_read_as_a_border():
    frame = keras.Input((7, 6, 3))
    x = layers.ZeroPadding2D(((1, 0), (0, 2)), name="pad")(frame)
    model = keras.Model(frame, layers.Conv2DTranspose(3, 3, strides=2, name="up")(x))
    harness.randomize(model)
    (stream,) = play(model, rn.lone_pixels((7, 6))[:4], ["positions"])
    assert "copy" not in [step.kind for step in stream.program.steps]


def test_outputs_that_read_nothing():
    layer = layers.Conv2DTranspose(1, 1, strides=3)
    layer.build((None, 2, 2, 1))
    reads = transposed.reads(layer, (2, 2))
    assert reads.rows.tolist() == [[0], [-1], [-1], [1], [-1], [-1]]
    changed = np.array([[True, False], [False, False]])
    assert np.argwhere(reads(changed)).tolist() == [[0, 0]]


def test_dilated_transposed_convolutions_are_unsupported():
    layer = layers.Conv2DTranspose(2, 3, dilation_rate=2, name="up")
    with pytest.raises(ValueError, match="'up': it has a dilation or an output padding"):
        selective.stream(between_convolutions(layer))
