"""What a run writes of its epochs."""

import pytest


def test_tensorboard_can_read_its_logs(finished):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    read = []
    for path in (finished / "tensorboard").iterdir():
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                read.append((event.step, value.tag))
    assert {(3, "val_accuracy"), (1, "loss"), (2, "learning_rate")} <= set(read)
