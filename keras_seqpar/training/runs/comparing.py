"""Runs side by side: the flags in which they differ, and what came out."""

import csv
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_seqpar.costs.counting import cost, short_number
from keras_seqpar.networks.loading import load_network
from keras_seqpar.training.balance import BEST_BY
from keras_seqpar.training.runs.flags import CALL_FLAGS, read_flags
from keras_seqpar.training.runs.history import duration


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run was, and what came out.

    Args:
        folder: of the run.
        flags: flag -> value.
        history: a mapping per epoch, column of history.csv -> number.
        best: the line of the best epoch, by the run's --best_by.
        parameters: of best.keras.
        macs: multiply-accumulates of best.keras per image.
        seconds: of all epochs, with validation.
    """

    folder: str
    flags: dict[str, Any]
    history: list[dict[str, float]]
    best: dict[str, float]
    parameters: int
    macs: int
    seconds: float


def read_run(folder: str | os.PathLike) -> RunResult:
    """Reads the folder of a run that has one epoch at least.

    Args:
        folder: of a training of classification.

    Raises:
        ValueError: there is no run in the folder, or none with a whole epoch.
    """
    path = Path(folder)
    flags = read_flags(path)["flags"]
    try:
        with open(path / "history.csv", encoding="utf-8", newline="") as file:
            history = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        column, more = BEST_BY[flags.get("best_by", "accuracy")]
        sign = 1 if more else -1
        best = max(history, key=lambda line: (sign * line[column], -line["val_loss"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has no history.csv of whole epochs ({error}). Train one epoch at least."
        ) from error
    counted = cost(load_network(path / "best.keras"))
    seconds = sum(line.get("seconds", 0.0) for line in history)
    return RunResult(
        str(folder), flags, history, best, counted.params, counted.macs, round(seconds, 2)
    )


def differing_flags(runs: Sequence[RunResult]) -> list[str]:
    """The flags, sorted, that have not the same value in all runs; places of files left out."""
    names = sorted({name for run in runs for name in run.flags} - set(CALL_FLAGS))
    return [n for n in names if any(run.flags.get(n) != runs[0].flags.get(n) for run in runs)]


def comparison(runs: Sequence[RunResult]) -> str:
    """A text table: a column per run, a line per flag that differs and per result."""
    lines = {"run": [run.folder for run in runs]}
    for name in differing_flags(runs):
        lines[f"--{name}"] = [str(run.flags.get(name, "-")) for run in runs]
    lines |= {
        "best top-1": [f"{run.best['val_accuracy']:.2%}" for run in runs],
        "of epoch": [f"{run.best['epoch']:.0f} of {len(run.history)}" for run in runs],
        "validation loss": [f"{run.best['val_loss']:.4f}" for run in runs],
        "parameters": [f"{run.parameters:,}" for run in runs],
        "MACs": [short_number(run.macs) for run in runs],
        "time": [duration(run.seconds) for run in runs],
    }
    first = max(map(len, lines))
    widths = [max(len(cells[i]) for cells in lines.values()) for i in range(len(runs))]
    return "\n".join(
        f"{title:{first}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for title, cells in lines.items()
    )
