"""All use of the classes that LiteRT generates from schema.fbs, and of the insides of flatbuffers.

Neither is a stable interface. `tests/mobile/format/test_schema.py` names what is used; where it is
missing, the test's message names what depends on it.
"""

import flatbuffers
import numpy as np
from ai_edge_litert.schema_py_generated import (
    BufferT,
    BuiltinOperator,
    BuiltinOptions,
    MetadataT,
    Model,
    ModelT,
    QuantizeOptionsT,
    TensorType,
)

__all__ = [
    "BufferT",
    "BuiltinOperator",
    "BuiltinOptions",
    "MetadataT",
    "ModelT",
    "QuantizeOptionsT",
    "TensorType",
    "builtin_code",
    "operator_names",
    "pack",
    "unpack",
]

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # of weights; schema.fbs: data:[ubyte] (force_align: 16)


def unpack(content: bytes) -> ModelT:
    """The content of a .tflite file as objects."""
    return ModelT.InitFromObj(Model.GetRootAs(content, 0))


def pack(model: ModelT, *, share: bool = False) -> bytes:
    """The content of a .tflite file.

    Args:
        model: from `unpack`, perhaps changed.
        share: write equal vectors once, as the format allows.
    """
    builder = _SharingBuilder(1024) if share else flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def builtin_code(code) -> int:
    """The number of an `OperatorCodeT`: older files have it in another field."""
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def operator_names() -> dict[int, str]:
    """Number of a built-in operation -> its name."""
    return {code: name for name, code in vars(BuiltinOperator).items()}


class _SharingBuilder(flatbuffers.Builder):
    """Writes equal vectors once, and weights at multiples of 16 bytes."""

    def __init__(self, size: int):
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x):
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            if x.dtype == np.uint8:
                self.StartVector(1, x.size, _ALIGNMENT)
                self.head -= x.size
                self.Bytes[self.head : self.head + x.size] = key[1]
                self.vectorNumElems = x.size
                self._written[key] = self.EndVector()
            else:
                self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]
