"""Packing a data set into one archive of small JPEGs, which `load` reads as `archive:PATH`."""

import io
import os
import zipfile

from keras_seqpar.data.datasets import Dataset
from keras_seqpar.data.sources.trees import folder_name
from keras_seqpar.utils.files import replacing


def pack(path: str | os.PathLike, dataset: Dataset, quality: int = 85) -> None:
    """Writes all splits as `<split>/<category>/<number>.jpg`.

    Args:
        path: the .zip file.
        dataset: what to write. A category's folder is named by its label; a slash is written
            as `%2F`, and `load` reads it as a slash again.
        quality: of the JPEGs, 1 to 95.

    Raises:
        ValueError: an image cannot be read.
        OSError: the archive cannot be written.

    Example:

    >>> pack("digits.zip", data.load("digits", image_size=16), quality=95)
    """
    from PIL import Image

    folders = [folder_name(label) for label in dataset.categories]
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, split in dataset.splits.items():
            for i, label in enumerate(split.labels):
                content = io.BytesIO()
                Image.fromarray(split.read([i])[0]).save(content, "JPEG", quality=quality)
                archive.writestr(f"{name}/{folders[label]}/{i:06d}.jpg", content.getvalue())
