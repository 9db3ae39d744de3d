"""The numbers of each epoch in files: history.csv and logs for TensorBoard."""

import csv
import io
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.utils.files import make_folder, write_file
from keras_seqpar.utils.growing_file import GrowingFile


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Writes one line per epoch; epochs of an earlier version lack some of the numbers."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for line in history for name in line))
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in line.items()} for line in history)
    write_file(path, text.getvalue())


def time_left(
    history: Sequence[Mapping[str, float]],
    phases: Sequence[tuple[int, Callable[[float], float | None]]],
) -> str:
    """A sentence on how long a run still takes.

    Args:
        history: the lines of the epochs so far, one at least.
        phases: of each phase of the run its number of epochs, and a function that guesses the
            seconds of one before there is any, from those of an epoch of the phase before; it
            returns `None` where it cannot.

    Returns:
        For example `"About 12 min left (3 of 20 epochs done)."`
    """
    left, end, each, unknown = 0.0, 0, None, 0
    for epochs, guess in phases:
        begin, end = end, end + epochs
        times = [line["seconds"] for line in history[begin:end]]
        if times:  # the first one compiles
            each = float(np.median(times[1:] or times))
        else:
            each = guess(each) if each is not None else None
        if each is None:
            unknown += epochs
        else:
            left += each * (epochs - len(times))
    more = f", without the last {unknown}" if unknown else ""
    return f"About {duration(left)} left ({len(history)} of {end} epochs done{more})."


def duration(seconds: float) -> str:
    """A time in words, for example `"45 s"`, `"12 min"` or `"1 h 5 min"`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def summary(best: Mapping[str, float], last: Mapping[str, float]) -> str:
    """A sentence on the accuracies of a run.

    Args:
        best: the line of the best epoch.
        last: the line of the last epoch.
    """

    def top1(line: Mapping[str, float]) -> str:
        balanced = line.get("val_balanced_accuracy")
        more = "" if balanced is None else f" (balanced {balanced:.2%})"
        return f"{line['val_accuracy']:.2%}{more} in epoch {line['epoch']}"

    return f"Validation top-1: {top1(best)} (best.keras), {top1(last)} (last.keras)."


def open_tensorboard(folder: Path) -> Callable[[Mapping[str, float], bytes | None], None]:
    """Opens logs for TensorBoard, without TensorFlow (Keras's callback needs it).

    Args:
        folder: where to write.

    Returns:
        A function that writes one line of the history, and a PNG image with predictions of that
        epoch or `None`; it does nothing if the package tensorboard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        print("No TensorBoard logs: the package tensorboard is not installed.")
        return lambda line, image: None
    name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
    path = make_folder(folder / name)
    file = GrowingFile(path)

    def append(event: Event) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        file.append(record.getvalue())

    def write(line: Mapping[str, float], image: bytes | None) -> None:
        if not file.is_open:
            append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        values = [Summary.Value(tag=k, simple_value=v) for k, v in line.items() if k != "epoch"]
        if image:
            width, height = struct.unpack(">II", image[16:24])  # as every PNG file begins
            shown = Summary.Image(
                height=height, width=width, colorspace=4, encoded_image_string=image
            )
            values.append(Summary.Value(tag="predictions", image=shown))
        append(Event(wall_time=time.time(), step=line["epoch"], summary=Summary(value=values)))

    return write
