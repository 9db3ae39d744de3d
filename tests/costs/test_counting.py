import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_seqpar as sp
from keras_seqpar.costs.counting import NodeCost
from tests import harness

pytestmark = pytest.mark.only_backend("torch")  # the same everywhere; torch builds quickest

NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}


def by_hand(model: keras.Model) -> tuple[int, int, int, int]:
    """Parameters, MACs, MACs of normalizations and bytes, from the layers' own outputs."""
    params = macs = norm_macs = size = 0
    for layer in harness.leaves(model):
        shapes = {w.name: tuple(w.shape) for w in layer.weights}
        size += 4 * sum(int(np.prod(shape)) for shape in shapes.values())
        params += sum(
            int(np.prod(shape)) for name, shape in shapes.items() if not name.startswith("moving_")
        )
        positions = int(np.prod(layer.output.shape[1:-1])) if "kernel" in str(shapes) else 0
        for name, shape in shapes.items():
            if name.endswith("kernel"):  # every kernel value works once per output position
                macs += positions * int(np.prod(shape))
        if "norm" in layer.name:
            norm_macs += int(np.prod(layer.output.shape[1:]))
    return params, macs, norm_macs, size


@settings(max_examples=10)
@given(st.data())
def test_every_node_costs_what_its_layers_do(data):
    tree = data.draw(harness.trees())
    family = data.draw(st.sampled_from(["resnet18", "resnet50", "convnext_v2_atto"]))
    model = harness.network(tree, family=family)
    counted = sp.cost(model)
    assert [node.id for node in counted.nodes] == ["trunk", *(node.id for node in tree.nodes)]
    kinds = ["category" if node.is_category else "superclass" for node in tree.nodes]
    assert [node.kind for node in counted.nodes] == ["trunk", *kinds]
    parts = [model.get_layer(n.id if n.id == "trunk" and n.kind == "trunk" else f"branch_{n.id}")
             for n in counted.nodes]  # fmt: skip
    for node, part in zip(counted.nodes, parts, strict=True):
        assert (node.params, node.macs, node.norm_macs, node.bytes) == by_hand(part)
    totals = [sum(column) for column in zip(*map(by_hand, parts), strict=True)]
    assert [counted.params, counted.macs, counted.norm_macs, counted.bytes] == totals
    assert counted.params == sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert counted.params == sum(node.params for node in counted.nodes)
    assert counted.bytes == 4 * sum(int(np.prod(w.shape)) for w in model.weights)

    cut = sp.cost(sp.cutout(model, data.draw(harness.choices(tree))))
    assert set(cut.nodes) <= set(counted.nodes)


def test_one_layer_of_each_kind_by_hand():
    from keras_seqpar.costs.counting import _macs

    def macs(layer, shape):
        x = keras.Input(shape[1:], batch_size=shape[0])
        return _macs(layer, x, layer(x))

    kl, last = keras.layers, {"data_format": "channels_last"}
    x = (1, 8, 8, 6)
    assert macs(kl.Conv2D(10, 3, padding="same", **last), x) == 64 * 10 * 9 * 6
    assert macs(kl.Conv2D(10, 3, strides=2, padding="same", **last), x) == 16 * 10 * 9 * 6
    assert macs(kl.Conv2D(10, (3, 1), **last), x) == 6 * 8 * 10 * 3 * 6
    assert macs(kl.Conv2D(12, 3, groups=3, padding="same", **last), x) == 64 * 12 * 9 * 2
    assert macs(kl.DepthwiseConv2D(7, padding="same", **last), x) == 64 * 6 * 49
    assert macs(kl.Conv2DTranspose(4, 2, strides=2, **last), x) == 64 * 4 * 6 * 4
    assert macs(kl.Dense(5), (1, 7)) == 35
    assert macs(kl.Dense(5), x) == 64 * 6 * 5
    assert macs(kl.SeparableConv2D(10, 3, strides=2, padding="same", **last), x) == 16 * (
        6 * 9 + 6 * 10
    )
    assert macs(kl.ReLU(), x) == 0
    with pytest.raises(ValueError, match=r"'odd', a EinsumDense, has a kernel of .* \(6, 5\)"):
        macs(kl.EinsumDense("bhwc,cd->bhwd", (None, 8, 5), name="odd"), x)


