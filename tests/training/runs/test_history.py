"""What a run writes of its epochs."""

import io

import pytest

from keras_seqpar.training.runs.history import (
    open_tensorboard,
    summary,
    time_left,
    write_history,
)
from tests.training.runner import logged


def test_tensorboard_can_read_its_logs(finished):
    read = logged(finished)
    assert {(3, "val_accuracy"), (1, "loss"), (2, "learning_rate")} <= set(read)
    assert not any(tag == "predictions" for _, tag in read)  # without a function that draws


def test_tensorboard_shows_images(tmp_path):
    content = io.BytesIO()
    Image = pytest.importorskip("PIL.Image")
    Image.new("RGBA", (7, 5)).save(content, "PNG")
    write = open_tensorboard(tmp_path / "tensorboard")
    write({"epoch": 1, "loss": 0.5}, content.getvalue())
    write({"epoch": 2, "loss": 0.25}, None)
    read = logged(tmp_path)
    assert set(read) == {(1, "loss"), (1, "predictions"), (2, "loss")}
    width, height, image = read[1, "predictions"].string_val
    assert (width, height, image) == (b"7", b"5", content.getvalue())


def test_epochs_of_an_earlier_version_lack_the_new_columns(tmp_path):
    lines = [{"epoch": 1, "val_accuracy": 0.5}]
    lines.append({"epoch": 2, "val_accuracy": 0.75, "val_balanced_accuracy": 0.5})
    write_history(tmp_path / "history.csv", lines)
    text = (tmp_path / "history.csv").read_text()
    assert text == "epoch,val_accuracy,val_balanced_accuracy\n1,0.5,\n2,0.75,0.5\n"


def test_the_summary_has_both_accuracies():
    best = {"epoch": 2, "val_accuracy": 0.98, "val_balanced_accuracy": 0.5}
    text = summary(best, {"epoch": 3, "val_accuracy": 0.9})
    assert "98.00% (balanced 50.00%) in epoch 2 (best.keras), 90.00% in epoch 3" in text


def test_the_time_left_covers_all_phases():
    def line(seconds):
        return {"epoch": 1, "seconds": seconds}

    phases = [(4, lambda each: None), (2, lambda each: 10 * each)]
    half = [line(100.0), line(10.0), line(12.0)]  # the first one compiled
    assert time_left(half, phases) == "About 4 min left (3 of 6 epochs done)."  # 11 + 2 * 110 s
    all_but_one = [*half, line(11.0), line(700.0)]
    assert time_left(all_but_one, phases) == "About 12 min left (5 of 6 epochs done)."
    unguessed = [(4, lambda each: None), (300, lambda each: None)]
    assert "About 11 s left (3 of 304 epochs done, without the last 300)." in time_left(
        half, unguessed
    )
    assert time_left([line(60.0)], [(66, lambda each: None)]).startswith("About 1 h 5 min left")
