"""Filling networks from timm and keras.applications, and training on frozen trunks."""

import functools
import json
import pickle
import sys
import types
from unittest import mock

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import weights
from keras_seqpar.families.base import Initializers, Stage
from keras_seqpar.networks.plans import Plan
from tests import harness
from tests.references import timm_nets

IN_STAGE_3 = Plan((None, None, 1), ((Stage(64, 1, 2, hidden=32),),))
LABELS = [str(i) for i in range(timm_nets.CATEGORIES)]
WIDTH = {"resnet18": 0.125, "resnet50": 0.125, "resnet101": 0.125, "convnextv2_atto": 0.2}


@pytest.fixture(autouse=True)
def _zeros(monkeypatch):
    """No test needs initial values, and computing them takes long on JAX."""
    for kind in ("he", "truncated"):
        monkeypatch.setattr(Initializers, kind, lambda self, name: "zeros")


@functools.cache
def _state(name: str) -> dict:
    with np.load(timm_nets.FILE, allow_pickle=False) as file:
        shapes = json.loads(str(file["about"]))["shapes"][name]
    shapes = {k: [round(n * WIDTH[name]) if n >= 40 else n for n in v] for k, v in shapes.items()}
    return timm_nets.state_dict(shapes)


def state(name: str) -> dict:
    """A state dict with the names of a timm net, and fewer channels."""
    return dict(_state(name))


def build(name: str = "resnet18", *, plain: bool = False, **options) -> keras.Model:
    """The network for `state`, with late split or as plain network."""
    options = {"input_shape": (64, 64, 3), "width": WIDTH[name], "seed": 3, **options}
    family = options.pop("family", timm_nets.NETS[name])
    if plain:
        return sp.build_plain(options.pop("categories", LABELS), family=family, **options)
    return sp.build_phl(["a", "b"], family=family, **options)


@functools.cache
def fixed(name: str = "resnet18", **options) -> keras.Model:
    """A network for what is refused: nobody changes it."""
    return build(name, **options)


def fails(error, match, model, source, fill=weights.from_timm, **options) -> str:
    """Checks that filling fails and leaves all weights as they were; returns the message."""
    before = harness.values(model)
    with pytest.raises(error, match=match) as caught:
        fill(model, source, **options)
    assert harness.same_values(harness.values(model), before)
    return str(caught.value)


# What is filled.


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "convnextv2_atto"])
def test_a_trunk_takes_its_stages_and_nothing_else(name):
    plain, model = build(name, plain=True), build(name)
    all_ = weights.from_timm(plain, state(name))
    assert all_.names == tuple(weights.named_weights(plain))
    assert all_.kept == all_.ignored == ()
    before = {k: harness.values(model.get_layer(f"branch_{k}")) for k in "ab"}
    report = weights.from_timm(model, state(name))

    trunk, whole = model.get_layer("trunk"), plain.get_layer("trunk")
    assert report.names == tuple(weights.named_weights(trunk))
    assert set(report.kept) == set(weights.named_weights(model)) - set(report.names)
    used = {k for k in state(name) if not k.endswith("num_batches_tracked")}
    ends = ("layer4", "fc", "stages.3", "head")
    assert set(report.ignored) == {k for k in used if k.startswith(ends)}
    assert len(report.names) + len(report.ignored) == len(used)

    x = harness.images(model)
    tap = keras.Model(whole.input, whole.get_layer(trunk.layers[-1].name).output)
    assert np.array_equal(harness.predict(trunk, x), harness.predict(tap, x))
    for k, values in before.items():
        assert harness.same_values(harness.values(model.get_layer(f"branch_{k}")), values)


def test_the_report_reads_like_a_sentence():
    report = weights.from_timm(build(), state("resnet18"))
    assert str(report) == (
        f"Filled {len(report.names)} weights from the state dict.\n"
        "  Left as they are: a_stage4_block1_conv1/kernel, a_stage4_block1_conv1_norm/gamma, "
        f"a_stage4_block1_conv1_norm/beta and {len(report.kept) - 3} more.\n"
        "  Not needed from the source: layer4.0.conv1.weight, layer4.0.bn1.weight, "
        f"layer4.0.bn1.bias and {len(report.ignored) - 3} more."
    )


def test_a_trunk_alone_can_be_filled():
    model, trunk = build(), build().get_layer("trunk")
    weights.from_timm(model, state("resnet18"))
    report = weights.from_timm(trunk, state("resnet18"))
    assert report.kept == ()
    expected = harness.values(model.get_layer("trunk"))
    assert harness.same_values(harness.values(trunk), expected)


