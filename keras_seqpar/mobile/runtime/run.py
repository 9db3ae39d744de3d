"""Names what is on images: python -m keras_seqpar.mobile.run cutout.tflite image.jpg.

Needs NumPy, Pillow and an interpreter; no TensorFlow and no Keras.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from keras_seqpar.mobile.runtime.interpreters import INTERPRETERS
from keras_seqpar.mobile.runtime.runner import Runner
from keras_seqpar.utils.images import decode

NOTHING = "none of these"  # said of an image that a file with that output does not know


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: of the command line; by default those of the process.

    Returns:
        The exit status: 0, or 1 where something was wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m keras_seqpar.mobile.run")
    parser.add_argument("file", help="a .tflite file, perhaps with NAME.labels.txt beside")
    parser.add_argument("images", nargs="+", help="JPEG, PNG, ...")
    parser.add_argument("--top", type=int, default=3, help="how many categories to show")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--interpreter", choices=list(INTERPRETERS), help="default: the first")
    parser.add_argument("--signature", help="of a file of several; default: the first")
    options = parser.parse_args(arguments)
    try:
        runner = Runner(
            options.file,
            threads=options.threads,
            interpreter=options.interpreter,
            signature=options.signature,
        )
        which = f", signature {runner.signature}" if runner.signature else ""
        print(f"{options.file}{which} in {runner.interpreter}, {runner.threads} thread(s)")
        for image in options.images:
            scores, none = runner.decide(read_image(runner, image))
            text = describe(scores[0], runner.labels, options.top)
            print(f"{image}: {text if none is None or not none[0] else f'{NOTHING} ({text})'}")
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def read_image(runner: Runner, path: str) -> np.ndarray:
    """Reads an image as a file takes it.

    Args:
        runner: the loaded file.
        path: an image; the square in its middle is taken.

    Returns:
        `(1, height, width, 3)`, pixels or normalized.

    Raises:
        OSError: no such image, or it cannot be decoded.
        ValueError: the file does not take square color images, or does not say how they
            are normalized.
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
    """Words the best scores: `cat 0.93, dog 0.05`."""
    best = np.argsort(-scores, kind="stable")[:top]
    return ", ".join(f"{labels[i] if labels else i} {scores[i]:.3f}" for i in best)


if __name__ == "__main__":
    sys.exit(main())
