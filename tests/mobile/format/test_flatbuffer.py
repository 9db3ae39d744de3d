"""Rewriting refuses what TFLite does not have built in."""

import pytest

from keras_seqpar import mobile
from keras_seqpar.mobile.format import flatbuffer
from tests.mobile.networks import network

pytestmark = pytest.mark.only_backend("tensorflow")


@pytest.mark.parametrize("name", [b"FlexErfinv", None])
def test_custom_and_flex_operations_are_refused_after_conversion(tmp_path, name):
    """Whatever a converter lets through."""
    from ai_edge_litert import schema_py_generated as schema

    made = mobile.convert(network(), tmp_path / "net.tflite", quantization="float32")
    model = flatbuffer.unpack(made.path.read_bytes())
    assert sum(flatbuffer.operations(model).values()) == sum(made.operations.values())
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = name
    with pytest.raises(ValueError, match=f"not built into TFLite: {(name or b'CUSTOM').decode()}"):
        flatbuffer.rewrite(flatbuffer.pack(model), description="{}")
