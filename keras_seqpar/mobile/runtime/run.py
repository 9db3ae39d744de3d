"""Predicts the category of images: python -m keras_seqpar.mobile.run cutout.tflite image.jpg.

Needs NumPy, Pillow and an interpreter only.
"""

import argparse
import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.mobile.runtime.interpreters import INTERPRETERS
from keras_seqpar.mobile.runtime.runner import Runner
from keras_seqpar.utils.images import decode
from keras_seqpar.utils.output import show_all_characters

NOTHING = "none of these"  # printed for an image that a file with that output rejects
STDIN = "-"
STOPPED = 130  # exit status after Ctrl-C, as in shells


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Images that cannot be read are named on the standard error stream; the others are classified.

    Args:
        arguments: of the command line; by default those of the process.

    Returns:
        The exit status: 0, 1 after an error or if any image could not be read, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m keras_seqpar.mobile.run")
    parser.add_argument("file", help="a .tflite file, perhaps with NAME.labels.txt beside")
    parser.add_argument(
        "images", nargs="+", help="JPEG, PNG, ... files, 'FOLDER/*.jpg', or - for standard input"
    )
    parser.add_argument("--top", type=_count, default=3, help="how many categories to show")
    parser.add_argument("--threads", type=_count, default=1, help="CPU threads")
    parser.add_argument("--interpreter", choices=list(INTERPRETERS), help="default: the first")
    parser.add_argument("--signature", help="of a file of several; default: the first")
    show_all_characters()
    args = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # labels of any script, on terminals of any encoding
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        runner = _load(args)
        which = f", signature {runner.signature}" if runner.signature else ""
        print(f"{args.file}{which} in {runner.interpreter}, {runner.threads} thread(s)")
        names = [name for given in args.images for name in _matching(given)]
        unread = 0
        for name in names:
            try:
                print(f"{name}: {_classify(runner, name, args.top)}", flush=True)
            except BrokenPipeError:
                raise
            except Exception as error:  # Pillow's decoders raise errors of many kinds
                unread += 1
                print(f"{name}: {_reason(error)}", file=sys.stderr)
        if unread:
            print(f"{unread} of {len(names)} images could not be read.", file=sys.stderr)
        return 1 if unread else 0
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED


def _count(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text!r}")
    return number


def _load(args: argparse.Namespace) -> Runner:
    """The file of the command line, which must say what images it takes."""
    if os.path.isdir(args.file):
        raise ValueError(
            f"{args.file!r} is a folder: name a .tflite file. Branch packs are run in a program, "
            "with keras_seqpar.mobile.PackRunner."
        )
    runner = Runner(
        args.file, threads=args.threads, interpreter=args.interpreter, signature=args.signature
    )
    _check(runner)
    return runner


def _matching(name: str) -> list[str]:
    """The files of a pattern, for shells that leave that to commands; other names as they are."""
    found = []
    if name != STDIN and not os.path.lexists(name) and glob.has_magic(name):
        found = sorted(glob.glob(os.path.expanduser(name)))
    return found or [name]


def _classify(runner: Runner, name: str, top: int) -> str:
    """What to print of an image."""
    if name == STDIN:
        content = sys.stdin.buffer.read()
        if not content:
            raise ValueError("there is no image on standard input, or it was read before")
    elif os.path.isdir(name):
        raise ValueError(f"a folder; name its images: {os.path.join(name, '*.jpg')}")
    elif "://" in name and not os.path.exists(name):
        raise ValueError("an address; download the image and name the file")
    else:
        content = Path(name).read_bytes()
    scores, none = runner.decide(read_image(runner, content))
    text = describe(scores[0], runner.labels, top)
    return text if none is None or not none[0] else f"{NOTHING} ({text})"


def _reason(error: Exception) -> str:
    """Why an image cannot be read, in one line, without its name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    if text and isinstance(error, (OSError, ValueError)):
        return text
    return type(error).__name__ + (f": {text}" if text else "")


def read_image(runner: Runner, source: str | os.PathLike | bytes) -> np.ndarray:
    """Reads an image in the form that a file takes.

    Args:
        runner: the loaded file.
        source: path of an image, or its content; the square in its middle is taken.

    Returns:
        `(1, height, width, 3)`, pixels or normalized.

    Raises:
        OSError: no such image, or it cannot be decoded.
        ValueError: the file does not take square color images, or does not store how they are
            normalized.
    """
    _check(runner)
    pixels = decode(source, runner.input_shape[1])[None]
    mean, std = (np.array(runner.about[key], "float32") for key in ("mean", "std"))
    return pixels if not mean.any() and (std == 1).all() else (pixels - mean) / std


def _check(runner: Runner) -> None:
    """Refuses files of which this command cannot tell what images they take."""
    _, height, width, channels = runner.input_shape
    if height != width or channels != 3:
        raise ValueError(
            f"{runner.path.name} takes images of {height} x {width} x {channels}; this command "
            "reads square color images only."
        )
    if "mean" not in runner.about:
        raise ValueError(
            f"{runner.path.name} does not say how its images are normalized: it was not made "
            "of a network of this package. Use keras_seqpar.mobile.Runner in a program."
        )


def describe(scores: np.ndarray, labels: Sequence[str] | None, top: int) -> str:
    """The best scores as text: `cat 0.93, dog 0.05`."""
    best = np.argsort(-scores, kind="stable")[:top]
    return ", ".join(f"{labels[i] if labels else i} {scores[i]:.3f}" for i in best)


if __name__ == "__main__":
    sys.exit(main())
