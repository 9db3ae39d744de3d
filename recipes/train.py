"""Trains a SeqPar network, or a plain one, on labeled images, with Keras's own `fit`.

    python recipes/train.py
    python recipes/train.py --setting two_cores --data_dir DIR --output runs/imagenette
    python recipes/train.py --dataset folder:PATH --family resnet50 --image_size 224
    python recipes/train.py --resume --output runs/imagenette

The first line trains on scikit-learn's digits. KERAS_BACKEND chooses tensorflow, jax or torch.
A run is a function of its flags: order and augmentation of the images come from (seed, epoch,
step), so that a run that was killed and resumed ends in the same weights as one that was not.
"""

import sys
import types
from pathlib import Path

import augment
import devices
import keras
import numpy as np
import run_folder
import settings
from batches import TrainingBatches, ValidationBatches
from options import Options
from trainer import JIT, make_trainer

import keras_seqpar as sp
from keras_seqpar import data, hierarchy, weights
from keras_seqpar.networks.graph import behind
from keras_seqpar.networks.prediction import predict
from keras_seqpar.utils.names import make_id

PLAIN = "plain"
STORED = 1.25  # training images are stored that much larger, so that crops keep their detail

# Flags whose default depends on the data set: for digits, for all others.
DEFAULTS = {
    "image_size": (32, 64),
    "family": ("resnet18", "resnet18"),
    "width": (0.25, 0.5),
    "epochs": (10, 20),
    "flip": (False, True),
    "crop_scale": (0.7, 0.35),
}
# Flags that say where things lie, not what is trained.
PLACES = ("data_dir", "output", "resume", "overwrite")


def make_options() -> Options:
    """All flags."""
    options = Options(
        __doc__,
        {name: f"digits: {a}, others: {b}" for name, (a, b) in DEFAULTS.items() if a != b}
        | {name: str(a) for name, (a, b) in DEFAULTS.items() if a == b}
        | {"learning_rate": "adamw: 0.002, sgd: 0.05", "output": "runs/<data set>"},
    )
    options.group(
        "Setting",
        ("enum", "setting", None, "Defaults for a purpose, see recipes/settings.", settings.NAMES),
    )
    options.group(
        "Data",
        ("string", "dataset", "digits", f"What to train on: {', '.join(data.SPECS)}."),
        ("string", "data_dir", None, "Where tensorflow-datasets keeps its data."),
        ("list", "categories", None, "Train on these only: labels, with commas between."),
        ("integer", "image_size", None, "Side of the square images in pixels.", 1),
        ("boolean", "skip_unreadable", False, "Leave out images that cannot be decoded."),
    )
    options.group(
        "Network",
        ("string", "family", None, "For example resnet50."),
        ("enum", "network", "seqpar", "With branches, plain, or with one branch.", [*NETWORKS]),
        ("string", "plan", "late_sp", "Plan of the branches."),
        ("string", "hierarchy", None, "A .json or .yaml file with superclasses; default: none."),
        ("float", "width", None, "Multiplies all channel counts."),
        ("enum", "stem", "auto", "First layers; auto: small up to 64 pixels.", [*STEMS]),
        ("float", "drop_path_rate", 0.0, "Rate of stochastic depth at the last block.", 0.0),
        ("string", "init", None, "timm:NAME, timm:PATH, keras:NAME or a .keras file."),
        ("boolean", "freeze_trunk", False, FREEZE),
    )
    options.group(
        "Training",
        ("integer", "epochs", None, "Passes over the training images.", 1),
        ("integer", "batch_size", 64, "Images per step.", 1),
        ("enum", "optimizer", "adamw", "Rule of the step; sgd has momentum.", ["adamw", "sgd"]),
        ("float", "learning_rate", None, "Its peak, between warm-up and a cosine fall.", 0.0),
        ("float", "warmup_epochs", 1.0, "Linear warm-up; at most a quarter of the run.", 0.0),
        ("float", "weight_decay", 0.05, "Decoupled; spares biases and normalizations.", 0.0),
        ("float", "label_smoothing", 0.0, "Part of a label that goes to all categories.", 0.0),
        ("string", "teacher", None, "A .keras file to learn from as well (distillation)."),
        ("float", "distillation", 0.5, "Share of the teacher's part in the loss, 0 to 1.", 0.0),
        ("float", "temperature", 2.0, "Divides the logits that teacher and network compare.", 0.0),
        ("enum", "mixed_precision", "off", "Type of the features.", [*PRECISIONS]),
        ("enum", "jit", "auto", "Compile the step with XLA; auto is Keras's choice.", [*JIT]),
        ("integer", "seed", 0, "Of weights, order and augmentation.", 0),
        ("integer", "devices", 1, "Devices that share every batch, see recipes/devices.py.", 1),
    )
    options.group(
        "Augmentation",
        ("boolean", "flip", None, "Mirror half of the images."),
        ("float", "crop_scale", None, "Least share of the area in a random crop; 1: no crops."),
        ("float", "randaugment", 0.0, "Magnitude of RandAugment, 0 (off) to 10."),
        ("float", "mixup", 0.0, "Alpha of mixup; 0 is off."),
        ("float", "cutmix", 0.0, "Alpha of cutmix; 0 is off."),
    )
    options.group(
        "Run",
        ("string", "output", None, "Folder for everything that the run writes."),
        ("boolean", "resume", False, "Continue the run in --output; its flags hold."),
        ("boolean", "overwrite", False, "Replace the run in --output."),
    )
    return options