def test_the_control_with_one_branch_keeps_branch_and_classifier():
    options = {"input_shape": (64, 64, 3), "width": WIDTH["resnet18"]}
    model = sp.build_one_branch(["a", "b"], family="resnet18", **options)
    report = weights.from_timm(model, state("resnet18"))
    assert report.names == tuple(weights.named_weights(model.get_layer("trunk")))
    assert "logits/kernel" in report.kept and "fc.weight" in report.ignored


def test_a_plain_network_of_other_categories_keeps_its_classifier_on_request():
    model = build(plain=True, categories=["a", "b", "c"])
    text = fails(ValueError, "do not fit 'plain_resnet18'", model, state("resnet18"))
    assert "logits/kernel: (64, 10) given, (64, 3) wanted" in text
    report = weights.from_timm(model, state("resnet18"), classifier=False)
    assert report.kept == ("logits/kernel", "logits/bias")
    assert report.ignored == ("fc.weight", "fc.bias")


def test_a_trunk_may_end_inside_a_stage():
    model = build("resnet50", plan=IN_STAGE_3)
    report = weights.from_timm(model, state("resnet50"))
    assert "layer3.1.conv1.weight" in report.ignored
    assert "layer3.0.conv1.weight" not in report.ignored
    assert report.names == tuple(weights.named_weights(model.get_layer("trunk")))


# What is refused.


def test_a_deeper_net_is_refused():
    text = fails(ValueError, "do not fit", fixed("resnet50"), state("resnet101"))
    assert "missing" not in text and "another shape" not in text
    count = sum(k.startswith("layer3.") for k in state("resnet101")) - sum(
        k.startswith("layer3.") for k in state("resnet50")
    )
    assert f"{count * 5 // 6} without a place in the target:\n    layer3.6.conv1.weight" in text


def test_stages_in_front_of_the_last_must_be_whole():
    plan = Plan((1, None, None), ((Stage(64, 1, 2, hidden=32),),))
    text = fails(ValueError, "do not fit", fixed("resnet50", plan=plan), state("resnet50"))
    assert "without a place in the target:\n    layer1.1.conv1.weight" in text


def test_another_kind_of_block_is_refused_with_a_readable_difference():
    lines = fails(ValueError, "do not fit", fixed("resnet50"), state("resnet18")).split("\n")
    assert lines[0] == "The weights of the state dict do not fit 'phl_resnet50'."
    text = "\n".join(lines)
    assert " missing in the source:\n    stage1_block1_conv3/kernel\n" in text
    assert " of another shape:\n    stage1_block1_conv1/kernel: (3, 3, 8, 8) given" in text
    assert "    ... and " in text


@pytest.mark.parametrize(
    ("name", "other"), [("resnet18", "convnextv2_atto"), ("convnextv2_atto", "resnet18")]
)
def test_another_family_is_refused(name, other):
    text = fails(ValueError, "do not fit", fixed(name), state(other))
    assert "missing in the source:\n    stem_conv/kernel" in text
    assert "without a place in the target:\n" in text


def test_names_that_nobody_knows_are_refused():
    extra = {**state("resnet18"), "layer1.0.se.fc.weight": np.zeros((8, 8), "float32")}
    text = fails(ValueError, "1 without a place in the target", fixed(), extra)
    assert "layer1.0.se.fc.weight" in text
    fails(ValueError, "missing in the source", fixed(), {})


def test_a_stem_for_small_images_does_not_fit():
    text = fails(ValueError, "do not fit", fixed(stem="small"), state("resnet18"))
    assert "stem_conv/kernel: (7, 7, 3, 8) given, (3, 3, 3, 8) wanted" in text


def test_strides_in_another_place_are_refused():
    text = fails(ValueError, "strides in 1x1", fixed("resnet50", family="resnet50_v1"), {})
    assert "Build the family without _v1" in text


@pytest.mark.parametrize("source", [None, 3, ["resnet18"]])
def test_other_sources_are_refused(source):
    fails(TypeError, "must be a state dict, its path, or the name", fixed(), source)


def test_state_dicts_of_other_things_are_refused():
    fails(
        TypeError, r"maps names to arrays, got \[1\] for 'fc.weight'", fixed(), {"fc.weight": [1]}
    )
    fails(TypeError, "keys that are no names", fixed(), {1: np.zeros(3)})


