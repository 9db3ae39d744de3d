"""Images that are decoded when they are needed: the same in every way to read them."""

import json
import shutil
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from keras_seqpar import data
from keras_seqpar.data import batches
from keras_seqpar.data.augmentation import Policy
from keras_seqpar.data.sources.encoded import Files, Some
from keras_seqpar.data.streaming import Decoding, ReadAhead
from tests.data.sources.test_tfds import store_as
from tests.data.test_loading import noisy, truncate, write
from tests.training.runner import SIZE, write_images

pytest.importorskip("grain")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """2 x 10 images to train on and 2 x 3 to validate on."""
    return write_images(tmp_path_factory.mktemp("images"))


def lazy(images, size=20):
    """The data set, none of it in memory."""
    return data.load(f"folder:{images}", image_size=size, memory_limit=0)


def read(made):
    """All batches, as one row of numbers."""
    parts = [part for step in range(len(made)) for part in (*made[step][0], *made[step][1:])]
    return np.concatenate([np.asarray(part, "float64").reshape(-1) for part in parts])


@pytest.mark.only_backend("tensorflow")  # three processes, which know no backend
def test_batches_are_the_same_from_memory_and_from_1_and_2_processes(images):
    policy = Policy(True, 0.35, 5, 0.2, 1.0)
    kept = data.load(f"folder:{images}", image_size=20)
    options = {"image_size": SIZE, "batch_size": 4, "seed": 7}

    def training(split, workers):
        made = batches.TrainingBatches(split, policy, 2, workers=workers, **options)
        made.begin(2)
        found = read(made)
        if made.reader.ahead:
            made.reader.ahead.close()
        return found

    wanted = training(kept.train, 0)
    streamed = lazy(images)
    for workers in (0, 1, 2):
        assert np.array_equal(training(streamed.train, workers), wanted)
    measured = [
        read(batches.ValidationBatches(each.validation, 11, 2, 4)) for each in (kept, streamed)
    ]
    assert np.array_equal(*measured)


def test_reading_goes_on_from_its_state(images):
    decoding = lazy(images).train.pixels
    order = np.random.default_rng(0).permutation(20).reshape(5, 4)
    one, other = ReadAhead(decoding), ReadAhead(decoding)
    one.begin(order)
    wanted = [one[step] for step in range(5)]
    one.begin(order)
    assert np.array_equal(one[0], wanted[0]) and np.array_equal(one[1], wanted[1])
    state = json.loads(json.dumps(one.get_state()))
    other.begin(order)
    other.set_state(state)
    assert other.get_state() == state
    assert all(np.array_equal(other[step], wanted[step]) for step in (2, 3, 4))
    assert np.array_equal(other[1], wanted[1])  # another than the next is found, too
    other.begin(order[:3])
    with pytest.raises(ValueError, match="state is of 5 batches, but there are 3"):
        other.set_state(state)
    with pytest.raises(IndexError, match="There are 3 batches; there is none of number 3"):
        other[3]
    for each in (one, other):
        each.close()


def test_a_process_reads_its_share_only(images, monkeypatch):
    split, asked = lazy(images).train, []
    original = Decoding.__call__
    share = batches.Share(process=1, processes=2)
    options = {"image_size": SIZE, "batch_size": 8}
    whole = batches.TrainingBatches(split, Policy(), 2, **options)
    part = batches.TrainingBatches(split, Policy(), 2, share=share, **options)
    monkeypatch.setattr(Decoding, "__call__", lambda self, i: asked.extend(i) or original(self, i))
    assert part.reader.indices.shape == (2, 4)
    for step in range(2):
        assert np.array_equal(part[step][0][0], whole[step][0][0][4:])
    assert not asked  # all was read ahead