FREEZE = (
    "Train the branches only; needs --init. Much faster with --noflip --crop_scale 1: the trunk's "
    "features are then computed once."
)
NETWORKS = ("seqpar", PLAIN, "one_branch")
STEMS = ("auto", "standard", "small")
PRECISIONS = ("off", "float16", "bfloat16")


def read_flags(argv: list[str]) -> tuple[types.SimpleNamespace, dict | None]:
    """Parses the command line and fills in what it leaves open.

    Args:
        argv: the arguments, without the program's name.

    Returns:
        All flags, and what the flags file of the run to resume holds, or `None`.

    Raises:
        ValueError: a flag is wrong, or contradicts the run to resume.
    """
    chosen, given = make_options().parse(argv)
    before = None
    if chosen.resume:
        if chosen.overwrite or not chosen.output:
            raise ValueError("Say which run to resume: --resume --output FOLDER.")
        before = run_folder.resume_flags(chosen, given, PLACES)
        chosen.data_dir = chosen.data_dir or before["flags"].get("data_dir")
    elif chosen.setting:
        for name, value in settings.read(chosen.setting).items():
            if name not in given:
                setattr(chosen, name, value)
    for name, defaults in DEFAULTS.items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, defaults[chosen.dataset != "digits"])
    if chosen.stem == "auto":
        chosen.stem = "small" if chosen.image_size <= 64 else "standard"
    if chosen.learning_rate is None:
        chosen.learning_rate = {"adamw": 0.002, "sgd": 0.05}[chosen.optimizer]
    chosen.warmup_epochs = min(chosen.warmup_epochs, chosen.epochs / 4)
    if chosen.output is None:
        chosen.output = f"runs/{chosen.dataset.partition(':')[0]}"
    if not chosen.learning_rate > 0:
        raise ValueError(f"--learning_rate must be above 0, got {chosen.learning_rate}.")
    if not chosen.label_smoothing < 1:
        raise ValueError(f"--label_smoothing must be below 1, got {chosen.label_smoothing}.")
    if not 0 <= chosen.distillation <= 1:
        raise ValueError(f"--distillation must be 0 to 1, got {chosen.distillation}.")
    if not 0 < chosen.temperature < float("inf"):
        raise ValueError(f"--temperature must be above 0, got {chosen.temperature}.")
    if chosen.hierarchy and chosen.network != "seqpar":
        raise ValueError(f"--network {chosen.network} has no superclasses: leave out --hierarchy.")
    if chosen.freeze_trunk and not chosen.init:
        raise ValueError("--freeze_trunk needs a trained trunk: --init timm:NAME, or FILE.keras.")
    return chosen, before


def load_data(chosen) -> data.Dataset:
    """Loads both splits; training images are stored larger if they will be cropped."""
    options = {"data_dir": chosen.data_dir, "skip_unreadable": chosen.skip_unreadable}
    stored = round(chosen.image_size * (STORED if chosen.crop_scale < 1 else 1))
    one = data.load(chosen.dataset, image_size=stored, splits=["train"], **options)
    other = data.load(
        chosen.dataset, image_size=chosen.image_size, splits=["validation"], **options
    )
    if chosen.categories:
        one, other = data.only(one, chosen.categories), data.only(other, chosen.categories)
    if len(one.categories) < 2:
        raise ValueError(
            f"{chosen.dataset!r} has the category {one.categories[0]!r} only. Training needs two "
            "or more: add one with images of other things."
        )
    if len(one.train) < chosen.batch_size:
        raise ValueError(
            f"{chosen.dataset!r} has {len(one.train)} training images, fewer than one batch of "
            f"{chosen.batch_size}. Add images or lower --batch_size."
        )
    skipped = (*one.skipped, *other.skipped)
    if skipped:
        print(f"Left out {len(skipped)} unreadable images: {', '.join(skipped)}.")
    return data.Dataset(one.name, one.categories, {**one.splits, **other.splits}, skipped)


def build(chosen, categories, classifier_activation: str | None) -> keras.Model:
    """Builds the network that the flags describe; it takes pixels of 0 to 255."""
    options = {
        "input_shape": (chosen.image_size, chosen.image_size, 3),
        "width": chosen.width,
        "stem": chosen.stem,
        "classifier_activation": classifier_activation,
        "include_preprocessing": True,
        "drop_path_rate": chosen.drop_path_rate,
        "seed": chosen.seed,
    }
    options["family"] = chosen.family
    if chosen.network == PLAIN:
        return sp.build_plain(categories, **options)
    if chosen.network == "one_branch":
        return sp.build_one_branch(categories, **options)
    options["plan"] = chosen.plan
    if chosen.hierarchy:
        return sp.build_nhl(nesting(chosen.hierarchy, categories), **options)
    return sp.build_phl(categories, **options)


