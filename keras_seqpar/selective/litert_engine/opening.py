"""Opens a stream of a file with the arguments of `keras_seqpar.selective.stream`."""

from collections.abc import Mapping
from typing import Any

from keras_seqpar.selective.arguments import RECEPTIVE_FIELD
from keras_seqpar.selective.litert_engine.stream import FileStream

# Arguments that only streams of Keras networks take -> their defaults.
OF_KERAS: dict[str, Any] = {
    "prune": 0.0,
    "reach": RECEPTIVE_FIELD,
    "refresh": None,
    "input_shape": None,
    "unsupported": "error",
    "mode": "auto",
    "calibrate": 20.0,
    "freeze": False,
}
OF_FILES = ("detector", "num_threads", "signature", "interpreter", "memory_limit")


def open_stream(arguments: Mapping[str, Any]) -> FileStream:
    """Makes a stream of a file.

    Args:
        arguments: of `keras_seqpar.selective.stream`, with the path of the file as `model`. Those
            of `OF_KERAS` must have their defaults.

    Raises:
        ValueError: an argument that only streams of Keras networks take.
    """
    arguments = {**arguments, **arguments["of_files"]}
    path = arguments.pop("model")
    del arguments["of_files"]
    given = [name for name, value in OF_KERAS.items() if arguments.pop(name, value) != value]
    if given:
        raise ValueError(
            f"{', '.join(given)}: only for Keras networks, not for files. A stream of a file is "
            "exact, computes everything that changed and has nothing to calibrate."
        )
    return FileStream(path, **arguments)


def check_no_file_options(options: dict[str, Any]) -> None:
    """Checks arguments of a stream of a Keras network.

    Raises:
        TypeError: an unknown argument, or one that only streams of files take.
    """
    for name in options:
        if name in OF_FILES:
            raise TypeError(f"{name} is an argument of streams of .tflite files only.")
        raise TypeError(f"stream() got an unexpected keyword argument {name!r}")
