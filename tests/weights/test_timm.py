"""Filling networks with weights of timm."""

import pickle
import re
import sys
import types

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import weights
from keras_seqpar.families.base import Plan
from keras_seqpar.families.resnet import Bottlenecks
from tests import harness
from tests.weights.sources import WIDTH, build, fails, fixed, skip_initial_values, state

pytestmark = pytest.mark.only_backend("torch")  # test_timm_parity.py computes on all

IN_STAGE_3 = Plan((None, None, 1), ((Bottlenecks(64, 1, 2, hidden=32),),))


@pytest.fixture(autouse=True)
def _zeros(monkeypatch):
    skip_initial_values(monkeypatch)


# What is filled.


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "convnextv2_atto"])
def test_a_trunk_takes_its_stages_and_nothing_else(name):
    plain, model = build(name, plain=True), build(name)
    all_ = weights.from_timm(plain, state(name))
    assert all_.names == tuple(weights.named_weights(plain))
    assert all_.kept == all_.ignored == ()
    before = {k: harness.values(model.get_layer(f"branch_{k}")) for k in "ab"}
    report = weights.from_timm(model, state(name))

    trunk, longer = model.get_layer("trunk"), plain.get_layer("trunk")
    assert report.names == tuple(weights.named_weights(trunk))
    assert set(report.kept) == set(weights.named_weights(model)) - set(report.names)
    used = {k for k in state(name) if not k.endswith("num_batches_tracked")}
    ends = ("layer4", "fc", "stages.3", "head")
    assert set(report.ignored) == {k for k in used if k.startswith(ends)}
    assert len(report.names) + len(report.ignored) == len(used)

    x = harness.images(model)
    beginning = keras.Model(longer.input, longer.get_layer(trunk.layers[-1].name).output)
    assert np.array_equal(harness.predict(trunk, x), harness.predict(beginning, x))
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


def test_banks_stay_as_they_are(monkeypatch):
    monkeypatch.undo()  # initializers of banks need a seed
    report = weights.from_timm(model := build(fused=True), state("resnet18"))
    assert report.names == tuple(weights.named_weights(model.get_layer("trunk")))
    assert all(name.startswith("bank_1/") for name in report.kept) and report.kept


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


def test_stages_before_the_last_must_be_complete():
    plan = Plan((1, None, None), ((Bottlenecks(64, 1, 2, hidden=32),),))
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


def test_extra_and_missing_weights_are_refused():
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


def test_partial_filling_takes_whole_layers_and_lists_the_others():
    odd = state("resnet18")
    del odd["layer2.0.conv1.weight"], odd["layer1.0.bn1.bias"]
    odd["conv1.weight"] = odd["conv1.weight"][:4]
    model, full = build(), build()
    fails(ValueError, "2 missing in the source", model, odd)
    report = weights.from_timm(model, odd, partial=True)
    weights.from_timm(full, state("resnet18"))
    layers = ["stem_conv", "stage1_block1_conv1_norm", "stage2_block1_conv1"]
    assert {key.split("/")[0] for key in report.unfilled} == set(layers)
    assert len(report.unfilled) == 1 + 4 + 1 and set(report.unfilled) <= set(report.kept)
    assert f"6 weights do NOT fit and keep their values: {report.unfilled[0]}, " in str(report)
    now, want = weights.named_weights(model), weights.named_weights(full)
    for key in report.names:
        assert np.array_equal(harness.array(now[key]), harness.array(want[key]))
    assert not any(harness.array(now[f"{layer}/kernel"]).any() for layer in (layers[0], layers[2]))
    fails(ValueError, "missing in the source", model, {}, partial=True)


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


def prefixed(prefix: str, values=None) -> dict:
    return {f"{prefix}{key}": value for key, value in (values or state("resnet18")).items()}