def test_other_models_are_refused():
    for fill in (weights.from_timm, weights.from_keras_applications):
        with pytest.raises(TypeError, match=r"Expected a keras\.Model, got 'x'"):
            fill("x", {})
        inputs = keras.Input((2,))
        with pytest.raises(ValueError, match="no network of this package: it has no sub-model"):
            fill(keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other"), {})


# Where timm's weights come from.


def same_as(source) -> None:
    """Filling from `source` gives the values of `state("resnet18")`."""
    want, model = build(plain=True), build(plain=True)
    weights.from_timm(want, state("resnet18"))
    weights.from_timm(model, source)
    assert harness.same_values(harness.values(model), harness.values(want))


def tensors(dtype="float32") -> dict:
    torch = pytest.importorskip("torch")
    return {k: torch.tensor(v).to(getattr(torch, dtype)) for k, v in state("resnet18").items()}


def test_torch_tensors_and_modules():
    same_as(tensors())
    same_as(types.SimpleNamespace(state_dict=tensors))
    same_as({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors().items()}})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_float32(dtype):
    model = build(plain=True)
    weights.from_timm(model, tensors(dtype))
    kernel = weights.named_weights(model)["logits/kernel"]
    want = tensors(dtype)["fc.weight"].float().numpy().T
    assert np.array_equal(harness.array(kernel), want)
    assert keras.backend.standardize_dtype(kernel.dtype) == "float32"


def test_half_precision_in_safetensors(tmp_path):
    path = tmp_path / "net.safetensors"
    pytest.importorskip("safetensors.torch").save_file(tensors("bfloat16"), path)
    model = build(plain=True)
    weights.from_timm(model, path)
    kernel = harness.array(weights.named_weights(model)["logits/kernel"])
    assert np.array_equal(kernel, tensors("bfloat16")["fc.weight"].float().numpy().T)


def write(path, values) -> None:
    if path.suffix == ".npz":
        np.savez(path, **values)
    elif path.suffix == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file(
            {k: np.ascontiguousarray(v) for k, v in values.items()}, path
        )
    else:
        pytest.importorskip("torch").save(tensors(), path)


