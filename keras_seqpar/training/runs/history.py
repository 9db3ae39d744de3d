"""The numbers of each epoch in files: history.csv and logs for TensorBoard."""

import csv
import io
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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


def open_tensorboard(folder: Path) -> Callable[[Mapping[str, float]], None]:
    """Opens logs for TensorBoard, without TensorFlow (Keras's callback needs it).

    Args:
        folder: where to write.

    Returns:
        A function that writes one line of the history; it does nothing if the package
        tensorboard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        print("No TensorBoard logs: the package tensorboard is not installed.")
        return lambda line: None
    name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
    path = make_folder(folder / name)
    file = GrowingFile(path)

    def append(event: Event) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        file.append(record.getvalue())

    def write(line: Mapping[str, float]) -> None:
        if not file.is_open:
            append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        values = [Summary.Value(tag=k, simple_value=v) for k, v in line.items() if k != "epoch"]
        append(Event(wall_time=time.time(), step=line["epoch"], summary=Summary(value=values)))

    return write
