"""The folder of one training run: what it holds, and how it survives a kill at any moment.

    flags.json       resolved flags, categories, versions
    checkpoint.npz   network, optimizer, epoch and history after the last whole epoch
    best.keras       the network of the epoch with the highest validation accuracy
    last.keras       the network at the end
    history.csv      one line per epoch
    tensorboard/     the same numbers for TensorBoard
    curves.png       the same numbers as a figure, where matplotlib is installed

Every file is written under a temporary name and then moved into place, so that a reader, or
the next run, finds the old file or the new one and nothing in between.
"""

import contextlib
import csv
import importlib.metadata
import io
import json
import math
import os
import platform
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from devices import ALONE

import keras_seqpar

FILES = (
    *("flags.json", "checkpoint.npz", "best.keras", "last.keras", "history.csv"),
    *("tensorboard", "curves.png"),
)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; moves it to `path` if the block succeeds.

    Args:
        path: the file to make or replace. The temporary one has the same suffix.
    """
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def place(path: str | os.PathLike) -> Path:
    """Where to write a result; makes the folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path)


def write_json(path: str | os.PathLike, facts) -> None:
    """Writes results as JSON; makes the folder."""
    with replacing(place(path)) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def save_model(model: keras.Model, path: Path) -> None:
    """Saves a model to a `.keras` file."""
    with replacing(path) as temporary:
        model.save(temporary)


def start(folder: Path, *, overwrite: bool) -> None:
    """Makes the folder of a new run.

    Args:
        folder: where.
        overwrite: remove the files of a run that is there.

    Raises:
        ValueError: the folder is a file, or not empty and `overwrite` is false.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Choose another folder with --output.")
    if overwrite:
        for name in FILES:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"The folder {folder} is not empty. Continue the run in it with --resume, replace it "
            "with --overwrite, or choose another one with --output."
        )
    folder.mkdir(parents=True, exist_ok=True)


def describe(chosen, dataset) -> dict:
    """What a run is: its flags, its data, and what it ran with.

    Args:
        chosen: all flags.
        dataset: a `keras_seqpar.data.Dataset`.
    """
    backend = keras.backend.backend()
    versions = {"python": platform.python_version(), "keras-seqpar": keras_seqpar.__version__}
    for package in ("keras", "numpy", backend):
        versions[package] = importlib.metadata.version(package)
    return {
        "flags": dict(vars(chosen)),
        "categories": list(dataset.categories),
        "images": {name: len(split) for name, split in dataset.splits.items()},
        "backend": backend,
        "versions": versions,
    }


def write_flags(folder: Path, about: Mapping) -> None:
    """Writes flags.json."""
    write_json(folder / "flags.json", about)


def read_flags(folder: Path) -> dict:
    """Reads flags.json.

    Raises:
        ValueError: it is not there, or damaged.
    """
    path = folder / "flags.json"
    try:
        about = json.loads(path.read_text("utf-8"))
        if not isinstance(about["flags"], dict):
            raise TypeError
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"There is no run to resume in {folder}: it has no {path.name}. Check --output, or "
            "start anew without --resume."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no flags file of a run: {error}") from error
    return about


def resume_flags(chosen, given: Iterable[str], places: Iterable[str]) -> dict:
    """Sets flags to those of the run in `chosen.output`, but for given ones and places.

    Args:
        chosen: all flags; changed in place.
        given: names of the flags that the command line has.
        places: names of the flags that say where things lie, not what is done.

    Returns:
        What the flags file of that run holds.

    Raises:
        ValueError: there is no such run.
    """
    before = read_flags(Path(chosen.output))
    for name, value in before["flags"].items():
        if name not in given and name not in places:
            setattr(chosen, name, value)
    return before


def check_same(folder: Path, before: Mapping, now: Mapping, places: Sequence[str]) -> None:
    """Refuses to resume a run as another one.

    Args:
        folder: the run folder.
        before: what its flags file holds.
        now: the same of the run that is to continue it.
        places: flags that may differ.

    Raises:
        ValueError: the two differ; the message shows how.
    """

    def flat(about: Mapping) -> dict:
        flags = {f"--{k}": v for k, v in about["flags"].items() if k not in places}
        return flags | {k: about.get(k) for k in ("backend", "categories", "images")}

    old, new = flat(before), flat(now)
    differing = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    if differing:
        raise ValueError(
            f"The run in {folder} was another one:"
            + "".join(f"\n  {k}: {old.get(k)} there, {new.get(k)} now" for k in differing)
            + "\nResume it with what it began with (flags left out are taken from there), or "
            "start anew in another folder."
        )
    if before.get("versions") != now["versions"]:
        print(f"Note: it began with other versions: {before.get('versions')}.")


def state_of(model: keras.Model) -> dict[str, keras.Variable]:
    """All variables that training changes: weights, random seeds, the optimizer's."""
    metrics = {id(v) for v in model.metrics_variables}
    network = [v for v in model.variables if id(v) not in metrics]
    variables = [*network, *model.optimizer.variables]
    return {f"{i:05d} {v.name}": v for i, v in enumerate(variables)}


