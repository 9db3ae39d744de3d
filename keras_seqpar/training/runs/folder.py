"""Opening the folder of a run."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from keras_seqpar.training.config import RunConfig
from keras_seqpar.training.runs.flags import LOCK, has_begun
from keras_seqpar.utils.files import (
    is_temporary,
    make_folder,
    naming_unwritten,
    remove_temporary_files,
)

FILES = (
    *("flags.json", "images.csv", "checkpoint.npz", "best.keras", "last.keras", "history.csv"),
    *("tensorboard", "curves.png", "summary.html"),
)


@contextlib.contextmanager
def open_folder(run: RunConfig) -> Iterator[None]:
    """Makes the folder of a new run, or removes temporary files from that of a run to resume.

    A folder in which a run was stopped before it knew its data counts as empty. While the block
    runs, no other process can open the folder; the lock of a killed process is gone.

    Raises:
        ValueError: the folder is a file, not empty though the run is new, or another process
            trains in it.
        OSError: the folder cannot be made.
    """
    folder = Path(run.output)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Choose another folder with --output.")
    if run.resume:
        has_begun(folder)  # refuses a folder without a run
    else:
        if not run.overwrite and folder.exists() and not _is_unused(folder):
            raise ValueError(
                f"The folder {folder} is not empty. Continue the run in it with --resume, replace "
                "it with --overwrite, or choose another one with --output."
            )
        make_folder(folder / "flags.json")
    with _locked(folder):
        if run.overwrite:
            for name in FILES:
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        remove_temporary_files(folder)
        yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder; the system releases it when the process ends, killed or not."""
    if os.name != "posix":  # elsewhere, there is no `flock`
        yield
        return
    import fcntl

    with naming_unwritten(folder / LOCK):
        file = open(folder / LOCK, "a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"{file.read() or 'Another process'} is training in {folder}. Wait for it, or stop "
                "it first; or choose another folder with --output."
            ) from None
        file.truncate(0)
        file.write(f"Process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _is_unused(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir() if not is_temporary(path)}
    if names - {"flags.json", "images.csv", LOCK}:
        return False
    try:
        return "flags.json" not in names or not has_begun(folder)
    except ValueError:  # flags.json of something else
        return False
