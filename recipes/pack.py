"""Packs a data set into one small archive of JPEGs, to train from elsewhere.

    python recipes/pack.py imagenette.zip --dataset imagenette --data_dir DIR --image_size 160
    python recipes/train.py --setting one_gpu --dataset archive:imagenette.zip

The images are squares, as training reads them: the shorter side is resized, the middle is kept.
Training with random crops reads images a quarter larger than --image_size: for 128 pixels, as in
the setting one_gpu, pack 160.
"""

from keras_seqpar.utils.commands import flag_group, run

from pathlib import Path

from absl import flags

from keras_seqpar import data
from keras_seqpar.data.packing import pack

args = flags.FLAGS
with flag_group("Data"):
    flags.DEFINE_string("dataset", "imagenette", f"What to pack: {', '.join(data.SPECS)}.")
    flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data.")
    flags.DEFINE_integer("image_size", 128, "Side of the square images in pixels.", lower_bound=1)
    flags.DEFINE_bool("skip_unreadable", False, "Leave out images that cannot be decoded.")
with flag_group("Archive"):
    flags.DEFINE_integer("quality", 85, "Quality of the JPEGs, 1 to 95.", lower_bound=1)
    flags.DEFINE_bool("overwrite", False, "Replace an existing archive.")


def main(argv: list[str]) -> None:
    """Checks the flags, loads and packs."""
    path = Path(argv[1])
    if path.suffix != ".zip":
        raise ValueError(f"The archive must end in .zip, got {argv[1]!r}.")
    if path.exists() and not args.overwrite:
        raise ValueError(f"{path} exists already. Replace it with --overwrite.")
    if args.quality > 95:
        raise ValueError(f"--quality must be 1 to 95, got {args.quality}.")
    dataset = data.load(
        args.dataset,
        image_size=args.image_size,
        data_dir=args.data_dir,
        skip_unreadable=args.skip_unreadable,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pack(path, dataset, args.quality)
    counts = " and ".join(f"{len(split):,} ({name})" for name, split in dataset.splits.items())
    print(f"{path}: {counts} images, {path.stat().st_size / 2**20:.1f} MiB.")


if __name__ == "__main__":
    run(main, positional=["ARCHIVE"])
