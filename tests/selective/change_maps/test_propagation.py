"""Change maps against brute force: one input position is changed, and the outputs compared."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_seqpar.families.layers import GlobalResponseNorm
from keras_seqpar.selective import spread
from keras_seqpar.selective.change_maps.boxes import bounding_box
from keras_seqpar.selective.change_maps.input_positions import InputPositions, window
from keras_seqpar.selective.change_maps.propagation import ChangeMaps
from tests.selective import random_nets as rn


def reached(layer, shape, channels=2):
    """For every input position, the outputs that change with it: `(positions, height, width)`."""
    rng = np.random.default_rng(0)
    count = shape[0] * shape[1]
    before = rng.normal(size=(1, *shape, channels)).astype("float32")
    after = before.repeat(count, 0)
    bumps = 10 + rng.uniform(0, 5, (count, channels))  # the largest of all, for maxima
    after[np.arange(count), np.arange(count) // shape[1], np.arange(count) % shape[1]] += bumps
    layer.build((None, *shape, channels))
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 1.5, tuple(weight.shape)).astype("float32"))
    x = np.concatenate([before, after])
    y = keras.ops.convert_to_numpy(layer(x, training=False))
    return (np.abs(y[1:] - y[:1]) > 1e-6).any(-1)


def check_exact(layer, shape, channels=2):
    """The rule gives exactly what changes, for every position and for a set of them."""
    found = reached(layer, shape, channels)
    for i, outputs in enumerate(found):
        changed = np.zeros(shape, bool)
        changed.flat[i] = True
        assert np.array_equal(spread(layer, changed), outputs), (layer.get_config(), i)
    some = np.random.default_rng(1).random(shape) < 0.2
    assert np.array_equal(spread(layer, some), found[some.ravel()].any(0))


@given(st.data())
@settings(max_examples=40)
def test_maps_of_layers_with_windows_are_exact(data):
    shape = data.draw(st.integers(3, 8)), data.draw(st.integers(3, 8))
    kind = data.draw(st.sampled_from((*rn.WINDOWS, "pad", "crop", "up", "transposed")))
    if kind in rn.WINDOWS:
        layer = rn.window(data.draw, kind, shape, 2)
    else:
        layer = rn.other(data.draw, kind, shape)
    check_exact(layer, shape)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(4, 1),
        layers.Conv2D(4, (3, 2), strides=(2, 1), padding="same", groups=2),
        layers.Conv2D(4, 3, dilation_rate=(2, 1)),
        layers.DepthwiseConv2D(3, strides=2, padding="same"),
        layers.DepthwiseConv2D(2, dilation_rate=2, padding="same"),
        layers.MaxPooling2D(3, 2, padding="same"),
        layers.AveragePooling2D(3, 2, padding="same"),
        layers.AveragePooling2D((2, 3), 1, padding="same"),
        layers.UpSampling2D(3, interpolation="bilinear"),
        layers.UpSampling2D((1, 4), interpolation="bilinear"),
        layers.BatchNormalization(),
        layers.LayerNormalization(),
        layers.Activation("softmax"),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Dense(3),
        layers.Rescaling(2.0, 1.0),
    ],
    ids=lambda layer: layer.name,
)
def test_maps_of_chosen_layers_are_exact(layer):
    check_exact(layer, (7, 6))


def test_joins_change_where_one_of_their_inputs_does():
    a, b = (np.random.default_rng(i).random((4, 5)) < 0.3 for i in (0, 1))
    for layer in (layers.Add(), layers.Multiply(), layers.Concatenate()):
        assert np.array_equal(spread(layer, a, b), a | b)


@pytest.mark.parametrize(
    "layer",
    [GlobalResponseNorm(), layers.GroupNormalization(1), layers.LayerNormalization([1, 2, 3])],
    ids=lambda layer: layer.name,
)
def test_layers_that_look_at_everything_have_no_map(layer):
    assert reached(layer, (3, 3)).all()
    with pytest.raises(ValueError, match=f"{layer.name}.*(position|axes)"):
        spread(layer, np.ones((3, 3), bool))


def test_unsupported_layers_are_named():
    with pytest.raises(ValueError, match="'turned'.*Permute"):
        spread(layers.Permute((2, 1, 3), name="turned"), np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="channels_last"):
        spread(layers.Conv2D(1, 1, data_format="channels_first"), np.ones((3, 3), bool))


@given(st.data())
@settings(max_examples=60)
def test_containment_and_boxes_hold_for_every_change(data):
    """Maps contain others where `contains` says so, and boxes contain their maps.

    Every map is what its layers make of the one before, position by position, also where it
    was worked out from rectangles alone.
    """
    maps = ChangeMaps((9, 8))
    found, rules = [maps.FRAME], [None]
    for _ in range(data.draw(st.integers(2, 6))):
        a = data.draw(st.integers(0, len(found) - 1))
        source = found[a]
        same = [i for i, m in enumerate(found) if maps.shape(m) == maps.shape(source)]
        if data.draw(st.booleans()):
            b = data.draw(st.sampled_from(same))
            found.append(maps.union([source, found[b]]))
            rules.append(lambda of, a=a, b=b: of[a] | of[b])
            continue
        kernel = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
        stride = data.draw(st.sampled_from((1, 1, 2)))
        step = data.draw(st.sampled_from((1, 1, 2)))
        reads = window(maps.shape(source), kernel, (stride, stride), (step, step), "same")
        found.append(maps.window(source, reads))
        rules.append(lambda of, a=a, reads=reads: reads(of[a]))
    for seed in range(8):
        rng = np.random.default_rng(seed)
        changed = rng.random((9, 8)) < 0.08
        if seed > 4:  # a rectangle
            top, left = rng.integers(0, 9), rng.integers(0, 8)
            changed[:] = False
            changed[top : top + seed - 4, left : left + 3] = True
        wanted = [changed]
        for rule in rules[1:]:
            wanted.append(rule(wanted))
        of = maps.evaluate(changed)
        for a, array in zip(found, wanted, strict=True):
            assert of.count(a) == array.sum()
            assert np.array_equal(of[a], array)
            inside = bounding_box(array)
            if inside is not None:
                box = of.box(a)
                assert box[0] <= inside[0] <= inside[1] <= box[1]
                assert box[2] <= inside[2] <= inside[3] <= box[3]
            for b in found:
                if maps.shape(a) == maps.shape(b) and maps.contains(a, b):
                    assert not (of[b] & ~of[a]).any()


def test_a_residual_block_has_the_map_of_its_convolution():
    maps = ChangeMaps((8, 8))
    wide = maps.window(maps.FRAME, window((8, 8), (3, 3), padding="same"))
    assert maps.union([maps.FRAME, wide]) == wide
    two = [
        maps.window(maps.FRAME, window((8, 8), k, (2, 2), padding="same")) for k in ((3, 3), (4, 4))
    ]
    assert maps.union(two) == two[1]


def test_maps_of_many_concatenations_need_few_comparisons(monkeypatch):
    """If results were not remembered, each layer of a DenseNet would double the comparisons."""
    count, is_subset, asked = 24, InputPositions.is_subset_of, []

    def counted(*pair):
        asked.append(pair)
        assert len(asked) <= count**3
        return is_subset(*pair)

    monkeypatch.setattr(InputPositions, "is_subset_of", counted)
    maps = ChangeMaps((16, 16))
    known = [maps.FRAME]
    for _ in range(count):
        known.append(maps.window(maps.union(known), window((16, 16), (3, 3), padding="same")))
        assert maps.union(known) == known[-1]
    assert asked
