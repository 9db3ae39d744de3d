"""Trains a small network that gives every pixel of a street scene a class, and scores it.

    python recipes/segment.py --data camvid-240x180.zip --output runs/segment
    python recipes/segment.py --data camvid-240x180.zip --resume --output runs/segment
    python recipes/segment.py --data camvid-240x180.zip --evaluate runs/segment/last.keras

The network is the trunk of the family as far as its third stage, with the weights of a preset,
and a light decoder, and is told where in the frame a pixel lies (`camvid.py`). It learns to say of
a part of a crop by itself what it says of it in the crop (--agree, `agreement.py`), so that streams
need to compute little around what changed (`bench_segmentation.py`). A run that was killed and
resumed ends in the same weights as one that was not.

2 cores, TensorFlow, one seed: 54 minutes, 51.7 % mean IoU on the 233 test images. For videos
--grain 6: what it says of them flickers less, for 1.4 points of mean IoU.
"""

import dataclasses
import sys
import types
from pathlib import Path

import agreement
import camvid
import keras
import numpy as np
import run_folder
from keras import layers
from options import Options
from trainer import JIT, make_optimizer

import keras_seqpar as sp
from keras_seqpar.families.base import Initializers, Stage
from keras_seqpar.families.resnet import FAMILIES
from keras_seqpar.networks.assembly import IMAGENET_MEAN, IMAGENET_STD
from keras_seqpar.networks.loading import load_model
from keras_seqpar.utils.progress import batches

FAMILY = "resnet18"
PLACES = ("data", "output", "resume", "overwrite", "evaluate")  # flags of where, not of what


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__)
    options.group(
        "Data",
        ("string", "data", None, "The zip with CamVid."),
        ("integer", "crop", 128, "Side of the training crops in pixels.", 32),
    )
    options.group(
        "Network",
        ("integer", "stages", 3, "Stages of the trunk, 2 or 3; 3 see much more around.", 2),
        ("float", "width", 0.5, "Multiplies the trunk's channels.", 0.01),
        ("integer", "channels", 64, "Of the decoder.", 8),
        ("string", "init", "preset:imagenette_small", "preset:NAME, or none."),
    )
    options.group(
        "Training",
        ("integer", "epochs", 90, "Passes over the training images.", 1),
        ("integer", "batch_size", 8, "Crops per step.", 1),
        ("enum", "optimizer", "adamw", "Rule of the step; sgd has momentum.", ["adamw", "sgd"]),
        ("float", "learning_rate", 0.002, "Its peak, between warm-up and a cosine fall.", 0.0),
        ("float", "warmup_epochs", 1.0, "Linear warm-up.", 0.0),
        ("float", "weight_decay", 0.05, "Decoupled; spares biases and normalizations.", 0.0),
        ("float", "agree", 1.5, "Weight of saying the same of a part of a crop by itself.", 0.0),
        ("float", "grain", 0.0, "Largest noise in that part, of 255; for videos 6.", 0.0),
        ("enum", "jit", "off", "Compile the step with XLA.", [*JIT]),
        ("integer", "seed", 0, "Of weights, order and augmentation.", 0),
    )
    options.group(
        "Run",
        ("string", "output", "runs/segment", "Folder for everything that the run writes."),
        ("boolean", "resume", False, "Continue the run in --output; its flags hold."),
        ("boolean", "overwrite", False, "Replace the run in --output."),
        ("string", "evaluate", None, "Train nothing: score this .keras file."),
    )
    return options


def read_flags(argv: list[str]) -> tuple[types.SimpleNamespace, dict | None]:
    """Parses the command line.

    Returns:
        All flags, and what the flags file of the run to resume holds, or `None`.

    Raises:
        ValueError: a flag is wrong, or contradicts the run to resume.
    """
    chosen, given = make_options().parse(argv)
    before = None
    if chosen.resume:
        if chosen.overwrite:
            raise ValueError("--resume continues a run, --overwrite replaces it: give one.")
        before = run_folder.resume_flags(chosen, given, PLACES)
        chosen.data = chosen.data or before["flags"].get("data")
    if not chosen.data:
        raise ValueError("Give --data: the zip with CamVid.")
    if not chosen.learning_rate > 0:
        raise ValueError(f"--learning_rate must be above 0, got {chosen.learning_rate}.")
    if chosen.grain and not chosen.agree:
        raise ValueError(
            f"--grain {chosen.grain:g} adds noise to the part that --agree compares, but --agree "
            "is 0. Give --agree above 0, or --grain 0."
        )
    if chosen.stages > 3:  # the fourth would halve the 45 rows that are left of 180
        raise ValueError(f"--stages must be 2 or 3, got {chosen.stages}.")
    chosen.warmup_epochs = min(chosen.warmup_epochs, chosen.epochs / 4)
    return chosen, before


