"""Trains a small network that gives every pixel of a street scene a class, and scores it.

    python recipes/segment.py --data camvid-240x180.zip --output runs/segment
    python recipes/segment.py --data camvid-240x180.zip --resume --output runs/segment
    python recipes/segment.py --data camvid-240x180.zip --evaluate runs/segment/last.keras
    python recipes/segment.py --data camvid-240x180.zip --dry_run

The network is the trunk of the family up to its third stage, with the weights of a preset, and a
light decoder; in addition to colors it gets the position of each pixel in the frame. It learns to
give a part of a crop, run by itself, the same scores as in the whole crop (--agree), so that
streams need to compute little around a change (`benchmarks/segmentation.py`). A run that was killed
and resumed ends with the same weights as one that was not.

2 cores, TensorFlow, one seed: 54 minutes, 51.7 % mean IoU on the 233 test images. For videos
--grain 6: predictions flicker less there, and mean IoU is 1.4 points lower.
"""

from keras_seqpar.utils.commands import flag_group, run

from pathlib import Path

from absl import flags

from keras_seqpar import plots
from keras_seqpar.data import camvid
from keras_seqpar.training.config import JIT
from keras_seqpar.training.flags import (
    define_optimizer_flags,
    define_run_flags,
    read_segment_flags,
)
from keras_seqpar.training.tasks import segmentation, segmenter
from keras_seqpar.training.tasks.dry_run import dry_run_segmenter
from keras_seqpar.utils.files import write_json

with flag_group("Data"):
    flags.DEFINE_string("data", None, "The zip with CamVid.")
    flags.DEFINE_integer("crop", 128, "Side of the training crops in pixels.", lower_bound=32)
with flag_group("Network"):
    flags.DEFINE_integer(
        "stages", 3, "Stages of the trunk, 2 or 3; 3 have a larger receptive field.", lower_bound=2
    )
    flags.DEFINE_float("width", 0.5, "Multiplies the trunk's channels.", lower_bound=0.01)
    flags.DEFINE_integer("channels", 64, "Channels of the decoder.", lower_bound=8)
    flags.DEFINE_string("init", "preset:imagenette_small", "Initial weights: preset:NAME, or none.")
with flag_group("Training"):
    flags.DEFINE_integer("epochs", 90, "Passes over the training images.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 8, "Crops per step.", lower_bound=1)
    define_optimizer_flags(learning_rate=0.002, warmup_epochs=1.0)
    flags.DEFINE_float(
        "agree",
        1.5,
        "Weight of the consistency loss: a part of a crop by itself gets the same scores.",
        lower_bound=0.0,
    )
    flags.DEFINE_float(
        "grain",
        0.0,
        "Largest noise in that part, for pixels of 0 to 255; for videos 6.",
        lower_bound=0.0,
    )
    flags.DEFINE_enum("jit", "off", list(JIT), "Compile the step with XLA.")
    flags.DEFINE_integer("seed", 0, "Seed of weights, order and augmentation.", lower_bound=0)
define_run_flags("runs/segment", "Folder for everything that the run writes.")
with flag_group("Run"):
    text = "Print shapes, cost, memory and time to expect, from a few steps; write no files."
    flags.DEFINE_boolean("dry_run", False, text)
with flag_group("Evaluation"):
    flags.DEFINE_string("evaluate", None, "Train nothing: score this .keras file.")


def main(_: list[str]) -> None:
    """Trains a network, or takes the one to evaluate, and scores it on the test images."""
    args = flags.FLAGS
    config, run_config = read_segment_flags()
    if args.evaluate:
        scenes = camvid.load(config.data, ["test"])
        network = segmenter.load_segmenter(args.evaluate, len(scenes.categories))
        print(segmenter.score_table(segmenter.score(network, scenes)))
        return
    scenes = camvid.load(config.data)
    if args.dry_run:
        print(dry_run_segmenter(config, scenes))
        return
    done = segmentation.train(config, run_config, scenes)
    folder = Path(run_config.output)
    plots.write_curves(folder / "curves.png", done.history)
    network = segmenter.load_segmenter(str(folder / "last.keras"), len(scenes.categories))
    found = segmenter.score(network, scenes)
    write_json(folder / "test.json", found)
    print(segmenter.score_table(found))


if __name__ == "__main__":
    run(main, stopped="Stopped. Continue with --resume and the same --output.")