PREFIXES = [
    *("module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module."),
    "model._orig_mod.module.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_known_prefixes_are_taken_off(prefix):
    model = build()
    counts = {"n_averaged": np.array(3), f"{prefix}bn1.num_batches_tracked": np.array(9)}
    report = weights.from_timm(model, prefixed(prefix) | counts)
    assert len(report.names) == len(weights.named_weights(model.get_layer("trunk")))
    names = len(state("resnet18")) - sum("num_batches" in key for key in state("resnet18"))
    note = f"The prefix {prefix!r} was taken off {names} of {names} names."
    assert report.notes == (note,) and str(report).endswith(note)
    odd = prefixed(prefix)
    del odd[f"{prefix}conv1.weight"]
    text = fails(ValueError, "1 missing in the source:\n    stem_conv/kernel", model, odd)
    assert f"The prefix {prefix!r} was taken off" in text


@pytest.mark.parametrize(
    "wrapper", ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."]
)
def test_wrappers_of_blocks_are_taken_out_of_names(wrapper):
    wrapped = {
        "module." + re.sub(r"^(layer\d\.\d\.)", rf"\1{wrapper}", key): array
        for key, array in state("resnet18").items()
    }
    report = weights.from_timm(model := build(), wrapped)
    assert len(report.names) == len(weights.named_weights(model.get_layer("trunk")))
    assert report.notes[0].startswith(f"{wrapper!r} was taken out of ")
    assert report.notes[1].startswith("The prefix 'module.' was taken off ")


def test_prefixes_are_taken_off_modules_too():
    same_as(types.SimpleNamespace(state_dict=lambda: prefixed("_orig_mod.module.")))


def test_another_prefix_is_named_in_a_short_message():
    text = fails(ValueError, "do not fit", fixed(), prefixed("module.encoder_q."))
    names = len(state("resnet18")) - sum("num_batches" in key for key in state("resnet18"))
    assert f"{names} of its {names} names begin with 'encoder_q.'" in text
    assert "Take that prefix off: {k.removeprefix('encoder_q.'): v for k, v in" in text
    assert len(text.splitlines()) < 30


def test_a_state_dict_of_two_networks_is_refused():
    both = prefixed("module.") | prefixed("model.")
    text = fails(ValueError, "the state dict has two weights 'conv1.weight', apart", fixed(), both)
    assert "Give one of them" in text


def averaged(key: str, **more) -> dict:
    """A checkpoint in which the plain weights are others."""
    other = {k: np.zeros_like(v) for k, v in state("resnet18").items()}
    return {"epoch": 3, "args": None, **{k: prefixed("module.", other) for k in more}, key: 0} | {
        key: prefixed("module.")
    }


@pytest.mark.parametrize(
    ("key", "beside"),
    [("state_dict_ema", "state_dict"), ("model_ema", "model"), ("params_ema", "params")],
)
def test_averaged_weights_can_be_asked_for(key, beside):
    checkpoint = averaged(key, **{beside: True})
    plain, want, model = build(), build(), build()
    report = weights.from_timm(plain, checkpoint)
    assert f"ema=True takes the averaged weights {key!r} instead." in report.notes
    weights.from_timm(want, state("resnet18"))
    report = weights.from_timm(model, checkpoint, ema=True)
    assert f"These are the averaged (EMA) weights {key!r}." in report.notes
    assert harness.same_values(harness.values(model), harness.values(want))
    assert not harness.same_values(harness.values(plain), harness.values(want))
    only = {k: v for k, v in checkpoint.items() if k != beside}
    assert weights.from_timm(model, only).notes == report.notes


def test_averaged_weights_that_are_not_there_are_refused(tmp_path):
    np.savez(tmp_path / "net.npz", **state("resnet18"))
    for source in ({"state_dict": state("resnet18"), "epoch": 1}, tmp_path / "net.npz"):
        text = fails(ValueError, "has no averaged .EMA. weights", fixed(), source, ema=True)
        assert "none of state_dict_ema, model_ema, " in text and "Leave ema out" in text
    text = f"timm:{tmp_path / 'net.npz'}"
    fails(ValueError, "net.npz has no averaged", fixed(), text, fill=weights.load, ema=True)
    fails(ValueError, "ema=True is for checkpoints of timm", fixed(), "keras:ResNet50",
          fill=weights.load, ema=True)  # fmt: skip
    fails(ValueError, "not for the timm model 'resnet18'", fixed(), "resnet18", ema=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"epoch": 3, "optimizer": {}}, "got 3 for 'epoch'. Known checkpoints have their weights"),
        ({"state_dict": None}, "got None for 'state_dict'"),
        ({"state_dict": {"a": {"b": 1}}}, "got {'b': 1} for 'a'"),
        (types.SimpleNamespace(state_dict=lambda: [1]), "is a list, not a state dict"),
        (types.SimpleNamespace(state_dict=None), "must be a state dict, its path, or the name"),
    ],
)
def test_what_is_no_state_dict_is_named(source, message):
    fails(TypeError, message, fixed(), source)
    if isinstance(source, dict):
        source["model"] = source
        fails(TypeError, "A state dict maps names to arrays", fixed(), source)


def test_a_file_with_something_else_is_named(tmp_path):
    np.savez(tmp_path / "odd.npz", **{"conv1.weight": np.array(["a"])})
    fails(
        ValueError, "'conv1.weight' has no values that can be read", fixed(), tmp_path / "odd.npz"
    )
    fails(ValueError, r"ends in .safetensors, .* got .*net.h5", fixed(), tmp_path / "net.h5")
    torch = pytest.importorskip("torch")
    torch.save({"epoch": 3}, tmp_path / "net.pth")
    fails(
        ValueError,
        "net.pth holds no state dict: .* got 3 for 'epoch'",
        fixed(),
        tmp_path / "net.pth",
    )
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    text = fails(ValueError, "net.pth is no readable state dict: it holds more than", fixed(),
                 tmp_path / "net.pth")  # fmt: skip
    assert "Save module.state_dict()" in text
    meta = {"conv1.weight": torch.empty(3, device="meta")}
    fails(ValueError, "'conv1.weight' has no values that can be read", fixed(), meta)


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


def test_a_failure_of_timm_is_reported(monkeypatch):
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