def build(classes: int, *, stages=3, width=0.5, channels=64, seed=0) -> keras.Model:
    """Builds the network: frames of any size, `(height, width, 5)`, to scores per pixel.

    The frame is enlarged, so that the stem, which halves twice, ends at half of its resolution,
    and the second stage does not halve it again. The decoder adds what the stem and each stage
    say, at the frame's resolution. So every convolution looks at few pixels around and costs
    much, which is what streams want.

    Args:
        classes: number of classes.
        stages: of the trunk, 2 or 3.
        width: multiplies the trunk's channels.
        channels: of the decoder.
        seed: of the initial weights.

    Returns:
        A network for frames of colors and place, 0 to 255 (`camvid.with_place`).
    """
    family, init = FAMILIES[FAMILY], Initializers(seed)
    frame = keras.Input((None, None, 5), name="frame")
    std, mean = (*IMAGENET_STD, 0.5, 0.5), (*IMAGENET_MEAN, 0.5, 0.5)
    scale = [[[1 / (255 * s) for s in std]]]
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    x = layers.Rescaling(scale, offset, name="normalize")(frame)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="enlarge")(x)
    x = family.stem(x, "standard", width, init)
    taps = [keras.Model(frame, x).get_layer("stem_conv_relu").output]  # before the pooling
    for i, stage in enumerate(family.stages[:stages], start=1):
        stage = dataclasses.replace(stage.scaled(width), stride=1 if i < 3 else 2)
        x = family.stage(x, stage, f"stage{i}", init)
        taps.append(x)
    sides = [layers.Conv2D(channels, 1, name=f"lateral{i}")(tap) for i, tap in enumerate(taps)]
    y = sides.pop()
    for i, side in reversed(list(enumerate(sides))):
        if i != 1:  # the first two stages have the same resolution
            y = layers.UpSampling2D(2, interpolation="bilinear", name=f"enlarge{i}")(y)
        y = layers.Add(name=f"add{i}")([y, side])
    y = layers.ReLU(name="decoder_relu")(layers.BatchNormalization(name="decoder_norm")(y))
    y = family.stage(y, Stage(channels, 1), "decoder", init)
    y = layers.Conv2D(classes, 1, name="scores")(y)
    return keras.Model(frame, y, name="segmenter")


def initialize(network: keras.Model, source: str) -> int:
    """Fills the trunk with a preset's weights; returns how many layers got some.

    Args:
        network: from `build`.
        source: `"preset:NAME"`, or `"none"`.

    Raises:
        ValueError: neither, or no preset of this family and width.
    """
    if source == "none":
        return 0
    kind, _, name = source.partition(":")
    if kind != "preset":
        raise ValueError(f"--init must be preset:NAME or none, got {source!r}.")
    trunk = sp.load_preset(name).get_layer("trunk")
    done = 0
    for layer in network.layers:
        twin = next((x for x in trunk.layers if x.name == layer.name and x.weights), None)
        if twin is None or not layer.weights:
            continue
        arrays = twin.get_weights()
        if layer.name == "stem_conv":  # the place changes nothing yet
            extra = layer.kernel.shape[2] - arrays[0].shape[2]
            arrays[0] = np.pad(arrays[0], ((0, 0), (0, 0), (0, extra), (0, 0)))
        if [a.shape for a in arrays] != [tuple(w.shape) for w in layer.weights]:
            raise ValueError(
                f"The preset {name!r} does not fit: its layer {layer.name!r} has other shapes. "
                "Take its width, or --init none."
            )
        layer.set_weights(arrays)
        done += 1
    return done


