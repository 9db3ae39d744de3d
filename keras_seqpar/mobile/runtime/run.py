"""Predicts the category of images: python -m keras_seqpar.mobile.run cutout.tflite image.jpg.

Needs NumPy, Pillow and an interpreter only.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from keras_seqpar.mobile.runtime.interpreters import INTERPRETERS
from keras_seqpar.mobile.runtime.runner import Runner
from keras_seqpar.utils.images import decode

NOTHING = "none of these"  # printed for an image that a file with that output rejects


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: of the command line; by default those of the process.

    Returns:
        The exit status: 0, or 1 after an error.
    """
    parser = argparse.ArgumentParser(prog="python -m keras_seqpar.mobile.run")
    parser.add_argument("file", help="a .tflite file, perhaps with NAME.labels.txt beside")
    parser.add_argument("images", nargs="+", help="JPEG, PNG, ...")
    parser.add_argument("--top", type=int, default=3, help="how many categories to show")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--interpreter", choices=list(INTERPRETERS), help="default: the first")
    parser.add_argument("--signature", help="of a file of several; default: the first")
    args = parser.parse_args(arguments)
    try:
        runner = Runner(
            args.file,
            threads=args.threads,
            interpreter=args.interpreter,
            signature=args.signature,
        )
        which = f", signature {runner.signature}" if runner.signature else ""
        print(f"{args.file}{which} in {runner.interpreter}, {runner.threads} thread(s)")
        for image in args.images:
            scores, none = runner.decide(read_image(runner, image))
            text = describe(scores[0], runner.labels, args.top)
            print(f"{image}: {text if none is None or not none[0] else f'{NOTHING} ({text})'}")
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def read_image(runner: Runner, path: str) -> np.ndarray:
    """Reads an image in the form that a file takes.

    Args:
        runner: the loaded file.
        path: an image; the square in its middle is taken.

    Returns:
        `(1, height, width, 3)`, pixels or normalized.

    Raises:
        OSError: no such image, or it cannot be decoded.
        ValueError: the file does not take square color images, or does not store how they are
            normalized.
    """
    _, height, width, channels = runner.input_shape
    if height != width or channels != 3:
        raise ValueError(
            f"{runner.path.name} takes images of {height} x {width} x {channels}; this command "
            "reads square color images only."
        )
    pixels = decode(path, height)[None]
    if "mean" not in runner.about:
        raise ValueError(
            f"{runner.path.name} does not say how its images are normalized: it was not made "
            "of a network of this package. Use keras_seqpar.mobile.Runner in a program."
        )
    mean, std = (np.array(runner.about[key], "float32") for key in ("mean", "std"))
    return pixels if not mean.any() and (std == 1).all() else (pixels - mean) / std


def describe(scores: np.ndarray, labels: Sequence[str] | None, top: int) -> str:
    """The best scores as text: `cat 0.93, dog 0.05`."""
    best = np.argsort(-scores, kind="stable")[:top]
    return ", ".join(f"{labels[i] if labels else i} {scores[i]:.3f}" for i in best)


if __name__ == "__main__":
    sys.exit(main())