def nesting(path: str, categories) -> sp.Hierarchy:
    """Reads a hierarchy and puts its categories into the order of the data's.

    Args:
        path: a .json or .yaml file.
        categories: labels of the data's categories.

    Raises:
        ValueError: no hierarchy, or not over these categories.
    """
    tree = hierarchy.from_file(path)
    ids = [make_id(label) for label in categories]
    if sorted(ids) != sorted(tree.category_ids):
        raise ValueError(
            f"The hierarchy {path} is not over the categories of the data.\n"
            f"  In the file: {', '.join(tree.categories)}.\n"
            f"  In the data: {', '.join(categories)}."
        )
    return sp.Hierarchy(tree.roots, ids)


def initialize(network: keras.Model, source: str) -> None:
    """Fills a network with what fits of trained weights, and says what did not."""
    print(f"Initial weights: {weights.load(network, source, classifier=False)}")


def features_of(network: keras.Model, split: data.Split) -> data.Split | None:
    """A split with the trunk's features in place of images; `None` if they need too much room."""
    trunk = network.get_layer("trunk")
    if 4 * len(split) * np.prod(trunk.output.shape[1:]) > data.MEMORY_LIMIT:
        return None
    print(f"Computing the frozen trunk's features of {len(split)} images, once ...")
    return data.Split(split.names, split.labels, predict(trunk, split, label="Trunk"))


def train(chosen, before: dict | None = None) -> run_folder.Checkpoint:
    """Trains as the flags say.

    Args:
        chosen: all flags, from `read_flags`.
        before: what the flags file of the run to resume holds.

    Returns:
        The checkpoint of the finished run, with its history.

    Raises:
        ValueError: bad input, or a loss that is infinite or NaN.
        OSError: a file could not be written.
    """
    folder = Path(chosen.output)
    policy = augment.Policy(
        chosen.flip, chosen.crop_scale, chosen.randaugment, chosen.mixup, chosen.cutmix
    )
    team = devices.use(chosen.devices, chosen.batch_size)
    if not before and team.first:
        run_folder.start(folder, overwrite=chosen.overwrite)
    dataset = load_data(chosen)
    categories = dataset.categories
    about = run_folder.describe(chosen, dataset)
    if before:
        run_folder.check_same(folder, before, about, PLACES)

    keras.utils.set_random_seed(chosen.seed)
    with team.scope():
        saved = build(chosen, categories, "softmax")
        precision = keras.config.dtype_policy()
        if chosen.mixed_precision != "off":
            keras.config.set_dtype_policy(f"mixed_{chosen.mixed_precision}")
        network = build(chosen, categories, None)
        keras.config.set_dtype_policy(precision)
    if chosen.init:
        initialize(network, chosen.init)
    network.get_layer("trunk").trainable = not chosen.freeze_trunk
    if team.first:
        run_folder.write_flags(folder, about)

    def snapshot() -> keras.Model:
        sp.copy_weights(network, saved)
        return saved

    trained, splits = network, [dataset.train, dataset.validation]
    if chosen.freeze_trunk and policy == augment.Policy() and not chosen.teacher:
        features = [features_of(network, split) for split in splits]
        if all(features):
            trained, splits = behind(network, network.get_layer("trunk")), features
    batches = TrainingBatches(splits[0], policy, len(categories), chosen, team)
    with team.scope():
        trainer = make_trainer(trained, policy, chosen, categories, len(batches))
    team.connect(trainer.trainable_variables)
    validation = ValidationBatches(
        splits[1], policy.columns, len(categories), chosen.batch_size, team
    )
    checkpoint = run_folder.Checkpoint(folder, snapshot, batches.begin, team)
    if before:
        checkpoint.restore(trainer)
    print(
        f"{chosen.dataset}: {len(categories)} categories, {len(dataset.train)} images to train "
        f"on, {len(dataset.validation)} to validate on, {chosen.image_size} pixels."
    )
    plan = chosen.plan if chosen.network == "seqpar" else chosen.network
    print(
        f"{chosen.family}, {plan}, width {chosen.width:g}: "
        f"{sum(np.prod(v.shape) for v in network.trainable_variables):,} parameters to train. "
        f"Backend: {keras.backend.backend()}."
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
        verbose=(1 if sys.stdout.isatty() else 2) if team.first else 0,
    )
    if checkpoint.diverged:
        raise ValueError(
            f"The loss became infinite or NaN in epoch {checkpoint.epoch + 1}. Try a lower "
            f"--learning_rate (it was {chosen.learning_rate:g}), or --mixed_precision off."
        )
    if team.first:
        run_folder.save_model(snapshot(), folder / "last.keras")
        run_folder.write_curves(folder / "curves.png", checkpoint.history)
    return checkpoint


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, before = read_flags(argv)
        done = train(chosen, before)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Continue with --resume and the same --output.", file=sys.stderr)
        return 130
    best, last = done.best, done.history[-1]
    print(
        f"Validation top-1: {best['val_accuracy']:.2%} in epoch {best['epoch']} (best.keras), "
        f"{last['val_accuracy']:.2%} in epoch {last['epoch']} (last.keras). Files: {done.folder}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