class Block(keras.layers.Layer):
    """A layer that holds others and knows its shape without calling them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(4, 3, padding="same", data_format="channels_last")
        self.norm = keras.layers.BatchNormalization()

    def build(self, shape):
        self.conv.build(shape)
        self.norm.build((*shape[:-1], 4))

    def call(self, x):
        return self.norm(self.conv(x))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)


def test_layers_inside_of_layers_are_counted():
    image = keras.Input((16, 16, 3))
    own = keras.Model(image, Block(name="block")(image), name="own")
    model = sp.build_phl(["a"], trunk=own, family="resnet18", plan=harness.plan())
    trunk = sp.cost(model).nodes[0]
    assert (trunk.macs, trunk.norm_macs) == (256 * 4 * 27, 256 * 4)
    assert trunk.params == 4 * 27 + 4 + 8
    x = harness.images(model)  # and the layers work as before
    assert harness.predict(model, x).shape == (2, 1)


def test_a_small_network_by_hand():
    model = sp.build_phl(
        ["a", "b"],
        family="resnet18",
        plan=harness.plan(),
        width=0.125,
        stem="small",
        input_shape=(16, 16, 3),
    )
    conv = {"stem": 27 * 8, "first": 2 * 9 * 64, "second": 9 * 128 + 9 * 256 + 128}
    norms = {"stem": 8, "first": 16, "second": 3 * 16}
    trunk, *branches = sp.cost(model).nodes
    assert trunk.params == sum(conv.values()) + 2 * sum(norms.values())
    assert trunk.macs == 256 * (conv["stem"] + conv["first"]) + 64 * conv["second"]
    assert trunk.norm_macs == 256 * (8 + 16) + 64 * 48
    assert trunk.bytes == 4 * (sum(conv.values()) + 4 * sum(norms.values()))
    # a branch: one block of 8 channels and stride 2 on 16 channels at 8 x 8, then one logit
    kernels = 9 * 16 * 8 + 9 * 8 * 8 + 16 * 8
    for id_, branch in zip("ab", branches, strict=True):
        assert branch == NodeCost(
            id_,
            id_,
            "category",
            params=kernels + 2 * 24 + 9,
            macs=16 * kernels + 8,
            norm_macs=16 * 24,
            bytes=4 * (kernels + 4 * 24 + 9),
        )


def test_gains_and_activations_cost_nothing():
    model = harness.network(NESTED)
    want = sp.cost(model).nodes
    assert sp.cost(sp.attend(model, {"cat": 2})).nodes == want
    assert sp.cost(sp.attention_input(model)).nodes == want
    assert sp.cost(sp.with_activation(model, None)).nodes == want


def test_a_frozen_part_still_counts():
    model = harness.build(["a", "b"])
    want = sp.cost(model)
    model.get_layer("trunk").trainable = False
    assert sp.cost(model) == want


def test_macs_follow_the_size_of_the_image_and_parameters_do_not():
    model = harness.network(NESTED)
    small, large = sp.cost(model), sp.cost(model, input_shape=(32, 32, 3))
    fixed = sp.cost(harness.build(NESTED, size=32))
    assert large.nodes == fixed.nodes
    assert large.input_shape == (32, 32, 3) and small.input_shape == (16, 16, 3)
    assert large.params == small.params and large.bytes == small.bytes
    assert 3.9 < large.macs / small.macs < 4
    assert sp.cost(harness.build(NESTED, input_shape=(None, None, 3)), (16, 16, 3)) == small


def test_a_plain_network_has_trunk_and_head():
    plain = sp.build_plain(7, family="resnet18", width=0.125, input_shape=(32, 32, 3))
    counted = sp.cost(plain)
    assert [(node.id, node.label, node.kind) for node in counted.nodes] == [
        ("trunk", "trunk", "trunk"),
        ("head", "head", "head"),
    ]
    assert counted.nodes[1].params == 64 * 7 + 7
    assert counted.nodes[1].macs == 64 * 7


def test_the_table_is_readable():
    model = harness.network({"pets": ["cat"], "a rather long label": None})
    counted = sp.cost(model)
    lines = str(counted).split("\n")
    assert lines[0] == "nhl_resnet18 at 16x16x3"
    assert lines[1].split() == ["node", "kind", "parameters", "MACs", "float32", "share"]
    assert lines[2] == lines[7] == "-" * len(lines[1])
    assert lines[-1] == "MACs: convolutions and dense layers, for one image; share: of the MACs."
    rows = [*lines[3:7], lines[8]]
    assert {len(row) for row in (lines[1], *rows)} == {len(lines[1])}
    for row, node in zip(rows, counted.nodes, strict=False):
        assert row.startswith(f"{node.label}  ")
        assert f" {node.kind} " in row
        assert f" {node.params:,} " in row
        assert row.endswith(f" {node.macs / counted.macs:.1%}")
    assert rows[-1].startswith("total ")
    assert f" {counted.params:,} " in rows[-1] and rows[-1].endswith("100.0%")


def test_short_numbers():
    from keras_seqpar.costs.counting import short_number

    cases = {0: "0", 999: "999", 1000: "1.00 k", 1_234_567: "1.23 M", 3.99e9: "3.99 G"}
    assert {n: short_number(n) for n in cases} == cases
    assert (short_number(12, "B"), short_number(57_059_604, "B")) == ("12 B", "57.06 MB")


# Errors.


def test_an_unknown_size_is_refused():
    model = harness.build(["a"], input_shape=(None, None, 3))
    text = "cost needs the size of an image, got (None, None, 3). Give input_shape=(height, width"
    with pytest.raises(ValueError, match=re.escape(text)):
        sp.cost(model)


@pytest.mark.parametrize(
    "shape", [(32, 32), (32, 32, 0), (32, -1, 3), (32.0, 32, 3), (1, 32, 32, 3), "abc"]
)
def test_a_bad_size_is_refused(shape):
    text = f"cost needs the size of an image, got {tuple(shape)}"
    with pytest.raises(ValueError, match=re.escape(text)):
        sp.cost(harness.network(), input_shape=shape)


def test_other_channels_are_refused():
    text = "takes images of 3 channels, got (16, 16, 1)"
    with pytest.raises(ValueError, match=re.escape(text)):
        sp.cost(harness.network(), input_shape=(16, 16, 1))
