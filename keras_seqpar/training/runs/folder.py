"""Opening the folder of a run."""

import shutil
from pathlib import Path

from keras_seqpar.training.config import RunConfig
from keras_seqpar.utils.files import remove_temporary_files

FILES = (
    *("flags.json", "checkpoint.npz", "best.keras", "last.keras", "history.csv"),
    *("tensorboard", "curves.png"),
)


def open_folder(run: RunConfig) -> None:
    """Makes the folder of a new run, or removes temporary files from that of a run to resume.

    Raises:
        ValueError: the folder is a file, or not empty though the run is new.
    """
    folder = Path(run.output)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Choose another folder with --output.")
    if run.resume:
        remove_temporary_files(folder)
        return
    if run.overwrite:
        for name in FILES:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"The folder {folder} is not empty. Continue the run in it with --resume, replace it "
            "with --overwrite, or choose another one with --output."
        )
    folder.mkdir(parents=True, exist_ok=True)
