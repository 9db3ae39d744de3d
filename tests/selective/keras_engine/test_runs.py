"""The regions of runs contain what changed and are inside of their maps."""

import itertools

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_seqpar as sp
from keras_seqpar.selective.change_maps.flattening import flatten
from keras_seqpar.selective.change_maps.input_positions import window
from keras_seqpar.selective.change_maps.program import compile_program
from keras_seqpar.selective.change_maps.propagation import ChangeMaps
from keras_seqpar.selective.keras_engine import runs
from tests.selective.random_nets import changes


@given(st.data())
@settings(max_examples=60)
def test_regions_contain_what_changed(data):
    shape = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    maps = ChangeMaps(shape)
    wide = maps.window(maps.FRAME, window(shape, (3, 3), padding="same"))
    found = maps.evaluate(data.draw(changes(shape)))
    sizes = {maps.FRAME: shape, wide: shape}
    rates = {maps.FRAME: 0, wide: 10}
    run = runs.Run(0, 1, 0, None, sizes, True, 10 * shape[0] * shape[1], rates)

    def size_class(count, limit, kind):  # size classes, as JAX has them
        return min(-(-count // 4) * 4, limit)

    for mode in runs.MODES[1:]:
        done = {}
        for number, region in run.regions(mode, found, size_class).items():
            assert region.ys.dtype == region.xs.dtype == np.int32
            covered = np.zeros(shape, bool)
            if mode == "rectangle":
                covered[np.ix_(region.ys, region.xs)] = True
                done[number] = len(region.ys) * len(region.xs)
            elif mode == "tiles":
                covered[region.tile_indices(shape)] = True
                done[number] = len(region.ys) * np.prod(runs.tile_sides(shape))
            else:
                covered[region.ys, region.xs] = True
                done[number] = len(region.ys)
            assert region.ys.min() >= 0 and region.xs.min() >= 0
            assert not (found[number] & ~covered).any()
        assert run.macs_of(mode, found, size_class) == 10 * done[wide]
    assert run.regions("dense", found, size_class) == {}


def test_a_network_without_multiply_accumulates_is_one_run():
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.MaxPooling2D(2)(keras.layers.MaxPooling2D(2)(inputs))
    program = compile_program(flatten(keras.Model(inputs, x), None))
    for share in (runs.ONE_RUN, runs.MIN_SHARE_PRUNED):
        assert len(runs.split(program, share)) == 1


def test_runs_are_in_order_and_have_their_smallest_share():
    network = sp.build_plain(2, family="resnet18", input_shape=(64, 64, 3), width=0.25)
    program = compile_program(flatten(network, None), fold=False)
    counts = []
    for share in (runs.ONE_RUN, 0.2, runs.MIN_SHARE_PRUNED):
        pieces = runs.split(program, share)
        assert [x.first for x in pieces] == [0, *(x.last for x in pieces[:-1])]
        assert pieces[-1].last == len(program.steps) and pieces[-1].output is None
        assert all(a.output == b.input for a, b in itertools.pairwise(pieces))
        assert sum(x.macs for x in pieces) == program.macs(program.all_positions())
        least = share * sum(x.macs for x in pieces)
        assert all(x.macs >= least for x in pieces)
        counts.append(len(pieces))
    assert counts[0] == 1 < counts[1] < counts[2]
