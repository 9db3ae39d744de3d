"""Packs a data set into one small archive of JPEGs, to train from elsewhere.

    python recipes/pack.py imagenette.zip --dataset imagenette --data_dir DIR --image_size 128
    python recipes/train.py --setting one_gpu --dataset archive:imagenette.zip

The images are squares as training reads them: the shorter side is resized, the middle kept.
Training with random crops stores images a quarter larger than it shows them: for
`--image_size 112` pack 140 pixels.
"""

import io
import sys
import zipfile
from pathlib import Path

import run_folder
from options import Options
from PIL import Image

from keras_seqpar import data
from keras_seqpar.utils.names import make_id


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="archive")
    options.group(
        "Data",
        ("string", "dataset", "imagenette", f"What to pack: {', '.join(data.SPECS)}."),
        ("string", "data_dir", None, "Where tensorflow-datasets keeps its data."),
        ("integer", "image_size", 128, "Side of the square images in pixels.", 1),
        ("boolean", "skip_unreadable", False, "Leave out images that cannot be decoded."),
    )
    options.group(
        "Archive",
        ("integer", "quality", 85, "Of the JPEGs, 1 to 95.", 1),
        ("boolean", "overwrite", False, "Replace an archive that is there."),
    )
    return options


def pack(path: Path, dataset: data.Dataset, quality: int) -> None:
    """Writes all splits as `<split>/<category>/<number>.jpg`.

    Args:
        path: the .zip file.
        dataset: what to write; a category's folder is named by its label, or by its id where
            a label is no name for a folder.
        quality: of the JPEGs.
    """
    folders = [label if "/" not in label else make_id(label) for label in dataset.categories]
    with (
        run_folder.replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, split in dataset.splits.items():
            for i, label in enumerate(split.labels):
                content = io.BytesIO()
                Image.fromarray(split.read([i])[0]).save(content, "JPEG", quality=quality)
                archive.writestr(f"{name}/{folders[label]}/{i:06d}.jpg", content.getvalue())


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        path = Path(chosen.archive)
        if path.suffix != ".zip":
            raise ValueError(f"The archive must end in .zip, got {chosen.archive!r}.")
        if path.exists() and not chosen.overwrite:
            raise ValueError(f"{path} is there already. Replace it with --overwrite.")
        if chosen.quality > 95:
            raise ValueError(f"--quality must be 1 to 95, got {chosen.quality}.")
        dataset = data.load(
            chosen.dataset,
            image_size=chosen.image_size,
            data_dir=chosen.data_dir,
            skip_unreadable=chosen.skip_unreadable,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        pack(path, dataset, chosen.quality)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    counts = " and ".join(f"{len(split):,} ({name})" for name, split in dataset.splits.items())
    print(f"{path}: {counts} images, {path.stat().st_size / 2**20:.1f} MiB.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
