"""Opening the folder of a run."""

import shutil
from pathlib import Path

from keras_seqpar.training.config import RunConfig
from keras_seqpar.training.runs.flags import has_begun
from keras_seqpar.utils.files import is_temporary, make_folder, remove_temporary_files

FILES = (
    *("flags.json", "images.csv", "checkpoint.npz", "best.keras", "last.keras", "history.csv"),
    *("tensorboard", "curves.png"),
)


def open_folder(run: RunConfig) -> None:
    """Makes the folder of a new run, or removes temporary files from that of a run to resume.

    A folder in which a run was stopped before it knew its data counts as empty.

    Raises:
        ValueError: the folder is a file, or not empty though the run is new.
        OSError: the folder cannot be made.
    """
    folder = Path(run.output)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Choose another folder with --output.")
    if not run.resume:
        if run.overwrite:
            for name in FILES:
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        elif folder.exists() and not _is_unused(folder):
            raise ValueError(
                f"The folder {folder} is not empty. Continue the run in it with --resume, replace "
                "it with --overwrite, or choose another one with --output."
            )
        make_folder(folder / "flags.json")
    remove_temporary_files(folder)


def _is_unused(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir() if not is_temporary(path)}
    if names - {"flags.json", "images.csv"}:
        return False
    try:
        return "flags.json" not in names or not has_begun(folder)
    except ValueError:  # flags.json of something else
        return False
