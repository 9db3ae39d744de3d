"""Runs many cases in child processes with limits; a crash ends one case, not the drill.

A child is forked from this process, which has imported what the cases need, and runs one case after
the other. Where it crashes or takes too long, the next child goes on with the next case.
"""

import os
import pathlib
import resource
import select
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator

CPU_SECONDS = 10.0  # of one case; the limit ends what hangs
WALL_SECONDS = 60.0
MEMORY = 2 * 2**30  # bytes that a child may take beyond what it has at its start
_LENGTH = struct.Struct("<I")


def run_cases(
    count: int, attempt: Callable[[int], tuple[str, str]], *, batch: int = 500
) -> Iterator[tuple[int, str, str]]:
    """Runs `attempt(0)` to `attempt(count - 1)` in child processes.

    Args:
        count: number of cases.
        attempt: runs a case and returns its outcome and a text. What it raises is a fault.
        batch: number of cases that a child runs before the next one takes over.

    Yields:
        `(case, outcome, text)` of every case in order; the outcome is "faults" where the case
        raised, crashed, or went over a limit.
    """
    start = 0
    while start < count:
        with tempfile.TemporaryFile() as errors:
            child, answers = _fork(range(start, min(start + batch, count)), attempt, errors)
            for case in range(start, min(start + batch, count)):
                start = case + 1
                try:
                    outcome, text = _read(answers).decode("utf-8", "replace").split("\n", 1)
                except (EOFError, TimeoutError) as error:
                    yield case, "faults", _end(child, errors, isinstance(error, TimeoutError))
                    child = 0
                    break
                yield case, outcome, text
            os.close(answers)
            if child:
                os.waitpid(child, 0)


def _fork(cases: range, attempt, errors) -> tuple[int, int]:
    """Starts a child; returns its number and the pipe that it answers through."""
    answers, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(write)
        return child, answers
    try:
        os.close(answers)
        os.dup2(errors.fileno(), 2)
        most = _memory() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        for case in cases:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
            try:
                outcome, text = attempt(case)
            except BaseException as error:
                outcome, text = "faults", f"{type(error).__name__}: {error}; {_last(error)}"
            signal.setitimer(signal.ITIMER_PROF, 0)
            answer = f"{outcome}\n{text[:2000]}".encode("utf-8", "replace")
            os.write(write, _LENGTH.pack(len(answer)) + answer)
    finally:
        os._exit(0)


def _last(error: BaseException) -> str:
    """Where an exception came from."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}"


def _memory() -> int:
    """Bytes of address space that this process has."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _read(answers: int) -> bytes:
    """The next answer of a child."""
    if not select.select([answers], [], [], WALL_SECONDS)[0]:
        raise TimeoutError
    head = os.read(answers, _LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return os.read(answers, _LENGTH.unpack(head)[0])


def _end(child: int, errors, hangs: bool) -> str:
    """Ends a child that does not answer, and says what became of it."""
    if hangs:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    how = f"no answer after {WALL_SECONDS:g} s"
    if not hangs:
        how = f"crashed with {signal.Signals(os.WTERMSIG(status)).name}"
        how = how.replace("SIGPROF", f"SIGPROF: more than {CPU_SECONDS:g} s of CPU time")
    errors.seek(0)
    told = errors.read()[-500:].decode("utf-8", "replace").strip()
    return f"{how}; {told}" if told else how
