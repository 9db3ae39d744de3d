"""How much a stream of a network can save at most, found without running the network."""

import dataclasses
import math
import os
from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.selective.arguments import RECEPTIVE_FIELD, check_number
from keras_seqpar.selective.change_maps.flattening import flatten
from keras_seqpar.selective.change_maps.program import compile_program
from keras_seqpar.selective.change_maps.propagation import centered_rectangle
from keras_seqpar.selective.litert_engine.report import FileReport, report_file

SHARES = (0.01, 0.05, 0.10, 0.25)


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """How changes spread to one layer.

    Args:
        name: name of the layer.
        shape: `(height, width)` of its output; `None` where it has no positions.
        reach: side of the square of outputs that are computed when one pixel in the middle of
            the frame changes, in positions of this layer.
        shares: for each share of the frame that changes, the share of outputs to compute.
        macs: multiply-accumulates of a dense pass.
        barrier: why every output after this layer must be computed for any change, or `""`.
    """

    name: str
    shape: tuple[int, int] | None
    reach: int
    shares: tuple[float, ...]
    macs: int
    barrier: str


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of `report`; `print` shows it as a table.

    Args:
        name: name of the network.
        input_shape: `(height, width, channels)` of a frame.
        shares: shares of the frame's area that change, each as one square in the middle.
        reach: pixels up to which changes are followed, or `"receptive_field"`.
        bounds: for each share, the multiply-accumulates of a dense pass divided by those that
            are necessary. A stream cannot be faster by more than this factor on any machine.
        macs: multiply-accumulates of a dense pass.
        layers: the layers in order of computation.
        barriers: name of a layer after which everything is computed for any change -> why.
        unsupported: name of a layer without a rule -> why.
        state_bytes: size of the maps that a stream keeps from frame to frame.
    """

    name: str
    input_shape: tuple[int, ...]
    shares: tuple[float, ...]
    reach: int | str
    bounds: tuple[float, ...]
    macs: int
    layers: tuple[LayerReport, ...]
    barriers: dict[str, str]
    unsupported: dict[str, str]
    state_bytes: int

    def __str__(self) -> str:
        size = "x".join(map(str, self.input_shape))
        width = max(24, *(len(layer.name) for layer in self.layers))
        head = f"{'layer':<{width}} {'size':>9} {'reach':>6} {'MACs':>9} " + " ".join(
            f"{share:>7.1%}" for share in self.shares
        )
        limit = "" if isinstance(self.reach, str) else f", followed for {self.reach} pixels"
        lines = [
            f"{self.name} at {size}; columns: share of outputs computed when this share of the "
            f"frame changes{limit}"
        ]
        lines.append(head)
        lines.append("-" * len(head))
        for x in self.layers:
            shape = "x".join(map(str, x.shape)) if x.shape else "-"
            shares = " ".join(f"{share:>7.1%}" for share in x.shares)
            note = "  barrier" if x.barrier else ""
            lines.append(
                f"{x.name:<{width}} {shape:>9} {x.reach:>6} {x.macs / 1e6:>8.1f}M {shares}{note}"
            )
        lines.append("-" * len(head))
        bounds = " ".join(f"{bound:>6.2f}x" for bound in self.bounds)
        lines.append(f"{'at most faster by':<{width + 27}} {bounds}")
        lines.append(
            f"Dense: {self.macs / 1e9:.3f} G multiply-accumulates; a stream keeps "
            f"{self.state_bytes / 1e6:.1f} MB."
        )
        for name, why in self.barriers.items():
            lines.append(f"Barrier {name!r}: {why}; all after it is computed for any change.")
        for name, why in self.unsupported.items():
            lines.append(f'Unsupported {name!r}: {why}; needs unsupported="dense".')
        return "\n".join(lines)


def report(
    model: keras.Model | str | os.PathLike,
    shares: Sequence[float] = SHARES,
    *,
    reach: int | str = RECEPTIVE_FIELD,
    input_shape: Sequence[int] | None = None,
    signature: str | None = None,
) -> "Report | FileReport":
    """Tells how much a stream of this network can save at most; nothing is run.

    The bounds count the multiply-accumulates that are necessary when one square in the middle of
    the frame changes. Real streams also gather and scatter positions, so they gain less. A change
    at the border affects fewer outputs, several small changes affect more.

    Args:
        model: a functional Keras model whose input is an image, or the path of a .tflite file.
        shares: shares of the frame's area that change, above 0 and up to 1.
        reach: as for `stream`.
        input_shape: `(height, width, channels)`; needed where the model leaves sizes open.
        signature: of a file with several signatures, the one to read; by default the first.

    Returns:
        The report; `print` it.

    Raises:
        TypeError: `model` is not a Keras model, or `reach` is not a number.
        ValueError: the model is not a functional model of images, or a share or `reach` is out of
            range.

    Example:

    >>> print(report(build_plain(10, family="resnet50", input_shape=(512, 512, 3))))
    """
    if isinstance(model, (str, os.PathLike)):
        if reach != RECEPTIVE_FIELD or input_shape is not None:
            raise ValueError(
                "reach and input_shape: only for Keras networks. A stream of a file is exact, and "
                "its frames have the size of the file."
            )
        return report_file(model, shares, signature=signature)
    if signature is not None:
        raise ValueError("signature is for .tflite files only: a Keras network has none.")
    shares = tuple(float(share) for share in shares)
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares must be numbers above 0 and up to 1, got {shares}.")
    check_number("reach", reach, 0, allow_receptive_field=True)
    flat = flatten(model, input_shape)
    program = compile_program(flat, fold=False)
    maps = program.maps
    frame = flat.shapes[flat.inputs[0]]
    all_changes = [maps.evaluate(centered_rectangle(frame[:2], share), reach) for share in shares]
    pixel = np.zeros(frame[:2], bool)
    pixel[frame[0] // 2, frame[1] // 2] = True
    of_pixel = maps.evaluate(pixel, reach)
    total = program.all_positions()
    macs_of: dict[str, int] = {}
    for step in program.steps:
        macs_of[step.name] = macs_of.get(step.name, 0) + step.macs * total[step.map]

    def necessary(changes) -> int:
        counts = {step.map: int(changes[step.map].sum()) for step in program.steps}
        return sum(step.macs * counts[step.map] for step in program.steps)

    layers = tuple(
        LayerReport(
            name,
            maps.shape(map_),
            _side(of_pixel[map_]),
            tuple(float(changes[map_].mean()) for changes in all_changes),
            macs_of.get(name, 0),
            program.barriers.get(name, ""),
        )
        for name, (map_, _) in program.layers.items()
    )
    macs = program.macs(total)
    return Report(
        name=model.name,
        input_shape=frame,
        shares=shares,
        reach=reach,
        bounds=tuple(macs / n if n else math.inf for n in map(necessary, all_changes)),
        macs=macs,
        layers=layers,
        barriers={k: v for k, v in program.barriers.items() if k not in program.unsupported},
        unsupported=dict(program.unsupported),
        state_bytes=program.state_bytes,
    )


def _side(changed: np.ndarray) -> int:
    """The number of rows with a true position; 0 for a map without positions."""
    return int(changed.any(1).sum()) if changed.ndim == 2 else 0
