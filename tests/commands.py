"""Runs commands of recipes/ and benchmarks/ inside the process of the tests.

Commands define their flags globally, and several define flags of the same name. So each run of
a command defines its flags anew and removes them at its end.
"""

import contextlib
import pathlib
import runpy
import sys
import types
from unittest import mock

from absl import flags

ROOT = pathlib.Path(__file__).resolve().parents[1]


def call(command: str, *arguments) -> int:
    """Runs a command as from the command line.

    Args:
        command: its path, for example "recipes/watch.py".
        *arguments: the command line, without the program's name.

    Returns:
        The exit code. What an exit prints is on the standard error stream, as outside of tests.
    """
    try:
        with _flags_of(command, *map(str, arguments)) as path:
            runpy.run_path(path, run_name="__main__")
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0
    return 0


def load(command: str) -> types.SimpleNamespace:
    """The functions of a command, to test those that read no flags."""
    with _flags_of(command) as path:
        return types.SimpleNamespace(**runpy.run_path(path, run_name=path))


@contextlib.contextmanager
def _flags_of(command: str, *arguments: str):
    path = str(ROOT / command)
    with mock.patch.object(sys, "argv", [path, *arguments]):
        try:
            yield path
        finally:
            for flag in list(flags.FLAGS.flags_by_module_dict().get(path, [])):
                delattr(flags.FLAGS, flag.name)
