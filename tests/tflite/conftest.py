"""The stored network that knows digits, as a file, and commands called on it."""

import pytest

from tests import commands
from tests.references import digits_nets


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """A `.keras` file of the network; its name is best.keras."""
    path = tmp_path_factory.mktemp("run") / "best.keras"
    digits_nets.load("mobile").save(path)
    return path


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Calls a command of tflite/ in an empty folder; its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # commands set it; so it is set back

    def call(command, *arguments):
        capfd.readouterr()
        code = commands.call(f"tflite/{command}", *arguments)
        return code, *capfd.readouterr()

    return call
