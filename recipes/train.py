"""Trains a SeqPar network, or a plain one, on labeled images, with Keras's own `fit`.

    python recipes/train.py
    python recipes/train.py --setting two_cores --data_dir DIR --output runs/imagenette
    python recipes/train.py --dataset folder:PATH --family resnet50 --image_size 224
    python recipes/train.py --resume --output runs/imagenette
    python recipes/train.py --dataset folder:PATH --setting mobile --dry_run

The first line trains on scikit-learn's digits. KERAS_BACKEND selects tensorflow, jax or torch.
A run depends only on its flags: order and augmentation of the images are functions of (seed, epoch,
step). So a run that was killed at any step and resumed ends with the same weights as one that was
not.
"""

from keras_seqpar.utils.commands import flag_group, run

import importlib.util
from pathlib import Path

from absl import flags

from keras_seqpar import plots
from keras_seqpar.plots.accuracy import draw_predictions
from keras_seqpar.plots.drawing import optional
from keras_seqpar.plots.summaries import write_summary
from keras_seqpar.training.balance import missed_note
from keras_seqpar.training.flags import define_train_flags, read_train_flags
from keras_seqpar.training.runs.history import summary
from keras_seqpar.training.tasks import classification
from keras_seqpar.training.tasks.dry_run import dry_run

define_train_flags()
with flag_group("Run"):
    text = "Print shapes, cost, memory and time to expect, from a few steps; write no files."
    flags.DEFINE_boolean("dry_run", False, text)


def main(_: list[str]) -> None:
    """Trains, and prints the accuracies."""
    config, run_config = read_train_flags()
    if flags.FLAGS.dry_run:
        print(dry_run(config))
        return
    drawn = importlib.util.find_spec("matplotlib") is not None
    done = classification.train(config, run_config, draw_predictions if drawn else None)
    if not done.devices.first:
        return
    plots.write_curves(Path(run_config.output) / "curves.png", done.history)
    if done.devices.count == 1:  # several processes would have to measure together
        with optional("summary.html"):
            write_summary(run_config.output)
    print(f"{summary(done.best, done.history[-1])} Files: {done.folder}")
    if note := missed_note(done.missed, "best.keras"):
        print(note)


if __name__ == "__main__":
    run(main, stopped="Stopped. Continue with --resume and the same --output.")
