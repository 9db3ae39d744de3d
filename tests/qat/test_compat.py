"""The internals of tf_keras and tfmot that fake quantization uses are there."""

import importlib

import numpy as np
import pytest

from keras_seqpar import mobile
from keras_seqpar.mobile.quantization.qat import compat
from tests import harness

pytestmark = pytest.mark.only_backend("tensorflow")
ADAPT = "Adapt keras_seqpar/mobile/quantization/qat/compat.py."
REGISTRY = (
    "tensorflow_model_optimization.python.core.quantization.keras.default_8bit."
    "default_8bit_quantize_registry"
)


@pytest.fixture(scope="module")
def model():
    """Two branches, of one convolution at the start that is frozen."""
    net = harness.network(["a", "b"], size=32, include_preprocessing=True)
    net.get_layer("trunk").get_layer("stem_conv").trainable = False
    return net


@pytest.fixture(scope="module")
def twin(model):
    return mobile.to_tf_keras(model, logits=True)


@pytest.fixture(scope="module")
def aware(model):
    rng = np.random.default_rng(0)
    return mobile.quantize_aware(model, rng.integers(0, 256, (50, 32, 32, 3)).astype("uint8"))


def test_tf_keras_says_which_layers_stand_before_and_after(twin):
    norm = twin.get_layer("stem_conv_norm")
    assert compat.layer_before(norm) is twin.get_layer("stem_conv"), (
        f"tf_keras layers have no inbound_nodes[0].inbound_layers as before. {ADAPT}"
    )
    assert compat.kinds_after(twin.get_layer("a_logit")) == {"Concatenate"}, (
        f"tf_keras layers have no outbound_nodes[0].outbound_layer as before. {ADAPT}"
    )


def test_tfmot_quantizes_a_kernel_alone(aware):
    try:
        found = importlib.import_module(REGISTRY).Default8BitQuantizeConfig
    except (ImportError, AttributeError):
        pytest.fail(f"tfmot has no {REGISTRY}.Default8BitQuantizeConfig any more. {ADAPT}")
    assert isinstance(compat.kernel_only(), found)
    logit = aware.get_layer("quant_a_logit")
    names = [v.name for v in logit.weights]
    assert any("kernel_min" in name for name in names), (
        f"Default8BitQuantizeConfig gives kernels no range called kernel_min any more. {ADAPT}"
    )
    assert not any("output" in name or "post_activation" in name for name in names), (
        f"Default8BitQuantizeConfig gives an output a range although none is wanted. {ADAPT}"
    )


def test_wrappers_are_known_by_their_names(twin, aware):
    assert compat.has_fake_quantization(aware) and not compat.has_fake_quantization(twin), (
        f"tfmot's wrappers have no names that begin with quant_ any more. {ADAPT}"
    )
    found = compat.named_variables(aware)
    wanted = set(compat.named_variables(twin))
    assert wanted <= set(found), (
        f"tfmot's wrappers have other variables, {sorted(wanted - set(found))[:3]} are missing. "
        f"{ADAPT}"
    )
    names = set(compat.feature_ranges(aware))
    assert {"image", "stem_conv_relu", "categories_logits"} <= names, (
        f"tfmot gives the ranges of features other names: {sorted(names)}. {ADAPT}"
    )
    kernels = [kernel for kernel, _, _ in compat.kernel_ranges(aware)]
    count = sum("kernel" in name for name in wanted)
    assert len(kernels) == count, (
        f"tfmot gives {len(kernels)} of {count} kernels a range of a known name. {ADAPT}"
    )


def test_frozen_kernels_are_not_trained(aware):
    wrapper = aware.get_layer("quant_stem_conv")
    for name in ("_trainable_weights", "_non_trainable_weights"):
        assert hasattr(wrapper, name), f"tf_keras layers have no {name} any more. {ADAPT}"
    assert not any("stem_conv/" in v.name for v in aware.trainable_variables), (
        f"tfmot's wrappers train kernels that are frozen. {ADAPT}"
    )
