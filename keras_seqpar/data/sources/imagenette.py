"""Imagenette: ten easy categories of ImageNet (github.com/fastai/imagenette)."""

import contextlib
import os
import queue
import threading
from collections.abc import Sequence

from keras_seqpar.data.datasets import missing_library
from keras_seqpar.data.sources.trees import Record
from keras_seqpar.hierarchy.subsets import subset_labels, subset_wnids

ANSWER_SECONDS = 10.0  # to wait for the server that has the data


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
        ValueError: the data is missing and cannot be downloaded, or it is damaged.
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
    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)  # shells leave the ~ of --data_dir=~/data
    builder = tfds.builder("imagenette/160px-v2", data_dir=data_dir)
    if not builder.is_prepared():
        way_on = (
            "Give the folder it is in as data_dir (--data_dir), connect to the network, or take "
            "other images (--dataset folder:PATH or archive:PATH)."
        )
        where = f"Imagenette is not in {builder.data_path}"
        url = next(url for url in builder.url_infos if url.endswith("imagenette2-160.tgz"))
        if reason := _unreachable(url):
            raise ValueError(f"{where}, and {url} cannot be reached: {reason}. {way_on}")
        try:
            builder.download_and_prepare()
        except Exception as error:  # network and disk errors of many kinds
            raise ValueError(f"{where} and could not be downloaded ({error}). {way_on}") from error
    labels = labels_by_wnid()
    categories = tuple(labels[name] for name in builder.info.features["label"].names)
    records: dict[str, list[Record]] = {}
    for split in splits:
        try:
            encoded = builder.as_dataset(
                split=split, decoders={"image": tfds.decode.SkipDecoding()}
            )
            records[split] = [
                (f"{split}[{i}]", int(item["label"]), bytes(item["image"]))
                for i, item in enumerate(tfds.as_numpy(encoded))
            ]
        except Exception as error:  # damaged or missing files
            raise ValueError(
                f"Imagenette's {split} split in {builder.data_path} cannot be read ({error}). "
                "Remove that folder, so that it is downloaded again, or give another --data_dir."
            ) from error
    return categories, records


def _unreachable(url: str) -> str:
    """Why an address does not answer, or "".

    tensorflow-datasets makes folders first and then tries for minutes.
    """
    import requests  # tensorflow-datasets needs it; unlike a socket, it uses proxies

    answers: queue.Queue[str] = queue.Queue()

    def ask() -> None:
        try:
            with requests.head(url, allow_redirects=True, timeout=ANSWER_SECONDS) as answer:
                answers.put("" if answer.status_code < 500 else f"HTTP {answer.status_code}")
        except Exception as error:
            reason = getattr(next(iter(error.args), None), "reason", error)  # urllib3's, shorter
            answers.put(str(reason).rpartition("): ")[2] or type(error).__name__)

    # In a thread, because names are looked up without a time limit.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        return f"no answer within {ANSWER_SECONDS:g} seconds"
