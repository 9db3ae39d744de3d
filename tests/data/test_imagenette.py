"""Imagenette: its names, and reading it from the files of tensorflow-datasets."""

import json

import numpy as np
import pytest

from keras_seqpar import data
from keras_seqpar.data.imagenette import labels_by_wnid
from tests.data.test_loading import plain


def test_names_are_those_that_imagenette_publishes():
    assert labels_by_wnid() == {
        "n01440764": "tench",
        "n02102040": "English springer",
        "n02979186": "cassette player",
        "n03000684": "chain saw",
        "n03028079": "church",
        "n03394916": "French horn",
        "n03417042": "garbage truck",
        "n03425413": "gas pump",
        "n03445777": "golf ball",
        "n03888257": "parachute",
    }


def test_imagenette(tmp_path):
    """A very small Imagenette, in the files that tensorflow-datasets makes of the real one."""
    tf = pytest.importorskip("tensorflow")
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path / "imagenette" / "160px-v2" / "1.0.0"
    folder.mkdir(parents=True)
    builder = tfds.builder("imagenette/160px-v2", data_dir=tmp_path / "elsewhere")
    splits = []
    for split, labels in (("train", [3, *range(10)]), ("validation", range(10))):
        path = folder / f"imagenette-{split}.tfrecord-00000-of-00001"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for label in labels:
                example = {"image": plain((label * 20, 0, 0), 20, 30), "label": label}
                writer.write(builder.info.features.serialize_example(example))
        splits.append(
            {
                "name": split,
                "numBytes": str(path.stat().st_size),
                "shardLengths": [str(len(labels))],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
        )
    info = {"name": "imagenette", "version": "1.0.0", "fileFormat": "tfrecord", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    builder.info.features.save_config(str(folder))

    found = data.load("imagenette", image_size=8, data_dir=tmp_path)
    assert found.categories[:3] == ("tench", "English springer", "cassette player")
    assert found.train.labels.tolist() == [3, *range(10)]
    assert found.train.names[:2] == ("train[0]", "train[1]")
    red = found.train.read(range(11))[:, 4, 4, 0].astype(int)
    assert np.abs(red - 20 * found.train.labels).max() <= 3  # JPEG
    assert len(found.validation) == 10
