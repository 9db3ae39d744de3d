"""Networks and state dicts for the tests that fill networks from other libraries."""

import functools
import json

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import weights
from keras_seqpar.families.base import Initializers
from tests import harness
from tests.references import timm_nets

LABELS = [str(i) for i in range(timm_nets.CATEGORIES)]
WIDTH = {"resnet18": 0.125, "resnet50": 0.125, "resnet101": 0.125, "convnextv2_atto": 0.2}


def skip_initial_values(monkeypatch) -> None:
    """New networks get zeros: no test needs initial values, and JAX takes long to draw them."""
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
