"""The plain networks compute what timm's compute, from the same weights.

Always against stored values, for every network up to base; beside them, on torch and where timm is
installed, against timm itself at full size of all tensors.
"""

import functools
import json

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.families.base import Initializers
from keras_seqpar.weights import from_timm
from tests import harness
from tests.references import timm_nets

# Of the largest value of a tensor; 1e-4 would not tell epsilon 1e-5 from 1e-6.
TOLERANCE = 2e-5
LIVE = ("resnet50", "convnextv2_atto", "tf_efficientnet_lite0")
LIVE_SIZES = ((33, 33), (75, 50))


@functools.cache
def stored() -> dict:
    with np.load(timm_nets.FILE, allow_pickle=False) as file:
        return dict(file)


@functools.cache
def about() -> dict:
    return json.loads(str(stored()["about"]))


@pytest.fixture(scope="module")
def timm():
    """timm, or a skip where it is not installed."""
    try:
        return timm_nets.import_timm()
    except ImportError as error:
        pytest.skip(f"needs timm: {error}")


@pytest.fixture(autouse=True)
def _zeros(monkeypatch):
    """All values are overwritten: the initializers need not compute any."""
    for kind in ("he", "truncated"):
        monkeypatch.setattr(Initializers, kind, lambda self, name: "zeros")


def filled(name: str, state) -> tuple[keras.Model, dict[str, str]]:
    """The plain network of a timm name with its weights, and stage -> name of its last layer."""
    model = sp.build_plain(
        timm_nets.CATEGORIES, family=timm_nets.NETS[name], input_shape=(None, None, 3)
    )
    report = from_timm(model, state)
    assert len(report.names) == len(model.weights)
    assert not report.kept and not report.ignored
    last = {}
    for layer in model.get_layer("trunk").layers:
        if layer.name.startswith("stage"):
            last[layer.name.split("_")[0]] = layer.name
    return model, last


def taps(model: keras.Model, ends: dict[str, str], images: np.ndarray) -> dict[str, np.ndarray]:
    """The output of every stage, pooled features and logits."""
    trunk = model.get_layer("trunk")
    features = keras.Model(trunk.input, [trunk.get_layer(name).output for name in ends.values()])
    # JAX compiles every operation for every shape; ResNets share most of theirs, ConvNeXts not.
    as_one = keras.backend.backend() == "jax" and "resnet" not in model.name
    run = features.predict_on_batch if as_one else features
    found = dict(zip(ends, run(images), strict=True))
    x = found[max(ends)]
    for layer in model.layers[2:-1]:  # behind the trunk, in front of the scores
        found["pooled"], x = x, layer(x)
    found["logits"] = x
    return {name: harness.array(value) for name, value in found.items()}


# One of each kind of block on every backend. The layers of the others are the same, in other
# numbers and widths; torch builds them quickest.
ON_ALL_BACKENDS = ("resnet18", "resnet50", "convnextv2_atto", "tf_efficientnet_lite0")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[] if name in ON_ALL_BACKENDS else [pytest.mark.only_backend("torch")]
        )
        for name in timm_nets.COMPARED
    ],
)
def test_stored_values_of_timm(name):
    state = timm_nets.state_dict(about()["shapes"][name])
    model, ends = filled(name, state)
    for size in timm_nets.SIZES:
        found = taps(model, ends, timm_nets.images(size))
        start = f"{name}/{size[0]}x{size[1]}/"
        known = {key.removeprefix(start): x for key, x in stored().items() if key.startswith(start)}
        assert {"pooled", "logits", max(ends)} <= known.keys()
        for tap, want in known.items():
            assert harness.error(timm_nets.sample(found[tap]), want) < TOLERANCE, (tap, size)


@pytest.mark.only_backend("torch")  # the stored values are compared on every backend
@pytest.mark.parametrize("name", LIVE)
def test_timm_itself(timm, name):
    net = timm_nets.make(name)
    model, ends = filled(name, net)
    for size in LIVE_SIZES:
        images = timm_nets.images(size)
        want = timm_nets.taps(net, images)
        found = taps(model, ends, images)
        for tap, value in want.items():
            assert harness.error(found[tap], value) < TOLERANCE, (tap, size)


@pytest.mark.only_backend("torch")  # the one that can build without allocating
@pytest.mark.parametrize("name", timm_nets.NETS)
def test_parameters_are_timms(name):
    with keras.device("meta"):
        model = sp.build_plain(1000, family=timm_nets.NETS[name])
    assert sp.cost(model).params == about()["parameters"][name]


def test_stored_parameters_are_timms(timm):
    for name in timm_nets.NETS:
        assert timm_nets.parameters(name) == about()["parameters"][name]
