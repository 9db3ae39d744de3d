"""Image sets of tensorflow-datasets, read one record at a time.

Sets in the format array_record are read by `tfds.data_source`, as tensorflow-datasets prepares them
here. In the older TFRecord files, which it cannot read at random, the records are found by the
lengths that stand before them.

Labels stand in the records, so all of these must be read once: the first time that a set is loaded.
What was found is kept in files beside the set, if its folder can be written.
"""

import contextlib
import functools
import io
import os
import queue
import struct
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.data.datasets import missing_library
from keras_seqpar.data.fingerprints import on_all_cores
from keras_seqpar.data.sources.encoded import UNKNOWN, Encoded
from keras_seqpar.data.sources.trees import SPLITS
from keras_seqpar.hierarchy.subsets import subset_labels, subset_wnids
from keras_seqpar.utils.files import write_file

ANSWER_SECONDS = 10.0  # to wait for the server that has the data
_HEADER, _FOOTER = 12, 4  # bytes around a TFRecord: its length with a checksum; its checksum


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
    """Finds the images of a set of tensorflow-datasets.

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
            found[split] = _find(builder, own, image, label, split)
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


def _kept(builder, split: str, about: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `make` finds in the files of a split: kept beside them as long as they stay the same."""
    found = [os.stat(path) for path in builder.info.splits[split].filepaths]
    files = np.array([(each.st_size, each.st_mtime_ns) for each in found], "int64")
    path = Path(builder.data_path, f"keras_seqpar.{split}.{about}.npz")
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with np.load(path) as kept:
            if np.array_equal(kept["files"], files):
                return kept["table"]
    table, content = make(), io.BytesIO()
    np.savez(content, files=files, table=table)
    with contextlib.suppress(OSError):  # the data may be read-only
        write_file(path, content.getvalue())
    return table


def _records(builder, split: str) -> Sequence:
    """The serialized records of a split."""
    from tensorflow_datasets.core.decode import DeserializeMethod

    if builder.info.file_format.value == "tfrecord":
        about = builder.info.splits[split]
        paths, counts = about.filepaths, about.shard_lengths
        table = _kept(builder, split, "records", lambda: find_records(paths, counts))
        return TFRecords(paths, table)
    return builder.as_data_source(split, deserialize_method=DeserializeMethod.RAW_BYTES)


def find_records(paths: Sequence[Any], counts: Sequence[int]) -> np.ndarray:
    """Where the records of TFRecord files are: `(records, 3)`, file, first byte and length.

    Args:
        paths: the files.
        counts: number of records that each of them must have.

    Raises:
        OSError: a file is missing or cut off, or has another number of records.
    """
    rows = []
    for i, (path, count) in enumerate(zip(paths, counts, strict=True)):
        begin, size = 0, os.path.getsize(path)
        with open(path, "rb", buffering=0) as file:
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
    return np.array(rows, "int64").reshape(-1, 3)


class TFRecords(Sequence):
    """Records of TFRecord files, each read when it is asked for. Checksums are not compared.

    Args:
        paths: the files.
        table: from `find_records`.
    """

    def __init__(self, paths: Sequence[Any], table: np.ndarray):
        self.paths, self.table = [os.path.abspath(path) for path in paths], table

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


def _find(builder, own: str, key: str, label: str, split: str) -> Encoded:
    images = Images(_records(builder, own), key)

    def look(index: int) -> tuple[int, int]:
        features = images.parse(index)
        return features[label].int64_list.value[0], len(features[key].bytes_list.value[0])

    def look_at_all() -> np.ndarray:
        return np.array(on_all_cores(look, range(len(images))), "int64").reshape(-1, 2)

    labels, sizes = _kept(builder, own, "labels", look_at_all).T
    names = tuple(f"{split}[{i}]" for i in range(len(images)))
    contents = np.stack([sizes, np.full(len(sizes), UNKNOWN)], axis=1)
    return Encoded(names, labels.astype("int32"), images, contents)


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
