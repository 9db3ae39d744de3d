"""Tensors and operations, as a .tflite file holds them."""

import contextlib
import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_writer import CopiedTable
from keras_seqpar.selective.planning import graph as planning

# Number of a TensorType in schema.fbs -> NumPy's type; others are not computed with by NumPy.
TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    15: "uint32",
    16: "uint16",
}
# Names of the built-in operations but StableHLO's, as BuiltinOperator of schema.fbs numbers them.
OPERATION_NAMES = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM
CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM
CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT
SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT
SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND
LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL
REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE
MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5
SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM
CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND
HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL
GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
""".split()


@dataclasses.dataclass(frozen=True)
class Tensor(planning.Tensor):
    """A tensor of a file, with the number of its `TensorType`, and its quantization."""

    type: int = 0
    scales: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, "float32"))
    zeros: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, "int64"))
    axis: int = 0  # along which scales differ

    @property
    def zero(self) -> int:
        """The integer that stands for 0."""
        return int(self.zeros[0]) if len(self.zeros) else 0


@dataclasses.dataclass(frozen=True)
class Operation(planning.Operation):
    """An operation of a file; its name is that of the built-in operation, or the custom one."""

    code: int  # number of its operator code
    options_type: int  # number of its `BuiltinOptions`
    # as `write` of `flatbuffer_writer` takes them; `None` where it has none
    options: CopiedTable | dict | None
    custom: bytes  # options of a custom operation


@dataclasses.dataclass(frozen=True)
class OperatorCode:
    """A kind of operation: number of the built-in one, name of the custom one, version."""

    builtin: int
    custom: bytes
    version: int


@dataclasses.dataclass(frozen=True)
class Graph(planning.Graph):
    """The graph of a file that a stream runs."""

    path: Path  # the file
    sha256: str  # hash of its content
    about: dict  # what it states about itself, see `mobile.Runner`; empty for files of others
    codes: tuple[OperatorCode, ...]  # the kinds of operations of the file
    signature: str | None  # key of the signature, or `None` for the first graph of a file without

    def refusing_damage(self) -> contextlib.AbstractContextManager[None]:
        """Turns errors of reading into one that names the file."""
        return refusing_damage(self.path)

    def option(self, operation: Operation, field: int, form: str = "<b", default=0):
        """A number in the options of an operation."""
        options = operation.options
        if isinstance(options, CopiedTable):
            return options.number(form, field, default)
        return options[field].value if options and field in options else default

    def constant(self, operation: Operation, index: int) -> np.ndarray | None:
        """The values of an input of an operation; `None` if it is missing or not constant."""
        if index >= len(operation.inputs) or operation.inputs[index] < 0:
            return None
        tensor = self.tensors[operation.inputs[index]]
        return tensor.values() if tensor.data is not None and tensor.is_known else None


@contextlib.contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turns errors of reading into one that names the file."""
    try:
        yield
    except (struct.error, LookupError, ArithmeticError, UnicodeDecodeError, TypeError):
        raise ValueError(
            f"{str(path)!r} is damaged: something in it refers to what it does not have. Copy or "
            "convert it again."
        ) from None
