"""The interpreters that run .tflite files: which are installed, and one interface to them."""

import importlib
import importlib.metadata
import os
from typing import Any

import numpy as np

# Distribution -> module, in the order of preference. TensorFlow, which takes seconds and hundreds
# of MB to import, comes last: it is imported only where none of the others is installed.
INTERPRETERS = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow",
}
"""Name of an interpreter of .tflite files -> the module that has it. The first one that is
installed is the default.

Example:

>>> list(INTERPRETERS)
['ai-edge-litert', 'tflite-runtime', 'tensorflow']
"""


def find_interpreter(name: str | None = None) -> tuple[str, Any]:
    """Imports an interpreter.

    Args:
        name: a key of `INTERPRETERS`; by default the first that is installed.

    Returns:
        Its name with its version, and its class.

    Raises:
        ValueError: `name` is unknown.
        ImportError: none can be imported; the message gives the reason for each.
    """
    if name is not None and name not in INTERPRETERS:
        raise ValueError(f"Unknown interpreter {name!r}. Valid: {', '.join(INTERPRETERS)}.")
    reasons = []
    for candidate in INTERPRETERS if name is None else [name]:
        try:
            module = importlib.import_module(INTERPRETERS[candidate])
            engine = (module.lite if candidate == "tensorflow" else module).Interpreter
        except (ImportError, AttributeError) as error:
            reasons.append(f"{candidate} ({error})")
            continue
        try:
            version = importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:  # tensorflow-cpu and the like
            version = importlib.import_module(INTERPRETERS[candidate].split(".")[0]).__version__
        return f"{candidate} {version}", engine
    raise ImportError(
        f"No interpreter for .tflite files can be imported: {'; '.join(reasons)}. "
        "Install one: pip install ai-edge-litert"
    )


def not_picklable(runner: object, path: os.PathLike) -> TypeError:
    """The error for pickling or copying an object that holds a loaded interpreter."""
    name = type(runner).__name__
    return TypeError(
        f"A {name} cannot be pickled or copied: it holds a loaded interpreter. Give the path "
        f"{str(path)!r} to the other process and make a {name} there; threads may share one."
    )


class Signature:
    """One signature of a loaded file, with those methods of an interpreter that `Runner` calls.

    Args:
        engine: an interpreter that has loaded the file.
        key: name of the signature.
    """

    def __init__(self, engine, key: str):
        self._run = engine.get_signature_runner(key)
        self._inputs: dict[str, np.ndarray] = {}
        self._outputs: dict[str, np.ndarray] = {}

    def get_input_details(self) -> list[dict]:
        """Details of the inputs, the image first; `index` is the name."""
        details = self._run.get_input_details()
        names = sorted(details, key=lambda name: name != "image")
        return [{**details[name], "index": name} for name in names]

    def get_output_details(self) -> list[dict]:
        """Details of the outputs; `index` is the name."""
        details = self._run.get_output_details()
        return [{**detail, "index": name} for name, detail in details.items()]

    def set_tensor(self, index: str, value: np.ndarray) -> None:
        """Sets the value of an input."""
        self._inputs[index] = value

    def invoke(self) -> None:
        """Runs the signature."""
        self._outputs = self._run(**self._inputs)

    def get_tensor(self, index: str) -> np.ndarray:
        """Returns the value of an output."""
        return self._outputs[index]