def test_unreadable_images_are_named_where_they_are_used(images, tmp_path):
    shutil.copytree(images, tmp_path / "set")
    (tmp_path / "set" / "train" / "dark" / "3.png").unlink()
    path = tmp_path / "set" / "train" / "dark" / "3.jpg"
    write(path, noisy(0))
    truncate(path)
    ahead = ReadAhead(lazy(tmp_path / "set").train.pixels)
    ahead.begin(np.arange(20).reshape(5, 4))
    with pytest.raises(ValueError, match=r"train/dark/3.jpg \(OSError.*\n.*--skip_unreadable"):
        for step in range(5):
            ahead[step]
    ahead.close()


def test_memory_stays_constant_over_a_data_set_of_50_gigabytes(tmp_path):
    """The same files by repeated names. All 64 batches would be 25 MiB, their files 160 MiB."""
    process = pytest.importorskip("psutil").Process()
    for i in range(4):
        Image.fromarray(noisy(i, 240, 240).astype("uint8")).save(tmp_path / f"{i}.jpg", quality=95)
    paths = list(tmp_path.iterdir())
    count = int(4 * 50e9 / sum(path.stat().st_size for path in paths))
    places = Some(Files(paths), np.arange(count) % 4)
    ahead, used = ReadAhead(Decoding(places, range(count), 64, "repeated")), []
    ahead.begin(np.random.default_rng(0).integers(0, count, (64, 32)))
    for step in range(64):
        ahead[step]
        used.append(process.memory_info().rss)
    ahead.close()
    assert max(used[-8:]) - max(used[:8]) < 8 * 2**20


def test_a_missing_grain_is_named_with_its_extra(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r"keras-seqpar\[train\].*--data_memory"):
        ReadAhead(lazy(images).train.pixels)


def test_1000_categories_give_equal_batches_from_folder_zip_tar_and_tfds(tmp_path):
    """Small archives in memory, larger ones where they are; a deflated zip too."""
    rng, folder = np.random.default_rng(0), tmp_path / "set"
    content = {}
    for split, count in (("train", 3), ("val", 1)):
        for category in range(1000):
            (folder / split / f"c{category:03d}").mkdir(parents=True)
            for i in range(count):
                name = f"{split}/c{category:03d}/{i}.bmp"
                Image.fromarray(rng.integers(0, 256, (4, 4, 3), "uint8")).save(folder / name)
                content[name] = folder / name
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / f"{method}.zip", "w", method) as archive:
            for name, file in content.items():
                archive.write(file, name)
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name, file in reversed(content.items()):
            archive.add(file, name)

    examples = [
        {"file_name": name, "image": str(file), "label": int(name.split("/")[1][1:])}
        for name, file in content.items()
        if name.startswith("train")
    ]
    store_as(tmp_path, "imagenet2012", "5.1.0", {"train": examples})

    def some(spec, limit):
        options = {"memory_limit": limit, "splits": ["train"], "data_dir": tmp_path}
        split = data.load(spec, image_size=4, **options).train
        made = batches.TrainingBatches(split, Policy(True), 1000, image_size=4, batch_size=64)
        made.begin(1)
        shown = [made[step] for step in range(20)]
        if made.reader.ahead:
            made.reader.ahead.close()
        return [np.concatenate([step[0][0] for step in shown]), shown[19][1], split.contents()]

    wanted = some(f"folder:{folder}", 10**9)
    for spec, limit in (
        (f"folder:{folder}", 0),
        (f"archive:{tmp_path / 'set.tar'}", 0),
        (f"archive:{tmp_path / '0.zip'}", 0),
        (f"archive:{tmp_path / '8.zip'}", 0),
        (f"archive:{tmp_path / '8.zip'}", 10**9),
        ("tfds:imagenet2012", 0),
    ):
        for one, other in zip(some(spec, limit), wanted, strict=True):
            assert np.array_equal(one, other), spec


def test_an_archive_that_changes_while_it_is_used_is_not_believed(images, tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(images.rglob("*.png")):
            archive.write(file, file.relative_to(images).as_posix())
    split = data.load(f"archive:{path}", image_size=8, memory_limit=0).train
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="set.zip is damaged, or was replaced while it was used"):
        split.read(range(len(split)))
