"""Data is recognized by what it holds: names, categories and encoded bytes."""

import shutil
import zipfile

import numpy as np
import pytest

from keras_seqpar import data
from keras_seqpar.data import fingerprints
from keras_seqpar.data.streaming import content_of
from tests.training.runner import write_images

pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "images", (("train", 3), ("validation", 2)))


def of(spec, **options):
    return fingerprints.fingerprint(data.load(spec, image_size=8, **options))


def test_moved_data_and_an_archive_of_it_are_the_same(folder, tmp_path, monkeypatch):
    before = of(f"folder:{folder}")
    assert len(before) == 10 and before["train/dark/0.png"][0] == "dark"
    shutil.copytree(folder, tmp_path / "moved" / "data")
    shutil.make_archive(str(tmp_path / "images"), "zip", folder)
    monkeypatch.chdir(tmp_path / "moved")
    others = ["folder:data", f"archive:{tmp_path / 'images.zip'}"]
    for now in (*map(of, others), of("folder:data", memory_limit=0)):
        assert fingerprints.differences(before, now) == []
        assert fingerprints.digest(before) == fingerprints.digest(now)


def test_what_differs_is_counted_and_named(folder):
    before = of(f"folder:{folder}")
    image = folder / "train" / "dark" / "0.png"
    content = image.read_bytes()
    image.write_bytes((folder / "train" / "bright" / "0.png").read_bytes())
    (folder / "train" / "dark" / "1.png").unlink()
    (folder / "train" / "dark" / "new.png").write_bytes(content)
    now = of(f"folder:{folder}")
    assert fingerprints.differences(before, now) == [
        "1 with another content or category: train/dark/0.png",
        "1 missing: train/dark/1.png",
        "1 new: train/dark/new.png",
    ]
    assert fingerprints.digest(before) != fingerprints.digest(now)
    many = {f"{i}.png": ("cat", 1, i) for i in range(1234)}
    text = fingerprints.differences(many, {})
    assert text == ["1,234 missing: 0.png, 1.png, 2.png, 3.png, 4.png, ..."]


def test_some_categories_of_the_data(folder):
    loaded = data.load(f"folder:{folder}", image_size=8)
    kept = fingerprints.fingerprint(data.only(loaded, ["dark"]))
    whole = fingerprints.fingerprint(loaded)
    assert kept == {name: found for name, found in whole.items() if found[0] == "dark"}


@pytest.fixture
def counted(monkeypatch):
    """The names of the images whose bytes are read, and how many bytes."""
    found = {}

    def count(place):
        found[str(place)] = len(content := content_of(place))
        return content

    monkeypatch.setattr(fingerprints, "content_of", count)
    return found


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_of_many_images_a_sample_is_read(folder, tmp_path, monkeypatch, counted, kind):
    """All names, categories and sizes count; contents do in the sample, which is the same again."""
    path = shutil.make_archive(str(tmp_path / "images"), kind, folder) if kind == "tar" else folder
    spec = f"{'archive' if kind == 'tar' else 'folder'}:{path}"
    whole = of(spec, memory_limit=0)
    size = max(size for _, size, _ in whole.values())
    monkeypatch.setattr(fingerprints, "READ", 3 * size)
    counted.clear()
    before = of(spec, memory_limit=0)
    assert 0 < sum(counted.values()) <= 2 * 3 * size  # of two splits
    assert fingerprints.digest(of(spec, memory_limit=0)) == fingerprints.digest(before)
    sampled = [name for name, (*_, check) in before.items() if check is not None]
    assert len(sampled) == len(counted) < len(before)
    assert {n: each[:2] for n, each in before.items()} == {n: each[:2] for n, each in whole.items()}
    assert not fingerprints.differences(before, whole) + fingerprints.differences(whole, before)
    assert fingerprints.from_csv(fingerprints.to_csv(before)) == before
    if kind == "tar":
        return
    for name in before:
        image = folder / name
        content = image.read_bytes()
        image.write_bytes(content[:-1] + b"x")  # as many bytes
        found = fingerprints.differences(before, of(spec, memory_limit=0))
        wanted = [f"1 with another content or category: {name}"] if name in sampled else []
        assert found == wanted
        image.write_bytes(content + b"x")
        found = fingerprints.differences(before, of(spec, memory_limit=0))
        assert any(name in line for line in found)
        image.write_bytes(content)


def test_a_zip_tells_all_contents_and_no_image_is_read(folder, tmp_path, monkeypatch, counted):
    before = of(f"folder:{folder}")
    assert len(counted) == 10
    shutil.make_archive(str(tmp_path / "images"), "zip", folder)
    monkeypatch.setattr(fingerprints, "READ", 0)
    counted.clear()
    assert of(f"archive:{tmp_path / 'images.zip'}", memory_limit=0) == before and not counted


def test_tables_are_read_back():
    made = {'a,"b"\n.png': ("cät", 3, 2**32 - 1), "b.png": ("dog", 0, 0), "c": ("cat", 9, None)}
    assert fingerprints.from_csv(fingerprints.to_csv(made)) == made
    for text in ("name,category\na,b\n", "name,category,bytes,crc32\na,b,c,d\n"):
        with pytest.raises(ValueError):
            fingerprints.from_csv(text)


def test_names_are_compared_in_one_form_of_unicode():
    pixels = np.zeros((1, 2, 2, 3), "uint8")
    one, other = (
        data.Dataset("x", ("cat",), {"train": data.Split((name,), np.array([0]), pixels)})
        for name in ("caf\u00e9.png", "cafe\u0301.png")
    )
    assert fingerprints.fingerprint(one) == fingerprints.fingerprint(other)


def test_both_images_count_whose_names_differ_in_their_form_only():
    names = ("train/\u00e9.png", "train/e\u0301.png")  # one character; a letter and an accent

    def of_contents(*contents):
        split = data.Split(
            names, np.zeros(2, "int32"), np.zeros((2, 1, 1, 3), "uint8"), lambda: np.array(contents)
        )
        return fingerprints.fingerprint(data.Dataset("two", ("cat",), {"train": split}))

    assert len(before := of_contents([9, 1], [9, 2])) == 2
    for now in (of_contents([9, 3], [9, 2]), of_contents([9, 1], [9, 3])):
        assert fingerprints.digest(now) != fingerprints.digest(before)


def test_digits_do_not_depend_on_how_they_are_resized():
    pytest.importorskip("sklearn")
    one, other = (
        fingerprints.fingerprint(data.load("digits", image_size=size)) for size in (8, 16)
    )
    assert one == other and len(one) == 1797


def test_an_archive_without_its_pixels_in_memory(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, path.relative_to(folder).as_posix())
    spec = f"archive:{tmp_path / 'a.zip'}"
    assert of(spec) == of(f"folder:{folder}")
