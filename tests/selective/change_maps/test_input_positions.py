"""The input positions that layers read."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from keras_seqpar.selective.change_maps.input_positions import (
    InputPositions,
    bilinear,
    identity,
    pad,
    repeat,
    window,
)
from tests import harness


def test_padding_before_a_window_is_border():
    padded = window((8, 10), (3, 3), (2, 2))
    reads = padded.without_padding(((1, 1), (1, 1)))
    assert reads.shape == (6, 8)
    assert reads.rows.min() == -1
    changed = np.random.default_rng(0).random((6, 8)) < 0.2
    assert np.array_equal(reads(changed), padded(np.pad(changed, 1)))


def test_equal_positions_have_equal_keys():
    same = window((5, 5), (3, 3), padding="same")
    assert same.key == InputPositions(same.rows.copy(), same.cols.copy(), (5, 5)).key
    assert same.key != window((5, 5), (3, 5), padding="same").key
    assert identity((5, 5)).is_identity
    assert not repeat((5, 5), (1, 2)).is_identity
    assert repeat((5, 5), (1, 1)).is_identity


@given(st.data())
def test_spans_are_those_found_by_looking_at_every_output(data):
    size, kernel = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    step, stride = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    fits = (kernel - 1) * step < size
    padding = data.draw(st.sampled_from(("same", "valid") if fits else ("same",)))
    sizes = ((1, kernel), (1, stride), (1, step), padding)
    reads = data.draw(st.sampled_from((window((1, size), *sizes), repeat((1, size), (1, step)))))
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    hit = [any(first <= i <= last for i in columns) for columns in reads.cols]
    found = np.flatnonzero(hit)
    wanted = (found[0], found[-1], all(hit[found[0] : found[-1]])) if len(found) else None
    assert reads.span(1, first, last) == wanted


def test_bilinear_weights_are_those_of_keras():
    reads, (rows, cols) = bilinear((3, 4), (2, 3))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    mine = np.einsum("yixj,yi,xj->yx", x[reads.rows][:, :, reads.cols], rows, cols)
    layer = layers.UpSampling2D((2, 3), interpolation="bilinear")
    theirs = keras.ops.convert_to_numpy(layer(x[None, :, :, None]))[0, :, :, 0]
    assert harness.error(mine, theirs) < 1e-6


@pytest.mark.parametrize(
    ("reads", "wanted"),
    [
        (window((1, 6), (1, 3), padding="same"), [[0], [1], [2], [3], [4], [5]]),
        (window((1, 6), (1, 3)), [[0], [0], [1], [2], [3], [3]]),
        (window((1, 6), (1, 3), (1, 2), padding="same"), [[0], [0], [1], [1], [2], [2]]),
        (window((1, 6), (1, 1), (1, 2)), [[0], [0], [1], [1], [2], [2]]),
        (window((1, 6), (1, 7), (1, 2), padding="same"), [[0], [0], [1], [1], [2], [2]]),
        (window((1, 6), (1, 3), (1, 1), (1, 2), "same"), [[0], [1], [2], [3], [4], [5]]),
        (pad((1, 4), ((0, 0), (2, 1))), [[0, 1, 2], [3], [4], [5, 6]]),
        (pad((1, 5), ((0, 0), (-2, -1))), [[0], [0], [0], [1], [1]]),
        (repeat((1, 3), (1, 2)), [[0, 1], [2, 3], [4, 5]]),
        (bilinear((1, 3), (1, 2))[0], [[0, 1, 2], [3, 4], [5]]),
    ],
)
def test_nearest_outputs_of_a_change(reads, wanted):
    for i, outputs in enumerate(wanted):
        changed = np.arange(reads.shape[1])[None] == i
        assert np.flatnonzero(reads.nearest(changed)[0]).tolist() == outputs


@given(st.data())
def test_nearest_outputs_of_a_rectangle_are_a_rectangle(data):
    shape = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    kernel, strides = ((data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))) for _ in "ab")
    reads = data.draw(
        st.sampled_from(
            [
                window(shape, kernel, strides, padding="same"),
                repeat(shape, kernel),
                bilinear(shape, strides)[0],
                pad(shape, (kernel, strides)),
            ]
        )
    )
    spans = []
    for size in shape:
        first = data.draw(st.integers(0, size - 1))
        spans.append((first, data.draw(st.integers(first, size - 1))))
    (top, bottom), (left, right) = spans
    changed = np.zeros(shape, bool)
    changed[top : bottom + 1, left : right + 1] = True
    wanted = np.zeros(reads.output_shape, bool)
    found = [reads.nearest.span(i, *span) for i, span in enumerate(spans)]
    (top, bottom, _), (left, right, _) = found
    wanted[top : bottom + 1, left : right + 1] = True
    assert np.array_equal(reads.nearest(changed), wanted)
    assert all(filled for *_, filled in found)
