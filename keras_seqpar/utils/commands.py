"""What all commands share: quiet libraries, grouped flags, readable errors, exit codes.

A command imports this module before all others: TensorFlow reads its log level when it is imported.

    from keras_seqpar.utils.commands import flag_group, run

    with flag_group("Data"):
        flags.DEFINE_string("dataset", "digits", "What to train on.")

    def main(argv: list[str]) -> None:
        print(flags.FLAGS.dataset)

    if __name__ == "__main__":
        run(main)
"""

import contextlib
import os
import re
import signal
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging

from keras_seqpar.utils.files import with_way_on
from keras_seqpar.utils.lazy import around_import
from keras_seqpar.utils.output import show_all_characters

# What users can cause: bad input, a missing package, files. Others are bugs: they show a traceback.
EXPECTED_ERRORS: tuple[type[Exception], ...] = (ValueError, ImportError, OSError)
STOPPED = 130  # exit code after Ctrl-C, as in shells
_HELP = ("--help", "-help", "-h", "--helpshort", "-helpshort")
_NOTICE = re.compile(  # notices of TensorFlow, its converter and LiteRT
    rb"[IWE]\d{4} \d\d:|WARNING: All log messages before absl|To enable the following instr"
    rb"|fully_quantize: |INFO: Created TensorFlow Lite"
)

_groups: dict[str, list[str]] = {}


def run(
    main: Callable[[list[str]], Any],
    *,
    positional: Sequence[str] = (),
    errors: tuple[type[Exception], ...] = EXPECTED_ERRORS,
    stopped: str = "Stopped.",
) -> NoReturn:
    """Parses the flags, runs a command and exits: 0, 1 after an error, 130 after Ctrl-C.

    Characters that the output cannot encode are replaced (`show_all_characters`).

    Args:
        main: called with the program's name and the arguments that are not flags. Its return value
            is the exit code; `None` is 0.
        positional: names of the required arguments that are not flags. If the last name ends in
            "...", any number of arguments may follow.
        errors: exceptions of which only the message is printed.
        stopped: what to print after Ctrl-C, for example how to continue.
    """
    show_all_characters()
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(line_buffering=True)  # also where no terminal shows it

    def parse(argv: list[str]) -> list[str]:
        if any(argument in _HELP for argument in argv[1:]):
            print(help_text(), end="")
            sys.exit(0)
        try:
            rest = flags.FLAGS(argv)
        except flags.Error as error:
            sys.exit(f"error: {error} (--help lists all flags)")
        _check_positional(rest[1:], positional)
        return rest

    def call(argv: list[str]) -> Any:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.ERROR)
        try:
            return main(argv)
        except errors as error:
            sys.exit(f"error: {with_way_on(error)}")
        except KeyboardInterrupt:
            print(f"\n{stopped}", file=sys.stderr)
            return STOPPED

    app.run(call, flags_parser=parse)
    raise AssertionError("app.run exits")


def _check_positional(given: Sequence[str], names: Sequence[str]) -> None:
    most = float("inf") if names and names[-1].endswith("...") else len(names)
    least = len([name for name in names if not name.endswith("...")])
    if len(given) < least:
        sys.exit(f"error: {names[len(given)]} is missing (--help lists all flags)")
    if len(given) > most:
        rest = " ".join(given[len(names) :])
        sys.exit(f"error: arguments without a flag: {rest} (--help lists all flags)")


@contextlib.contextmanager
def flag_group(title: str, values: flags.FlagValues = flags.FLAGS) -> Iterator[None]:
    """Lists the flags that are defined inside under a title in the help text.

    Args:
        title: for example "Data".
        values: where they are defined; only flags of the command line are in the help text.
    """
    before = set(flags.FLAGS)
    yield
    if values is not flags.FLAGS:
        return
    new = [name for name in flags.FLAGS if name not in before]
    for names in _groups.values():
        names[:] = [name for name in names if name not in new]
    _groups.setdefault(title, []).extend(new)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside the block a request to end, such as `kill PID`, acts as Ctrl-C: KeyboardInterrupt."""

    def stop(number, frame):
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        names = []  # only the main thread may handle signals
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def own_flags() -> dict[str, Any]:
    """The values of all flags that the command defines, by name."""
    defined = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    return {flag.name: flag.value for flag in defined}


def help_text() -> str:
    """The docstring of the command, and its flags in groups with their defaults."""
    lines = [(sys.modules["__main__"].__doc__ or "").rstrip(), ""]
    grouped = {name for names in _groups.values() for name in names}
    defined = [flag.name for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])]
    groups = _groups | {"Flags": [name for name in defined if name not in grouped]}
    for title, names in groups.items():
        if not (found := [flags.FLAGS[name] for name in names if name in flags.FLAGS]):
            continue
        lines.append(f"{title}:")
        for flag in found:
            head = f"  --{'[no]' if flag.boolean else ''}{flag.name}"
            text = " ".join((flag.help or "").split())
            if flag.default not in (None, [], ""):
                text += f" [{str(flag.default_as_str).strip(chr(39))}]"
            lines += textwrap.wrap(
                text, 96, initial_indent=f"{head:20} ", subsequent_indent=" " * 21
            )
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Leaves out log lines that libraries in C++ write to the standard error stream."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file:
                if not _NOTICE.match(line):
                    os.write(2, line)


def _quiet_libraries() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    around_import("tensorflow", without_notices)  # no setting drops its lines on CUDA and oneDNN


_quiet_libraries()
