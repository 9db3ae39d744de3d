"""What all commands share: help in groups, sentences for errors, exit codes, no notices."""

import os
import subprocess
import sys

import pytest

from keras_seqpar.utils import commands

COMMAND = '''"""Says what it was told.

    python say.py FILE --dataset digits
"""
from keras_seqpar.utils.commands import flag_group, run
from absl import flags

with flag_group("Data"):
    flags.DEFINE_string("dataset", "digits", "What to read.")
    flags.DEFINE_enum("split", "train", ["train", "validation"], "Which part.")
flags.DEFINE_integer("steps", None, "How many.", lower_bound=1)


def main(argv):
    if flags.FLAGS.steps == 2:
        raise ValueError("two steps are too many")
    if flags.FLAGS.steps == 3:
        raise KeyboardInterrupt
    if flags.FLAGS.steps == 4:
        raise ZeroDivisionError("a bug")
    print(flags.FLAGS.dataset, *argv[1:])


run(main, positional=["FILE"], stopped="Continue with --resume.")
'''


@pytest.fixture
def say(tmp_path, root):
    path = tmp_path / "say.py"
    path.write_text(COMMAND)

    def call(*arguments):
        return subprocess.run(
            [sys.executable, str(path), *arguments],
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call


def test_a_command_gets_its_flags_and_arguments(say):
    done = say("--dataset=folder:x", "a.keras")
    assert (done.returncode, done.stdout, done.stderr) == (0, "folder:x a.keras\n", "")


def test_help_is_grouped_and_has_defaults(say):
    done = say("--help")
    assert done.returncode == 0 and "python say.py FILE" in done.stdout
    head, _, flags = done.stdout.partition("Data:\n")
    assert "Says what it was told." in head
    assert flags.splitlines()[0] == "  --dataset          What to read. [digits]"
    assert "<train|validation>: Which part. [train]" in flags
    assert flags.endswith("\n\nFlags:\n  --steps            How many.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 1, "error: FILE is missing (--help"),
        (("a", "b"), 1, "error: arguments without a flag: b (--help"),
        (("a", "--step_size=1"), 1, "error: Unknown command line flag 'step_size'"),
        (("a", "--steps=0"), 1, "error: flag --steps=0"),
        (("a", "--steps=2"), 1, "error: two steps are too many\n"),
        (("a", "--steps=3"), 130, "\nContinue with --resume.\n"),
    ],
)
def test_errors_are_sentences(say, arguments, code, message):
    done = say(*arguments)
    assert done.returncode == code and done.stderr.startswith(message)


def test_bugs_keep_their_traceback(say):
    done = say("a", "--steps=4")
    assert done.returncode == 1 and "ZeroDivisionError: a bug" in done.stderr


def test_only_notices_are_left_out(capfd):
    with commands.without_notices():
        os.write(2, b"I0000 00:00:1795845406.7 14009 port.cc:153] oneDNN is on.\n")
        os.write(2, b"fully_quantize: 0, inference_type: 6\n")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"a real error\n")
    assert capfd.readouterr().err == "a real error\n"


@pytest.mark.only_backend("tensorflow")
def test_tensorflow_is_imported_without_notices(root):
    code = "import keras_seqpar.utils.commands, tensorflow"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
        | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
