"""Commands in the process of the tests: their flags are their own."""

import pytest
from absl import flags

from tests import commands

COMMAND = '''"""Prints its flag."""
from keras_seqpar.utils.commands import run
from absl import flags

flags.DEFINE_integer("steps", 1, "How many.", lower_bound=1)


def double(x):
    return 2 * x


def main(argv):
    if flags.FLAGS.steps == 2:
        raise ValueError("two steps are too many")
    print(argv[1], flags.FLAGS.steps)
    return 3


if __name__ == "__main__":
    run(main, positional=["file"])
'''


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "say.py"
    path.write_text(COMMAND)
    return str(path)


def test_a_command_runs_again_with_other_flags(command, capsys):
    assert commands.call(command, "a", "--steps=5") == 3
    assert commands.call(command, "b") == 3
    assert capsys.readouterr().out == "a 5\nb 1\n"
    assert "steps" not in flags.FLAGS


def test_errors_and_help(command, capsys):
    assert commands.call(command, "a", "--steps=2") == 1
    assert commands.call(command) == 1
    assert capsys.readouterr().err == (
        "error: two steps are too many\nerror: file is missing (--help lists all flags)\n"
    )
    assert commands.call(command, "--help") == 0
    assert "--steps            How many. [1]" in capsys.readouterr().out


def test_functions_of_a_command(command):
    assert commands.load(command).double(2) == 4
    assert "steps" not in flags.FLAGS
