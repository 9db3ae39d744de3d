"""What keras_seqpar.mobile.format.schema needs of LiteRT's generated classes and of flatbuffers."""

import inspect
import re

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as generated

from keras_seqpar.mobile.format import schema
from tests import conftest

pytestmark = pytest.mark.only_backend("tensorflow")

# Class -> what is used of its objects.
OBJECTS = {
    "ModelT": (
        "version description buffers metadata operatorCodes subgraphs signatureDefs Pack "
        "InitFromObj"
    ),
    "SubGraphT": "inputs outputs tensors operators name",
    "TensorT": "name buffer type shape quantization",
    "QuantizationParametersT": "zeroPoint scale",
    "OperatorT": "opcodeIndex inputs outputs builtinOptionsType builtinOptions",
    "OperatorCodeT": "builtinCode deprecatedBuiltinCode customCode version",
    "SignatureDefT": "signatureKey subgraphIndex inputs outputs",
    "TensorMapT": "name tensorIndex",
    "BufferT": "data offset size",
    "MetadataT": "name buffer",
    "QuantizeOptionsT": "",
    "Model": "GetRootAs",
}
NUMBERS = {
    "BuiltinOperator": {"QUANTIZE": 114, "DEQUANTIZE": 6, "CUSTOM": 32},
    "TensorType": {"UINT8": 3, "INT8": 9},
    "BuiltinOptions": {"QuantizeOptions": 89},
}


@pytest.mark.parametrize("name", OBJECTS)
def test_generated_classes(name):
    cls = getattr(generated, name, None)
    assert cls, f"LiteRT generates no {name} any more: mobile/format/schema.py reads files with it."
    thing = cls()
    lost = [each for each in OBJECTS[name].split() if not hasattr(thing, each)]
    assert not lost, f"LiteRT's {name} lost {lost}: mobile/format/flatbuffer.py rewrites them."


@pytest.mark.parametrize("name", NUMBERS)
def test_generated_numbers(name):
    found = {key: getattr(getattr(generated, name), key, None) for key in NUMBERS[name]}
    assert found == NUMBERS[name], f"LiteRT's {name} does not follow schema.fbs any more."


def test_keywords():
    for name, keywords in (
        ("ModelT", ["version"]),
        ("BufferT", ["data"]),
        ("MetadataT", ["name", "buffer"]),
    ):
        known = inspect.signature(getattr(generated, name)).parameters
        lost = [keyword for keyword in keywords if keyword not in known]
        assert not lost, f"{name} takes no {lost}: mobile/format/flatbuffer.py makes new ones so."


def test_insides_of_the_builder():
    builder = flatbuffers.Builder(64)
    why = "mobile/format/schema.py writes weights with it."
    for name in ("StartVector", "EndVector", "CreateNumpyVector", "Finish", "Output", "Bytes"):
        assert hasattr(builder, name), f"flatbuffers.Builder has no {name} any more: {why}"
    before = builder.Offset()
    builder.StartVector(1, 5, 16)
    assert hasattr(builder, "head"), f"flatbuffers.Builder has no head any more: {why}"
    builder.head -= 5
    builder.Bytes[builder.head : builder.head + 5] = b"abcde"
    builder.vectorNumElems = 5
    start = builder.EndVector()
    written = bytes(builder.Bytes[len(builder.Bytes) - start :])
    assert written[:9] == b"\5\0\0\0abcde", f"A vector is no length and bytes any more: {why}"
    assert start > before


def test_pack_gives_back_what_unpack_read():
    weights = np.arange(200, dtype="uint8")
    model = schema.ModelT(version=3)
    model.description = b"two equal buffers"
    model.buffers = [schema.BufferT(), *(schema.BufferT(data=weights) for _ in range(2))]
    apart, shared = schema.pack(model), schema.pack(model, share=True)
    assert len(apart) - len(shared) >= len(weights) - 32  # alignment
    for content in (apart, shared):
        found = schema.unpack(content)
        assert found.version == 3 and found.description == b"two equal buffers"
        assert [None if b.data is None else bytes(b.data) for b in found.buffers] == [
            None,
            bytes(weights),
            bytes(weights),
        ]
    assert shared.index(bytes(weights)) % 16 == 0


def test_no_other_file_uses_them():
    package = conftest.ROOT / "keras_seqpar"
    private = re.compile(r"schema_py_generated|\.vectorNumElems|\bbuilder\.(Bytes|head)\b")
    found = [path for path in package.rglob("*.py") if private.search(path.read_text())]
    others = [str(path.relative_to(package)) for path in found if path.name != "schema.py"]
    assert not others
