"""Image sets of tensorflow-datasets, read one record at a time.

Sets in the format array_record are read by `tfds.data_source`, as tensorflow-datasets prepares them
here. In the older TFRecord files, which it cannot read at random, the records are found by the
lengths that stand before them.
"""

import concurrent.futures
import contextlib
import functools
import os
import queue
import struct
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_seqpar.data.datasets import missing_library
from keras_seqpar.data.fingerprints import content_of
from keras_seqpar.data.sources.encoded import Encoded
from keras_seqpar.data.sources.trees import SPLITS
from keras_seqpar.hierarchy.subsets import subset_labels, subset_wnids

ANSWER_SECONDS = 10.0  # to wait for the server that has the data
_HEADER, _FOOTER = 12, 4  # bytes around a TFRecord: its length with a checksum; its checksum
_BLOCK = 4096  # records that are looked through at once


def labels_by_wnid() -> dict[str, str]:
    """WordNet id -> label of each category of ImageNet-1k."""
    return dict(zip(subset_wnids("imagenet1k"), subset_labels("imagenet1k"), strict=True))


def words(names: Sequence[str]) -> tuple[str, ...]:
    """Labels of categories: words where all names are WordNet ids of ImageNet-1k's."""
    labels = labels_by_wnid()
    return tuple(labels[name] for name in names) if set(names) <= set(labels) else tuple(names)


def read_tfds(
    spec: str, name: str, data_dir: str | os.PathLike | None, splits: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, Encoded]]:
    """Finds the images of a set of tensorflow-datasets. Every record is read once, for its label.

    Args:
        spec: the data set, for messages.
        name: NAME or NAME/CONFIG, of tensorflow-datasets.
        data_dir: where tensorflow-datasets keeps its data; missing data is downloaded to it.
        splits: which splits to read.

    Returns:
        The labels, and split -> images.

    Raises:
        ImportError: tensorflow-datasets is not installed.
        ValueError: an unknown set, or one without images with one label each; the data is missing
            and cannot be downloaded, or it is damaged.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(missing_library(spec, "tensorflow-datasets")) from error
    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)  # shells leave the ~ of --data_dir=~/data
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(
            f"{spec!r}: tensorflow-datasets has no {name!r} ({first}). Its sets are listed at "
            "tensorflow.org/datasets/catalog; give tfds:NAME or tfds:NAME/CONFIG."
        ) from error
    features = builder.info.features
    keys = [
        [key for key in features or {} if isinstance(features[key], kind)]
        for kind in (tfds.features.Image, tfds.features.ClassLabel)
    ]
    if [len(found) for found in keys] != [1, 1]:
        raise ValueError(
            f"{spec!r} is no set of images with one label each: it has {list(features or {})}. "
            "Give a set with one Image and one ClassLabel, or a folder of images: folder:PATH."
        )
    if not builder.is_prepared():
        _prepare(builder, spec)
    (image,), (label,) = keys
    found: dict[str, Encoded] = {}
    for split in splits:
        own = next((own for own in (split, *SPLITS[split]) if own in builder.info.splits), None)
        if own is None:
            raise ValueError(
                f"{spec!r} has no {split} split: none of {', '.join(SPLITS[split])}. It has "
                f"{', '.join(builder.info.splits)}. Give another set, or folder:PATH."
            )
        try:
            found[split] = _find(Images(_records(builder, own), image), label, split)
        except Exception as error:  # damaged or missing files
            raise ValueError(
                f"The {split} split in {builder.data_path} cannot be read ({error}). Remove that "
                "folder, so that it is made again, or give another --data_dir."
            ) from error
    return words(features[label].names), found


def _prepare(builder, spec: str) -> None:
    """Downloads a set and writes it in the format for random access."""
    way_on = (
        "Give the folder it is in as data_dir (--data_dir), connect to the network, or take other "
        "images (--dataset folder:PATH or archive:PATH)."
    )
    where = f"{spec!r} is not in {builder.data_path}"
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        raise ValueError(
            f"{where}, and must be downloaded by hand: {builder.MANUAL_DOWNLOAD_INSTRUCTIONS} Then "
            f"`tfds build {builder.name} --file_format=array_record` prepares it. {way_on}"
        )
    urls = list(builder.url_infos)
    if urls and (reason := _unreachable(urls[0])):
        raise ValueError(f"{where}, and {urls[0]} cannot be reached: {reason}. {way_on}")
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # leave the GPU's memory to the training
        tf.config.set_visible_devices([], "GPU")
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # network and disk errors of many kinds
        raise ValueError(f"{where} and could not be downloaded ({error}). {way_on}") from error


def _records(builder, split: str) -> Sequence:
    """The serialized records of a split."""
    from tensorflow_datasets.core.decode import DeserializeMethod

    if builder.info.file_format.value == "tfrecord":
        about = builder.info.splits[split]
        return TFRecords(about.filepaths, about.shard_lengths)
    return builder.as_data_source(split, deserialize_method=DeserializeMethod.RAW_BYTES)


class TFRecords(Sequence):
    """Records of TFRecord files, each read when it is asked for. Checksums are not compared.

    Args:
        paths: the files.
        counts: number of records that each of them must have.

    Raises:
        OSError: a file is missing or cut off, or has another number of records.
    """

    def __init__(self, paths: Sequence[Any], counts: Sequence[int]):
        self.paths = [os.path.abspath(path) for path in paths]
        rows = []
        for i, (path, count) in enumerate(zip(self.paths, counts, strict=True)):
            begin, size = 0, os.path.getsize(path)
            with open(path, "rb") as file:
                for _ in range(count):
                    file.seek(begin)
                    header = file.read(_HEADER)
                    length = struct.unpack("<Q", header[:8])[0] if len(header) == _HEADER else size
                    rows.append((i, begin + _HEADER, length))
                    begin += _HEADER + length + _FOOTER
                    if begin > size:
                        raise OSError(f"{path} is damaged or cut off")
            if begin != size:
                raise OSError(f"{path} has other records than its dataset_info.json says")
        self.table = np.array(rows, "int64").reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index) -> Any:  # bytes
        file, start, length = self.table[index].tolist()
        with open(self.paths[file], "rb") as stream:
            stream.seek(start)
            return stream.read(length)


class Images(Sequence):
    """The encoded images of serialized examples.

    Args:
        records: the examples.
        key: name of the image in them.
    """

    def __init__(self, records: Sequence, key: str):
        self.records, self.key = records, key

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index) -> Any:  # bytes
        return self.parse(index)[self.key].bytes_list.value[0]

    def parse(self, index) -> Any:
        """The features of an example, by name."""
        return _example().FromString(self.records[int(index)]).features.feature


@functools.cache
def _example():
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example


def _find(images: Images, key: str, split: str) -> Encoded:
    def look(index: int) -> tuple[int, tuple[int, int]]:
        features = images.parse(index)
        content = content_of(features[images.key].bytes_list.value[0])
        return features[key].int64_list.value[0], content

    labels, contents = [], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(images), _BLOCK):
            for label, content in pool.map(look, range(start, min(start + _BLOCK, len(images)))):
                labels.append(label)
                contents.append(content)
    names = tuple(f"{split}[{i}]" for i in range(len(images)))
    found = np.array(contents, "uint64").reshape(-1, 2)
    return Encoded(names, np.array(labels, "int32"), images, found)


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
