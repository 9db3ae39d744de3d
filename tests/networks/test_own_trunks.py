"""Networks on trunks that this package did not build."""

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile, selective, weights
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.features import split_branch
from tests import harness

MOBILE = {"family": "efficientnet_lite0", "width": 0.25}
TREE = {"pets": ["cat", "dog"], "car": None}


def keras_applications():
    """The beginning of MobileNet V3: with operations, squeeze-and-excitation, and shortcuts."""
    net = keras.applications.MobileNetV3Small((48, 48, 3), weights=None, include_top=False)
    return keras.Model(net.input, net.get_layer("expanded_conv_2_add").output, name=net.name)


def keras_cv():
    models = pytest.importorskip("keras_cv", exc_type=ImportError).models
    return models.ResNetBackbone(
        stackwise_filters=[8, 16],
        stackwise_blocks=[1, 1],
        stackwise_strides=[1, 2],
        include_rescaling=True,
        input_shape=(32, 32, 3),
    )


def keras_hub():
    """KerasHub's MobileNet V3 with two blocks; each of them is one layer that holds others."""
    models = pytest.importorskip("keras_hub", exc_type=ImportError).models
    return models.MobileNetBackbone(
        stackwise_expansion=[[24]],
        stackwise_num_blocks=[1],
        stackwise_num_filters=[[16]],
        stackwise_kernel_size=[[5]],
        stackwise_num_strides=[[2]],
        stackwise_se_ratio=[[0.25]],
        stackwise_activation=[["relu"]],
        stackwise_padding=[[2]],
        output_num_filters=32,
        input_activation="relu",
        output_activation="relu",
        input_num_filters=8,
        depthwise_filters=8,
        depthwise_stride=1,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=32,
        image_shape=(32, 32, 3),
    )


def swish():
    image = keras.Input((32, 32, 3))
    return keras.Model(image, keras.layers.Conv2D(8, 3, 2, activation="swish")(image))


def own():
    image = keras.Input((24, 24, 3))
    x = keras.layers.Conv2D(8, 3, 2, padding="same", name="first", activation="relu")(image)
    x = keras.layers.SeparableConv2D(12, 3, padding="same", name="second")(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(5, name="head")(pooled), name="mine")


@pytest.mark.parametrize("make", [keras_applications, keras_cv, keras_hub])
def test_networks_on_trunks_of_others_hold_all_contracts(make, tmp_path):
    trunk = make()
    model = sp.build_nhl(TREE, trunk=trunk, include_preprocessing=True, **MOBILE)
    assert model.name == "nhl_" + trunk.name and model.input_shape == trunk.input_shape
    harness.randomize(model)
    harness.check_network(model, tmp_path, renamed=make is keras_hub, compiled=True)
    x = harness.images(model)
    want = harness.logits(model, x)
    cut = sp.cutout(model, ["car", "cat"], copy=True)
    assert harness.error(harness.logits(cut, x), want[:, [2, 0]]) < 1e-6
    assert harness.error(harness.logits(sp.cutout(harness.reload(cut, tmp_path), ["cat"]), x),
                         want[:, :1]) < 1e-6  # fmt: skip
    assert 0 < sp.cost(cut).macs < sp.cost(model).macs
    louder = harness.logits(sp.attend(model, {"cat": 2.0}), x)
    assert np.abs(louder - want)[:, 0].max() > 1e-4
    assert harness.error(louder[:, 1:], want[:, 1:]) < 1e-6
    assert find_parts(model).build.trunk == trunk.name
    assert len(split_branch(model, "cat")) == 2


@pytest.mark.only_backend("tensorflow")  # conversion needs it
@pytest.mark.parametrize("make", [keras_applications, keras_cv, keras_hub, swish])
def test_networks_on_trunks_of_others_become_files_packs_and_streams(make, tmp_path):
    model = sp.build_phl(["a", "b"], trunk=make(), plan="small", include_preprocessing=True,
                         **MOBILE)  # fmt: skip
    harness.randomize(model)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), "uint8")
    want = harness.predict(model, pixels.astype("float32"))
    made = mobile.convert(model, tmp_path / "net.tflite", quantization="float32")
    assert harness.error(mobile.Runner(made.path)(pixels), want) < 1e-5
    mobile.pack(model, tmp_path / "net.pack", quantization="float32")
    scores = mobile.PackRunner(tmp_path / "net.pack")(pixels, ["b", "a"])
    assert harness.error(scores, want[:, ::-1]) < 1e-5
    camera = selective.stream(made.path)
    camera(pixels[0])
    pixels[0, 3:6, 4:9] = 0
    want = harness.predict(model, pixels[:1].astype("float32"))
    assert harness.error(camera(pixels[0]).output, want) < 1e-5