@pytest.mark.parametrize("suffix", [".npz", ".pth", ".pt", ".bin", ".safetensors"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    write(path, state("resnet18"))
    same_as(path)
    same_as(str(path))
    assert weights.load(build(), f"timm:{path}").source == str(path)
    path.write_bytes(path.read_bytes()[:5000])
    fails(ValueError, "is no readable state dict", fixed(), path)
    path.write_bytes(b"")
    fails(ValueError, "is no readable state dict", fixed(), path)
    path.unlink()
    fails(ValueError, f"There is no file .*net{suffix}", fixed(), path)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_in_a_file_is_executed(tmp_path):
    torch = pytest.importorskip("torch")
    trace, path = tmp_path / "trace", tmp_path / "net.pth"
    for save in (torch.save, lambda x, p: p.write_bytes(pickle.dumps(x, 2))):
        save({"fc.weight": Hostile(trace)}, path)
        fails(ValueError, "is no readable state dict", fixed(), path)
        assert not trace.exists()
    np.savez(tmp_path / "net.npz", x=np.array([Hostile(trace)], object))
    fails(ValueError, "is no readable state dict", fixed(), tmp_path / "net.npz")
    assert not trace.exists()
    torch.save([1, 2], path)
    fails(ValueError, "holds a list, not a state dict", fixed(), path)


def fake_timm(create) -> types.ModuleType:
    module = types.ModuleType("timm")
    module.create_model = create
    return module


def test_names_are_loaded_by_timm(monkeypatch):
    asked = []

    def create(name, pretrained):
        asked.append((name, pretrained))
        return types.SimpleNamespace(
            state_dict=lambda: state("resnet18"), pretrained_cfg={"license": "apache-2.0"}
        )

    monkeypatch.setitem(sys.modules, "timm", fake_timm(create))
    report = weights.from_timm(build(), "resnet18.a1_in1k")
    assert asked == [("resnet18.a1_in1k", True)]
    assert report.source == "timm:resnet18.a1_in1k"
    assert str(report).endswith("\n  License: apache-2.0.")
    assert weights.load(build(), "timm:resnet18").source == "timm:resnet18"


def test_what_timm_cannot_load_is_said(monkeypatch):
    def create(name, pretrained):
        raise OSError("no route to host")

    monkeypatch.setitem(sys.modules, "timm", fake_timm(create))
    fails(ValueError, "timm cannot load the weights 'resnet18': no route", fixed(), "resnet18")


def test_names_need_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    text = fails(ImportError, "pip install timm", fixed(), "resnet18")
    assert "Or give the path of a state dict" in text


def test_unknown_names_are_refused_before_timm_is_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    text = fails(ValueError, "Unknown timm architecture 'resnet50d'", fixed(), "resnet50d.ra2_in1k")
    assert "Did you mean 'resnet50'?" in text and "convnextv2_huge" in text
    assert ".safetensors" in fails(ValueError, "Unknown timm", fixed(), "weights/net.h5")


# keras.applications.


def _zeros_of(self, shape, dtype=None):
    return keras.ops.zeros(shape, dtype)


@functools.cache
def keras_net() -> keras.Model:
    """keras.applications.ResNet50 with random weights; logits."""
    with mock.patch.object(keras.initializers.GlorotUniform, "__call__", _zeros_of):
        base = keras.applications.ResNet50(
            weights=None, include_top=False, pooling="avg", input_shape=(None, None, 3)
        )
    logits = keras.layers.Dense(10, name="predictions")(base.output)
    net = keras.Model(base.input, logits, name="resnet50")
    harness.randomize(net)
    return net


@functools.cache
def ours_from_keras(convert_input: bool) -> keras.Model:
    """The plain network with the weights of `keras_net`; logits."""
    model = build(
        "resnet50",
        family="resnet50_v1",
        plain=True,
        width=1.0,
        input_shape=(None, None, 3),
        classifier_activation=None,
    )
    report = weights.from_keras_applications(model, keras_net(), convert_input=convert_input)
    assert report.source == "keras.applications:resnet50"
    assert len(report.names) == len(model.weights) and not report.kept and not report.ignored
    return model


def taps(model, names):
    return keras.Model(model.input, [model.get_layer(name).output for name in names])


@pytest.mark.parametrize("size", [(64, 64), (71, 97)])
def test_the_v1_network_computes_what_keras_computes(size):
    model = ours_from_keras(False)
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32") * 60
    ends = [f"conv{i}_block{n}_out" for i, n in ((2, 3), (3, 4), (4, 6), (5, 3))]
    want = taps(keras_net(), [*ends, "avg_pool", "predictions"])(x, training=False)
    ends = [f"stage{i}_block{n}_relu" for i, n in ((1, 3), (2, 4), (3, 6), (4, 3))]
    found = taps(model.get_layer("trunk"), ends)(x, training=False)
    found += taps(model, ["pool", "logits"])(x, training=False)
    for a, b in zip(found, want, strict=True):
        assert harness.error(harness.array(a), harness.array(b)) < 1e-4


def test_converted_input_differs_at_the_borders_only():
    """What the mean colors differ by meets padding with zeros there, and nowhere else."""
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    theirs = keras.applications.resnet.preprocess_input(pixels.copy())
    ours = (pixels / 255 - sp.assembly.IMAGENET_MEAN) / sp.assembly.IMAGENET_STD
    want = harness.predict(taps(keras_net(), ["conv1_bn"]), theirs)
    trunk = ours_from_keras(True).get_layer("trunk")
    found = harness.predict(taps(trunk, ["stem_conv_norm"]), ours.astype("float32"))
    inner = slice(2, -2)
    assert harness.error(found[:, inner, inner], want[:, inner, inner]) < 1e-5
    assert 1e-5 < harness.error(found, want) < 1e-2
    logits = harness.predict(keras_net(), theirs)
    assert (
        harness.error(harness.predict(ours_from_keras(True), ours.astype("float32")), logits) < 0.01
    )


def test_the_place_of_the_stride_is_no_detail():
    """Why the weights of Keras are refused by networks with timm's arithmetic."""
    v1 = ours_from_keras(False)
    timms = build("resnet50", plain=True, width=1.0, classifier_activation=None)
    weights.copy_weights(v1, timms)
    x = harness.images(timms)
    assert harness.error(harness.predict(timms, x), harness.predict(v1, x)) > 0.1
    text = fails(
        ValueError, "strides in 3x3", timms, keras_net(), fill=weights.from_keras_applications
    )
    assert "Build the family resnet50_v1, resnet101_v1 or resnet152_v1" in text


@pytest.mark.only_backend("tensorflow")  # names are the same everywhere
def test_the_deeper_nets_of_keras_fit():
    net = keras.applications.ResNet101(weights=None, include_top=False)
    model = build("resnet101", family="resnet101_v1", width=1.0)
    report = weights.from_keras_applications(model, net)
    assert report.names == tuple(weights.named_weights(model.get_layer("trunk")))
    assert all(name.startswith("conv5_block") for name in report.ignored)


def test_counts_of_v1_are_those_of_timms_arithmetic_with_fewer_macs():
    v1, ours = (
        sp.cost(build("resnet50", plain=True, family=f)) for f in ("resnet50_v1", "resnet50")
    )
    assert v1.params == ours.params
    assert v1.macs < ours.macs


def test_other_networks_of_keras_are_refused():
    def refused(match, source):
        model = fixed("resnet50", family="resnet50_v1")
        return fails(ValueError, match, model, source, fill=weights.from_keras_applications)

    assert "Use from_timm" in refused("is a ConvNeXt of the first version", "ConvNeXtTiny")
    assert "Use ResNet50," in refused("is a ResNet V2", "ResNet50V2")
    assert "Did you mean 'ResNet50'" in refused("Unknown network", "resnet50")
    inputs = keras.Input((8, 8, 3))
    for name, match in (
        ("convnext_base", "of the first version"),
        ("resnet101v2", "is a ResNet V2"),
        ("mine", r"'mine' is no ResNet of keras.applications: ResNet50, ResNet101, ResNet152 fit"),
    ):
        refused(match, keras.Model(inputs, keras.layers.ReLU()(inputs), name=name))
    text = refused("do not fit", keras_net())  # of full width
    assert "stem_conv/kernel: (7, 7, 3, 64) given, (7, 7, 3, 8) wanted" in text
    with pytest.raises(TypeError, match=r"must be a keras\.Model or one of ResNet50, "):
        weights.from_keras_applications(fixed("resnet50", family="resnet50_v1"), {})


def test_names_of_keras_are_downloaded(monkeypatch):
    asked = []

    def create(include_top):
        asked.append(include_top)
        if len(asked) == 3:
            raise OSError("no route to host")
        return net

    net = keras_net()
    monkeypatch.setattr(keras.applications, "ResNet50", create)
    model = build("resnet50", family="resnet50_v1", width=1.0)
    assert weights.load(model, "keras:ResNet50").names[0] == "stem_conv/kernel"
    plain = build("resnet50", family="resnet50_v1", width=1.0, plain=True)
    weights.from_keras_applications(plain, "ResNet50")
    assert asked == [False, True]
    fails(ValueError, "cannot load the ImageNet weights of ResNet50: no route", model,
          "ResNet50", fill=weights.from_keras_applications)  # fmt: skip


def test_only_color_input_is_converted():
    net = types.SimpleNamespace(name="gray")
    from keras_seqpar.weights.keras_applications import _convert_input

    with pytest.raises(ValueError, match="'gray' takes 1 channels.*Give convert_input=False"):
        _convert_input({"stem_conv/kernel": np.zeros((7, 7, 1, 64))}, net)


# One string for everything.


def test_a_file_of_this_package_gives_what_fits(tmp_path):
    source, model = harness.network(["cat", "dog"]), harness.build(["dog", "cow"])
    path = tmp_path / "net.keras"
    source.save(path)
    for given in (path, str(path)):
        report = weights.load(model, given)
        assert report.source == str(path)
        assert "stem_conv/kernel" in report.names and "dog_logit/bias" in report.names
        assert all(name.startswith("cow_") for name in report.kept)
        assert all(name.startswith("cat_") for name in report.ignored)
    path.write_bytes(path.read_bytes()[:3000])
    fails(ValueError, r"net\.keras is no readable \.keras file", model, path, fill=weights.load)


def test_strings_that_say_nothing_are_refused():
    model = harness.network(["a"])
    fails(ValueError, "Cannot tell what 'resnet50' is. Give timm:NAME", model, "resnet50",
          fill=weights.load)  # fmt: skip
    fails(TypeError, "must be a string or a path, got 3", model, 3, fill=weights.load)


# Frozen trunks.


@pytest.mark.parametrize("family", ["resnet18", "convnext_v2_atto"])
def test_a_frozen_trunk_stays_as_it_is_while_branches_train(family):
    model = harness.build(["a", "b"], family=family, width=0.2, drop_path_rate=0.5)
    harness.randomize(model)
    trunk = model.get_layer("trunk")
    trunk.trainable = False
    before, branch = harness.values(trunk), harness.values(model.get_layer("branch_a"))
    x = harness.images(model, 4)
    features = harness.predict(trunk, x)
    assert np.array_equal(harness.array(trunk(x, training=True)), features)
    model.compile("sgd", "categorical_crossentropy")
    model.fit(x, np.eye(2, dtype="float32")[[0, 1, 1, 0]], batch_size=2, epochs=2, verbose=0)
    assert harness.same_values(harness.values(trunk), before)
    assert not harness.same_values(harness.values(model.get_layer("branch_a")), branch)
