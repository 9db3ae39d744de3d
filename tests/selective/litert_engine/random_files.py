"""Random files of all operations that streams know, for property tests."""

from hypothesis import strategies as st

from tests.selective.litert_engine.files import SAME, VALID, File

KINDS = ("float32", "int8")
OPERATIONS = (
    *("conv", "conv", "depthwise", "pointwise", "max", "average", "pad", "mirror", "transposed"),
    *("resize", "nearest", "unary", "residual", "constant", "depth_to_space", "space_to_depth"),
    *("concatenation", "join", "shuffle", "repeat", "part"),
)


def random_file(draw, kind):
    """A file of a few random operations, then a head or maps as outputs, or both."""
    height, width = (draw(st.integers(5, 17)) for _ in range(2))
    shape = 1, height, width, draw(st.integers(1, 4))
    file = File(shape, kind, seed=draw(st.integers(0, 99)), zero=draw(st.integers(-20, 20)))
    x, known = file.frame, []
    for _ in range(draw(st.integers(1, 7))):
        known.append(x)
        x = operation(draw, file, x, known)
    if draw(st.booleans()):
        gate = file.mean(x)
        file.outputs.append(file.head(file.both("MUL", x, gate)))
    if not file.outputs or draw(st.booleans()):
        file.outputs.append(file.conv(x, 3) if x == file.frame else x)
    return file


def operation(draw, file, x, known):
    """Adds one random operation, or none where it does not fit."""
    name = draw(st.sampled_from(OPERATIONS))
    _, height, width, depth = file.shapes[x]
    kernel = tuple(draw(st.integers(1, min(5, n))) for n in (height, width))
    stride, padding = draw(st.integers(1, 3)), draw(st.sampled_from((SAME, VALID)))
    if max(height, width) > 40 and name in ("transposed", "resize", "nearest", "depth_to_space"):
        return x
    if max(height, width) > 40 and name == "repeat":
        return x
    if name in ("conv", "depthwise"):
        dilation = draw(st.integers(1, 2)) if stride == 1 else 1
        if padding == VALID and any(
            (k - 1) * dilation >= n for k, n in zip(kernel, (height, width), strict=True)
        ):
            padding = SAME
        if name == "depthwise":
            return file.depthwise(x, kernel, stride, padding, dilation)
        activation = draw(st.sampled_from((0, 1, 3)))  # none, ReLU, ReLU6
        return file.conv(x, draw(st.integers(2, 6)), kernel, stride, padding, dilation, activation)
    if name == "pointwise":
        return file.conv(x, 4, (1, 1))
    if name in ("max", "average"):
        if kernel == (1, 1):  # interpreters refuse it
            return x
        return file.pool(x, f"{name.upper()}_POOL_2D", kernel, stride, padding)
    if name in ("pad", "mirror"):
        most = 2 if name == "pad" else min(2, height - 1, width - 1)
        rows, cols = (tuple(draw(st.integers(0, most)) for _ in range(2)) for _ in range(2))
        return file.pad(x, rows, cols, None if name == "pad" else draw(st.integers(0, 1)))
    if name == "transposed":
        kernel = tuple(draw(st.integers(max(stride, 2), 5)) for _ in range(2))
        return file.transposed(x, draw(st.integers(2, 4)), kernel, stride, padding)
    if name in ("resize", "nearest"):
        size = tuple(draw(st.integers(max(1, n // 2), 2 * n)) for n in (height, width))
        align = draw(st.integers(0, 1))
        half = 0 if align else draw(st.integers(0, 1))
        kind = "RESIZE_BILINEAR" if name == "resize" else "RESIZE_NEAREST_NEIGHBOR"
        return file.resize(x, size, kind, align, half)
    if name == "unary":
        return file.unary(draw(st.sampled_from(("RELU", "HARD_SWISH", "LEAKY_RELU"))), x)
    if name == "residual":
        return file.both("ADD", x, file.conv(x, depth, kernel))
    if name == "constant":
        return file.both(draw(st.sampled_from(("ADD", "MUL", "SUB"))), x, constant(draw, file, x))
    if name == "depth_to_space":
        return file.blocks(file.conv(x, 8, (1, 1)), "DEPTH_TO_SPACE")
    if name == "space_to_depth" and height % 2 == 0 and width % 2 == 0:
        return file.blocks(x, "SPACE_TO_DEPTH")
    if name == "concatenation":
        return file.concatenate(x, file.conv(x, 2, kernel), file.pool(x, "MAX_POOL_2D", (2, 2), 1))
    if name == "shuffle":
        return file.shuffle(file.conv(x, 6, (1, 1)), draw(st.sampled_from((2, 3))))
    if name == "repeat":
        return file.repeat(x)
    if name == "part" and min(height, width) > 4:
        return file.part(x, draw(st.integers(0, 2)), draw(st.integers(1, 2)), min(depth, 2))
    if name == "join":
        others = [i for i in known if file.shapes[i] == file.shapes[x]]
        return file.both("ADD", x, draw(st.sampled_from(others))) if others else x
    return x


def constant(draw, file, x):
    """A constant that fits a map: one value per channel, or one per position."""
    _, height, width, depth = file.shapes[x]
    shape = draw(st.sampled_from(((depth,), (1, 1, 1, depth), (1, height, width, depth))))
    values = file.rng.normal(size=shape)
    if file.kind == "float32":
        return file.tensor(shape, values.astype("float32"))
    whole = (values * 40).clip(-128, 127).round().astype("int8")
    return file.tensor(shape, whole, scales=[file.SCALE])
