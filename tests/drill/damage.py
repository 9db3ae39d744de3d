"""Ways to damage the content of files."""

import json
import random
from typing import Any

import numpy as np

NUMBERS = (0, 1, -1, 2, 7, 127, 255, 2**15, 2**16, 2**24, 2**30, 2**31 - 1, -(2**31))
SCALES = (0.0, -1.0, float("nan"), float("inf"), 1e-45, 1e-38, 1e-12, 1e-8, 1e8, 1e12, 3e38)
_WORDS = [n.to_bytes(4, "little", signed=True) for n in NUMBERS] + [
    np.float32(scale).tobytes() for scale in SCALES
]


def mutate(draw: random.Random, content: bytes, start: int = 0, end: int | None = None) -> bytes:
    """Flips bits, writes other bytes, leaves out, doubles or adds a part.

    Args:
        draw: what decides.
        content: of the file.
        start: where damage begins.
        end: and where it ends; the end of the content by default.
    """
    found = bytearray(content)
    end = len(found) if end is None else end
    for _ in range(draw.choice((1, 1, 1, 1, 2, 5, 30))):
        at = draw.randrange(start, max(end, start + 1))
        match draw.randrange(10):
            case 0 | 1 | 2 if at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            case 3 | 4 if at < len(found):
                found[at] = draw.randrange(256)
            case 5 | 6:
                at = at // 4 * 4
                found[at : at + 4] = draw.choice(_WORDS)
            case 7:
                del found[at : at + draw.choice((1, 4, 64, len(found)))]
            case 8:
                found[at:at] = draw.randbytes(draw.randrange(1, 64))
            case _:
                found[at:at] = found[at : at + draw.choice((1, 4, 16, 2000))]
    return bytes(found)


def mutate_json(draw: random.Random, content: bytes) -> bytes:
    """Replaces, removes or adds values anywhere in JSON."""
    config = json.loads(content)
    for _ in range(draw.choice((1, 1, 2))):
        holder, key = draw.choice(_slots(config))
        match draw.randrange(4):
            case 0:
                del holder[key]
            case 1:
                other, from_key = draw.choice(_slots(config) or [(holder, key)])
                if holder is not other:
                    value = json.loads(json.dumps(other[from_key]))
                    holder[key] = value
            case _:
                holder[key] = json.loads(json.dumps(draw.choice(_VALUES)))
        if not _slots(config):
            break
    return json.dumps(config).encode()


_VALUES: tuple[Any, ...] = (
    *(None, True, "", "a", "../../etc/passwd", "\n", "é", 0, -1, 1e308, float("nan"), 10**400),
    *([], {}, [[]], ["a"], [0], {"a": None}, float("inf"), "0" * 64, 2**63, [1, "a"], [None]),
    *(1.5, False, "\ud800", "a" * 5000, ["a"] * 5000, "__class__", {"id": "a", "label": "b"}),
)


def _slots(value) -> list[tuple[Any, Any]]:
    """Every `(list or mapping, key)` in nested data."""
    if isinstance(value, dict):
        keys: list = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    else:
        return []
    return [(value, key) for key in keys] + [s for key in keys for s in _slots(value[key])]


def without_hash(content: bytes) -> bytes:
    """The same model without its SHA-256, as other tools write it."""
    return content.replace(b"keras_seqpar_sha256", b"no_hash_of_the_file")


def mutate_model(draw: random.Random, content: bytes) -> bytes:
    """Changes a field of a model: a shape, scale, type, index, option or constant."""
    from keras_seqpar.mobile.format.schema import pack, unpack

    model = unpack(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        graph = draw.choice(model.subgraphs)
        tensor, op = draw.choice(graph.tensors), draw.choice(graph.operators)
        match draw.randrange(12):
            case 0 | 1:
                _change_one(draw, tensor, "shape", NUMBERS)
            case 2 | 3:
                quantized = [t for t in graph.tensors if t.quantization is not None]
                if quantized:
                    tensor = draw.choice(quantized)
                    _change_one(draw, tensor.quantization, "scale", SCALES)
            case 4:
                if tensor.quantization is not None:
                    _change_one(draw, tensor.quantization, "zeroPoint", NUMBERS)
                    tensor.quantization.quantizedDimension = draw.choice((0, 1, 3, 9, -1))
            case 5:
                tensor.type = draw.choice((0, 1, 2, 3, 4, 5, 7, 9, 17, 23, 100))
            case 6:
                tensor.buffer = draw.randrange(len(model.buffers) + 2)
            case 7:
                which = draw.choice(("inputs", "outputs"))
                _change_one(draw, op, which, (*range(len(graph.tensors) + 1), -1, 2**30))
            case 8:
                op.opcodeIndex = draw.randrange(len(model.operatorCodes) + 1)
            case 9 if op.builtinOptions is not None:
                field = draw.choice([*vars(op.builtinOptions), "none"])
                if isinstance(getattr(op.builtinOptions, field, None), (int, float)):
                    setattr(op.builtinOptions, field, draw.choice((0, 1, 2, 3, 100)))
                else:
                    op.builtinOptions, op.builtinOptionsType = None, 0
            case 10:
                code = draw.choice(model.operatorCodes)
                code.builtinCode = code.deprecatedBuiltinCode = draw.randrange(127)
            case _:
                small = [b for b in model.buffers if b.data is not None and 0 < len(b.data) <= 64]
                if small:
                    buffer = draw.choice(small)
                    data = np.array(buffer.data, "uint8")
                    word = np.frombuffer(draw.choice(_WORDS), "uint8")
                    at = draw.randrange(len(data)) // 4 * 4
                    data[at : at + 4] = word[: len(data) - at]
                    buffer.data = data
    try:
        return pack(model)
    except Exception:  # the writer does not take it: an index of 2**30, for example
        return mutate(draw, content)


def _change_one(draw: random.Random, holder, field: str, values) -> None:
    """Sets one element of a vector to one of the values, or adds or removes an element."""
    vector = getattr(holder, field)
    found = [] if vector is None else list(vector)
    if found and draw.random() < 0.8:
        found[draw.randrange(len(found))] = draw.choice(values)
    elif found and draw.random() < 0.5:
        found.pop()
    else:
        found.append(draw.choice(values))
    kind = {"scale": "float32", "zeroPoint": "int64"}.get(field, "int32")
    with np.errstate(all="ignore"):
        setattr(holder, field, np.array(found, "float64").astype(kind))