@pytest.mark.only_backend("tensorflow")  # what is built is the same everywhere
@pytest.mark.parametrize(
    ("family", "layer"),
    [
        ("resnet18", "a_stage1_block1_conv2"),
        ("resnet50", "a_stage1_block1_conv3"),
        ("convnext_v2_atto", "a_stage1_block1_grn"),
        ("efficientnet_lite0", "a_stage1_block1_depthwise"),
    ],
)
def test_the_family_says_what_branches_are_made_of(family, layer):
    options = {"trunk": own(), "trunk_end": "second", "family": family, "width": 0.25}
    options["plan"] = harness.plan(1, family)
    model = sp.build_phl(["a", "b"], **options)
    assert layer in {x.name for x in harness.leaves(model)}
    control = sp.build_one_branch(["a", "b"], **options)
    assert control.get_layer("trunk").output_shape == (None, 12, 12, 12)
    assert layer.replace("a_", "branch_", 1) in {x.name for x in harness.leaves(control)}
    assert find_parts(control, allow_plain=True).build.trunk == "mine"


def test_another_build_of_the_same_trunk_takes_its_weights():
    """Keras counts the names of its layers up: re_lu, re_lu_1."""
    first, second = (
        sp.build_phl(["a", "b"], trunk=keras_applications(), plan="small", **MOBILE) for _ in "12"
    )
    names = [{x.name for x in net.get_layer("trunk").layers} for net in (first, second)]
    assert names[0] != names[1]
    sp.copy_weights(first, second)
    x = harness.images(first)
    assert harness.error(harness.logits(second, x), harness.logits(first, x)) < 1e-6


def test_a_trunk_ends_where_it_is_told_to_and_shares_its_weights():
    model = own()
    net = sp.build_phl(["a", "b"], trunk=model, trunk_end="first", plan="small", **MOBILE)
    assert net.get_layer("trunk").output_shape == (None, 12, 12, 8)
    assert net.get_layer("trunk").get_layer("first") is model.get_layer("first")
    assert net.name == "phl_mine" and net.input_shape == (None, 24, 24, 3)


@pytest.mark.only_backend("tensorflow")
def test_streams_run_networks_on_trunks_of_others():
    model = sp.build_phl(["a", "b"], trunk=own(), trunk_end="second", plan="small", **MOBILE)
    harness.randomize(model)
    camera = selective.stream(model, engine="keras")
    frame = np.random.default_rng(0).normal(size=(24, 24, 3)).astype("float32")
    camera(frame)
    frame[3:6, 4:9] += 1
    assert harness.error(camera(frame).output, harness.predict(model, frame[None])) < 1e-5


def test_trunks_that_cannot_be_say_why():
    build = sp.build_phl
    with pytest.raises(TypeError, match=r"trunk must be a keras\.Model, got 'resnet50'"):
        build(["a"], trunk="resnet50")
    with pytest.raises(TypeError, match=r"trunk must be a keras\.Model, got None"):
        build(["a"], trunk_end="first")
    with pytest.raises(ValueError, match=r"ends in \(None, 5\).*last layer with a map is 'second'"):
        build(["a"], trunk=own())
    with pytest.raises(ValueError, match="Unknown layer 'frist'.*first"):
        build(["a"], trunk=own(), trunk_end="frist")
    with pytest.raises(ValueError, match=r"input_shape is \(32, 32, 3\), but the trunk takes"):
        build(["a"], trunk=own(), trunk_end="first", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="weights fill a trunk of the family"):
        build(["a"], trunk=own(), trunk_end="first", weights="imagenet")
    vector = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)], name="dense")
    image = keras.Input((3, 32, 32))
    turned = keras.layers.Conv2D(8, 3, data_format="channels_first", name="turned")(image)
    with pytest.raises(ValueError, match="layer 'turned' of the trunk .* has channels first"):
        sp.build_phl(["a", "b"], trunk=keras.Model(image, turned), plan="small", **MOBILE)
    with pytest.raises(ValueError, match="takes one image, .* but 'dense' takes"):
        build(["a"], trunk=vector)
    net = build(["a"], trunk=own(), trunk_end="first", plan="small", **MOBILE)
    with pytest.raises(ValueError, match="is of the model 'mine', not of a family"):
        sp.plain_twin(net)
    with pytest.raises(ValueError, match="weights"):
        weights.load(net, "imagenet")
