"""Commands in forked children, which share what this process has imported.

No operation of TensorFlow may run in this process: a child could not use it any more. So networks
and reference results are made in children, too.
"""

import contextlib
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests import commands
from tests.training.runner import TINY

_USED = (
    *("keras_seqpar.plots", "keras_seqpar.training.flags", "keras_seqpar.plots.viewing"),
    *("keras_seqpar.training.tasks.classification", "keras_seqpar.data.packing"),
)
WAIT = 300.0  # seconds after which a child is taken to hang


def import_all() -> None:
    """Imports what the commands need, once for all children."""
    for name in ("keras", "tensorflow", "h5py", "cv2", "matplotlib.figure", *_USED):
        importlib.import_module(name)
    mobile = importlib.import_module("keras_seqpar.mobile")
    for name in mobile.__all__:
        getattr(mobile, name)
    exec(TINY)


def fork(work: Callable[[], int | None], log: Path) -> int:
    """Starts a child; returns its process number.

    Args:
        work: what it does; its return value is the exit code.
        log: the file that gets what it prints.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        with open(log, "wb", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def start(command: str, arguments: Sequence[str], log: Path) -> int:
    """Starts a command of this repository in a child; returns its process number."""
    return fork(lambda: commands.call(command, *arguments), log)


def finish(child: int) -> int:
    """Waits for a child; returns its exit code, or minus the number of the signal that ended it.

    Raises:
        AssertionError: it hangs. It is killed.
    """
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if (code := ended(child)) is not None:
            return code
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"A command hung for {WAIT:.0f} seconds.")


def ended(child: int) -> int | None:
    """The exit code of a child, or `None` while it runs."""
    process, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if process else None


def ask(question: Callable[[], str], log: Path) -> str:
    """Answers a question in a child, which may compute.

    Args:
        question: returns the answer. What it raises is the answer, too: "TYPE: MESSAGE".
        log: a file for what it prints.

    Raises:
        AssertionError: the child crashed.
    """
    answer = log.with_suffix(".answer")

    def work() -> int:
        try:
            text = question()
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        answer.write_text(text, "utf-8")
        return 0

    answer.unlink(missing_ok=True)
    code = finish(fork(work, log))
    if code:
        raise AssertionError(f"A check ended with {code}: {log.read_text('utf-8', 'replace')}")
    return answer.read_text("utf-8")
