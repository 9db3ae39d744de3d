"""Sets of tensorflow-datasets: names, files in both formats, what is missing or damaged."""

import json
import shutil
import socket
import threading

import numpy as np
import pytest

from keras_seqpar import data
from keras_seqpar.data.sources import tfds as source
from keras_seqpar.hierarchy import subset_labels, subset_wnids
from tests.data.test_loading import plain


def test_names_are_those_that_imagenette_publishes():
    assert dict(
        zip(subset_wnids("imagenette"), source.words(subset_wnids("imagenette")), strict=True)
    ) == {
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


def store(tmp_path, train=(3, *range(10))):
    """A very small Imagenette, in the files that tensorflow-datasets makes of the real one."""
    splits = {
        split: [{"image": plain((20 * i, 0, 0), 20, 30), "label": i} for i in labels]
        for split, labels in (("train", train), ("validation", range(10)))
    }
    store_as(tmp_path, "imagenette/160px-v2", "1.0.0", splits)


def store_as(tmp_path, name, version, examples):
    """A set in the files that tensorflow-datasets makes; `examples`: split -> its examples."""
    tf = pytest.importorskip("tensorflow")
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path / name / version
    folder.mkdir(parents=True)
    name = name.partition("/")[0]
    builder = tfds.builder(name, data_dir=tmp_path / "elsewhere")
    splits = []
    for split, found in examples.items():
        path = folder / f"{name}-{split}.tfrecord-00000-of-00001"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in found:
                writer.write(builder.info.features.serialize_example(example))
        splits.append(
            {
                "name": split,
                "numBytes": str(path.stat().st_size),
                "shardLengths": [str(len(found))],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
        )
    info = {"name": name, "version": version, "fileFormat": "tfrecord", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    builder.info.features.save_config(str(folder))


def test_imagenette(tmp_path):
    store(tmp_path)
    found = data.load("imagenette", image_size=8, data_dir=tmp_path)
    assert found.categories[:3] == ("tench", "English springer", "cassette player")
    assert found.train.labels.tolist() == [3, *range(10)]
    assert found.train.names[:2] == ("train[0]", "train[1]")
    red = found.train.read(range(11))[:, 4, 4, 0].astype(int)
    assert np.abs(red - 20 * found.train.labels).max() <= 3  # JPEG
    assert len(found.validation) == 10


def test_records_are_read_one_at_a_time_and_are_those_of_tensorflow(tmp_path):
    """Both formats of files hold the images that `tfds.load` gives, whatever memory there is."""
    store(tmp_path)
    tfds = pytest.importorskip("tensorflow_datasets")
    name = "imagenette/160px-v2"
    wanted = [
        (bytes(each["image"]), int(each["label"]))
        for each in tfds.as_numpy(
            tfds.builder(name, data_dir=tmp_path).as_dataset(
                split="train", decoders={"image": tfds.decode.SkipDecoding()}
            )
        )
    ]
    categories, found = source.read_tfds(f"tfds:{name}", name, tmp_path, ["train"])
    assert categories == subset_labels("imagenette")
    images = found["train"]
    places = [images.places[i] for i in range(len(images.places))]
    assert list(zip(places, images.labels.tolist(), strict=True)) == wanted

    array_record = pytest.importorskip("array_record.python.array_record_module")
    other = tmp_path / "other" / "imagenette" / "160px-v2" / "1.0.0"
    other.mkdir(parents=True)
    folder = tmp_path / name / "1.0.0"
    info = json.loads((folder / "dataset_info.json").read_text()) | {"fileFormat": "array_record"}
    for split in info["splits"]:
        path = folder / f"imagenette-{split['name']}.tfrecord-00000-of-00001"
        table = source.find_records([path], [int(split["shardLengths"][0])])
        records = source.TFRecords([path], table)
        file = other / f"imagenette-{split['name']}.array_record-00000-of-00001"
        writer = array_record.ArrayRecordWriter(str(file), "group_size:1")
        for record in records:
            writer.write(record)
        writer.close()
    (other / "dataset_info.json").write_text(json.dumps(info))
    for file in folder.glob("*eatures.json"):
        (other / file.name).write_text(file.read_text())
    one, two = (
        data.load(f"tfds:{name}", image_size=8, data_dir=place, memory_limit=limit)
        for place, limit in ((tmp_path, 10**9), (tmp_path / "other", 0))
    )
    for split in ("train", "validation"):
        rows = range(len(one.splits[split]))
        assert np.array_equal(two.splits[split].read(rows), one.splits[split].read(rows))
        assert np.array_equal(two.splits[split].labels, one.splits[split].labels)
        assert np.array_equal(two.splits[split].contents(), one.splits[split].contents())


@pytest.mark.parametrize("spec", ["tfds:no_such_set", "tfds:imagenette/no_such_config"])
def test_sets_that_tensorflow_datasets_does_not_have(spec, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(ValueError, match=r"tensorflow-datasets has no .*tfds:NAME/CONFIG"):
        data.load(spec, image_size=8, data_dir=tmp_path)


def test_sets_without_one_image_and_label(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(ValueError, match=r"no set of images with one label each.*folder:PATH"):
        data.load("tfds:coco/2017", image_size=8, data_dir=tmp_path)


def test_imagenet_must_be_downloaded_by_hand(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    (tmp_path / "imagenet2012").mkdir()
    with pytest.raises(
        ValueError, match=r"must be downloaded by hand(?s:.*)tfds build imagenet2012"
    ):
        data.load("imagenet", image_size=8, data_dir=tmp_path)


@pytest.fixture
def no_network(monkeypatch):
    """Names are not found, and nothing connects; returns the hosts that were asked for."""
    asked = []

    def no_name(host, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def no_connection(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    monkeypatch.setattr(socket.socket, "connect", no_connection)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return asked


def test_without_network_one_try_says_what_to_do_and_makes_no_folder(
    tmp_path, no_network, monkeypatch
):
    pytest.importorskip("tensorflow")
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, folder in (
        (tmp_path / "data", tmp_path / "data"),
        ("~/data", tmp_path / "home" / "data"),
    ):
        no_network.clear()
        with pytest.raises(ValueError, match="cannot be reached") as error:
            data.load("imagenette", image_size=8, data_dir=given)
        for words in (f"is not in {folder}/imagenette", "--data_dir", "--dataset folder:PATH"):
            assert words in str(error.value)
        assert ".tgz cannot be reached: Failed to resolve" in str(error.value)
        assert len(no_network) == 1
    assert not list(tmp_path.iterdir())


def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path, no_network, monkeypatch):
    pytest.importorskip("tensorflow")
    pytest.importorskip("tensorflow_datasets")
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: never.wait(60) and [])
    monkeypatch.setattr(source, "ANSWER_SECONDS", 0.05)
    with pytest.raises(ValueError, match=r"no answer within 0.05 seconds.*--data_dir"):
        data.load("imagenette", image_size=8, data_dir=tmp_path / "data")
    assert not list(tmp_path.iterdir())
    never.set()


def test_damaged_files_name_their_folder(tmp_path):
    store(tmp_path)
    file = next(tmp_path.rglob("*validation*"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"validation split in .*160px-v2.* cannot be read"):
        data.load("imagenette", image_size=8, data_dir=tmp_path)


def test_the_first_time_all_records_are_read_and_never_again(tmp_path, monkeypatch):
    """Until the files change; also where what was found is damaged or cannot be kept."""
    store(tmp_path)
    reads, parse = [], source.Images.parse
    monkeypatch.setattr(source.Images, "parse", lambda self, i: reads.append(i) or parse(self, i))

    def found():
        reads.clear()
        _, images = source.read_tfds("imagenette", "imagenette/160px-v2", tmp_path, ["train"])
        return images["train"].labels.tolist(), images["train"].contents.tolist(), len(reads)

    *first, count = found()
    assert first[0] == [3, *range(10)] and count == 11
    assert found() == (*first, 0)
    kept = sorted(tmp_path.rglob("keras_seqpar.*"))
    assert [path.name for path in kept] == [
        "keras_seqpar.train.labels.npz",
        "keras_seqpar.train.records.npz",
    ]
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    assert found() == (*first, 11) and found() == (*first, 0)
    shutil.rmtree(tmp_path / "imagenette")
    store(tmp_path, [*range(10)] * 2)
    assert found()[0] == [*range(10)] * 2
    monkeypatch.setattr(source, "write_file", failing)
    shutil.rmtree(tmp_path / "imagenette")
    store(tmp_path)
    assert found()[2] == found()[2] == 11


def failing(*args):
    raise PermissionError("read-only")