class Checkpoint(keras.callbacks.Callback):
    """Keeps the run folder up to date after every epoch.

    Args:
        folder: the run folder.
        snapshot: returns the network to save, ready for use, with the current weights.
        on_epoch: called with the number of the epoch that begins, from 0.
        devices: the devices that train; only their first process writes.
    """

    def __init__(self, folder: Path, snapshot, on_epoch, devices=ALONE):
        super().__init__()
        self.devices = devices
        self.folder, self.snapshot, self.on_epoch = folder, snapshot, on_epoch
        self.path = folder / "checkpoint.npz"
        self.history: list[dict[str, float]] = []
        self.diverged = False
        self._log = open_tensorboard(folder / "tensorboard") if devices.first else None

    @property
    def epoch(self) -> int:
        """Number of whole epochs done."""
        return len(self.history)

    @property
    def best(self) -> dict[str, float]:
        """The line of the history with the highest validation accuracy, then the least loss."""
        return max(self.history, key=lambda line: (line["val_accuracy"], -line["val_loss"]))

    def on_epoch_begin(self, epoch, logs=None):
        self.on_epoch(epoch)
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in logs.items()}
        logs |= {name: self.devices.mean(logs[name]) for name in ("loss", "accuracy")}
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])):
            self.diverged = True
            return
        line = {"epoch": epoch + 1} | logs
        line["learning_rate"] = float(
            keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        )
        line["seconds"] = round(time.perf_counter() - self._started, 2)
        self.history.append(line)
        if not self.devices.first:
            return
        if self.best is line:
            save_model(self.snapshot(), self.folder / "best.keras")
        self._save()
        write_history(self.folder / "history.csv", self.history)
        self._log(line)

    def _save(self) -> None:
        arrays = {
            name: np.asarray(keras.ops.convert_to_numpy(variable))
            for name, variable in state_of(self.model).items()
        }
        text = json.dumps({"history": self.history})
        arrays["meta"] = np.frombuffer(text.encode(), "uint8")
        with replacing(self.path) as temporary:
            np.savez(temporary, **arrays)

    def restore(self, model: keras.Model) -> None:
        """Puts the checkpoint, if there is one, into a compiled model.

        Args:
            model: as it was when the checkpoint was written.

        Raises:
            ValueError: the checkpoint is damaged, or of another network.
        """
        if not self.path.exists():  # killed in its first epoch
            return
        try:
            with np.load(self.path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            self.history = json.loads(found.pop("meta").tobytes())["history"]
        except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
            raise ValueError(f"{self.path} is no readable checkpoint: {error}") from error
        model.optimizer.build(model.trainable_variables)
        wanted = state_of(model)
        shapes = {name: tuple(variable.shape) for name, variable in wanted.items()}
        if {name: value.shape for name, value in found.items()} != shapes:
            raise ValueError(
                f"{self.path} is the checkpoint of another network or optimizer: it holds "
                f"{len(found)} arrays, wanted are {len(wanted)}, or their names or shapes differ."
            )
        for name, variable in wanted.items():
            variable.assign(found[name])


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Writes one line per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in line.items()} for line in history)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), "utf-8")


def open_tensorboard(folder: Path):
    """Opens logs for TensorBoard without TensorFlow, which Keras's callback needs.

    Args:
        folder: where to write.

    Returns:
        A function that writes one line of the history; it does nothing where the package
        tensorboard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        print("No TensorBoard logs: the package tensorboard is not installed.")
        return lambda line: None
    writer = EventFileWriter(str(folder))

    def write(line: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=k, simple_value=v) for k, v in line.items() if k != "epoch"]
        event = Event(wall_time=time.time(), step=line["epoch"], summary=Summary(value=values))
        writer.add_event(event)
        writer.flush()

    return write


def write_curves(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Draws loss and accuracy against the epoch, if matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No curves.png: the package matplotlib is not installed.")
        return
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    epochs = [line["epoch"] for line in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axes.plot(epochs, [line[key] for line in history], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
