"""The digits of scikit-learn: 1,797 images of 8x8 pixels."""

from collections.abc import Sequence

import numpy as np

from keras_seqpar.data.datasets import Dataset, Split, missing_library
from keras_seqpar.data.fingerprints import reader_of


def load_digits(size: int, splits: Sequence[str]) -> Dataset:
    """Loads the digits; a fixed stratified fifth is the validation split.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load_source
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(missing_library("digits", "scikit-learn")) from error
    from PIL import Image

    source = load_source()
    gray = np.round(source.images * (255 / 16)).astype("uint8")  # 0..16 -> 0..255
    resize = [Image.fromarray(g).resize((size, size), Image.Resampling.BICUBIC) for g in gray]
    pixels = np.repeat(np.stack([np.asarray(r) for r in resize])[..., None], 3, axis=-1)
    parts = train_test_split(
        np.arange(len(gray)), test_size=0.2, random_state=0, stratify=source.target
    )
    rows = dict(zip(("train", "validation"), map(np.sort, parts), strict=True))
    made = {
        name: Split(
            tuple(f"digits[{i}]" for i in rows[name]),
            source.target[rows[name]].astype("int32"),
            pixels[rows[name]],
            reader_of([gray[i].tobytes() for i in rows[name]]),
        )
        for name in splits
    }
    return Dataset("digits", tuple(map(str, source.target_names)), made)
