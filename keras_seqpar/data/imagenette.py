"""Imagenette: ten easy categories of ImageNet (github.com/fastai/imagenette)."""

import contextlib
from collections.abc import Sequence

from keras_seqpar.data.datasets import missing_library
from keras_seqpar.data.trees import Record
from keras_seqpar.hierarchy.subsets import subset_labels, subset_wnids


def labels_by_wnid() -> dict[str, str]:
    """WordNet id -> label of each category."""
    return dict(zip(subset_wnids("imagenette"), subset_labels("imagenette"), strict=True))


def read_imagenette(
    data_dir, splits: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, list[Record]]]:
    """Reads `imagenette/160px-v2` of tensorflow-datasets, without decoding it.

    Returns:
        The labels, and split -> records.

    Raises:
        ImportError: TensorFlow or tensorflow-datasets is not installed.
        ValueError: the data is missing and could not be downloaded.
    """
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(missing_library("imagenette", "tensorflow-datasets")) from error
    import keras

    if keras.backend.backend() != "tensorflow":  # leave the GPU's memory to the backend
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    builder = tfds.builder("imagenette/160px-v2", data_dir=data_dir)
    if not builder.is_prepared():
        try:
            builder.download_and_prepare()
        except Exception as error:  # network and disk errors of many kinds
            raise ValueError(
                f"Imagenette is not in {builder.data_path} and could not be downloaded "
                f"({error}). Give the folder it is in as data_dir (--data_dir)."
            ) from error
    labels = labels_by_wnid()
    categories = tuple(labels[name] for name in builder.info.features["label"].names)
    records: dict[str, list[Record]] = {}
    for split in splits:
        encoded = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        records[split] = [
            (f"{split}[{i}]", int(item["label"]), bytes(item["image"]))
            for i, item in enumerate(tfds.as_numpy(encoded))
        ]
    return categories, records