def make_trainer(network: keras.Model, chosen, steps: int) -> keras.Model:
    """Puts augmentation before and `agreement` behind the network, and compiles all of it."""
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    rows = keras.Input((camvid.ROW,), name="rows")
    crops = camvid.Prepare(chosen.crop, chosen.seed, name="prepare")(images, rows)
    outputs = network(crops)
    if chosen.agree:
        part = agreement.Part(chosen.crop // 2, name="part")
        agree = agreement.Agree(chosen.agree, name="agree")
        alone = part(crops, rows)
        if chosen.grain:
            alone = agreement.Grain(chosen.grain, chosen.seed + 1, name="grain")(alone)
        outputs = agree(outputs, part(outputs, rows), network(alone))
    trainer = keras.Model([images, rows], outputs, name="trainer")
    trainer.compile(
        make_optimizer(chosen, steps, network.trainable_variables),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=JIT[chosen.jit],
    )
    return trainer


def predict(network: keras.Model, images: np.ndarray, count: int = 8) -> np.ndarray:
    """The class of every pixel of images `(count, height, width, 3)`."""
    found = [
        network.predict_on_batch(camvid.with_place(images[rows]).astype("float32")).argmax(-1)
        for rows in batches(len(images), count, "Predicting")
    ]
    return np.concatenate(found).astype("uint8")


def score(network: keras.Model, scenes: camvid.Scenes, split: str = "test") -> dict:
    """Scores a network.

    Returns:
        `images`, `pixel_accuracy`, `miou` and `iou` by class; shares of 1.
    """
    images, classes = scenes.splits[split], scenes.categories
    matrix = camvid.confusion(images.labels, predict(network, images.images), len(classes))
    found = camvid.ious(matrix)
    return {
        "split": split,
        "images": len(images),
        "pixel_accuracy": float(np.trace(matrix) / matrix.sum()),
        "miou": float(np.nanmean(found)),
        "iou": {name: float(x) for name, x in zip(classes, found, strict=True)},
    }


def table(found: dict) -> str:
    """A score as lines to print."""
    lines = [f"{name:<12} {100 * x:6.2f} %" for name, x in found["iou"].items()]
    lines.append(f"{'mean IoU':<12} {100 * found['miou']:6.2f} % on {found['images']} images")
    lines.append(f"{'pixels right':<12} {100 * found['pixel_accuracy']:6.2f} %")
    return "\n".join(lines)


def load_network(path: str, classes: int) -> keras.Model:
    """Loads a network of this recipe.

    Raises:
        ValueError: no readable file, or of something else.
    """
    network = load_model(path)
    wanted = (None, None, None, 5), (None, None, None, classes)
    if (network.input_shape, network.output_shape) != wanted:
        raise ValueError(
            f"{path} goes from {network.input_shape} to {network.output_shape}, not from "
            f"{wanted[0]} to {wanted[1]}. Give a file that recipes/segment.py wrote."
        )
    return network


def train(chosen, before: dict | None = None) -> dict:
    """Trains as the flags say, and scores the last network on the test images.

    Args:
        chosen: all flags.
        before: what the flags file of the run to resume holds.

    Returns:
        The score.

    Raises:
        ValueError: bad input, or a loss that is infinite or NaN.
    """
    folder = Path(chosen.output)
    scenes = camvid.load(chosen.data)
    images, classes = scenes.splits["train"], len(scenes.categories)
    if len(images) < chosen.batch_size or min(images.labels.shape[1:]) < chosen.crop:
        raise ValueError(
            f"{len(images)} training images of {images.labels.shape[1:]} pixels are too few "
            f"or too small for batches of {chosen.batch_size} crops of {chosen.crop}."
        )
    about = run_folder.describe(chosen, scenes)
    if before:
        run_folder.check_same(folder, before, about, PLACES)
    else:
        run_folder.start(folder, overwrite=chosen.overwrite)
    keras.utils.set_random_seed(chosen.seed)
    network = build(
        classes, stages=chosen.stages, width=chosen.width, channels=chosen.channels,
        seed=chosen.seed,
    )  # fmt: skip
    print(f"Layers filled from {chosen.init}: {initialize(network, chosen.init)}.")
    run_folder.write_flags(folder, about)
    batches = camvid.TrainingBatches(
        images, camvid.class_weights(images, classes),
        size=chosen.crop, count=chosen.batch_size, seed=chosen.seed,
    )  # fmt: skip
    validation = camvid.ValidationBatches(scenes.splits["val"], classes, count=chosen.batch_size)
    trainer = make_trainer(network, chosen, len(batches))
    # On JAX and torch `fit` would build the metrics by a run as at inference, which gives whole
    # images, beside training labels of crops: here both are of whole images.
    trainer.test_on_batch(*validation[0])
    checkpoint = run_folder.Checkpoint(folder, lambda: network, batches.begin)
    if before:
        checkpoint.restore(trainer)
    print(
        f"{classes} classes, {len(images)} images to train on, crops of {chosen.crop} pixels; "
        f"{network.count_params():,} parameters. Backend: {keras.backend.backend()}."
    )
    if checkpoint.epoch:
        print(f"Resuming after epoch {checkpoint.epoch} of {chosen.epochs}.")
    trainer.fit(
        batches,
        validation_data=validation,
        epochs=chosen.epochs,
        initial_epoch=checkpoint.epoch,
        callbacks=[keras.callbacks.TerminateOnNaN(), checkpoint],
        shuffle=False,  # TrainingBatches does
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if checkpoint.diverged:
        raise ValueError(
            f"The loss became infinite or NaN in epoch {checkpoint.epoch + 1}. Try a lower "
            f"--learning_rate (it was {chosen.learning_rate:g})."
        )
    run_folder.save_model(network, folder / "last.keras")
    run_folder.write_curves(folder / "curves.png", checkpoint.history)
    found = score(network, scenes)
    run_folder.write_json(folder / "test.json", found)
    return found


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, before = read_flags(argv)
        if chosen.evaluate:
            scenes = camvid.load(chosen.data, ["test"])
            found = score(load_network(chosen.evaluate, len(scenes.categories)), scenes)
        else:
            found = train(chosen, before)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Continue with --resume and the same --output.", file=sys.stderr)
        return 130
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
