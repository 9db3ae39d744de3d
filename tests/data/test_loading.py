"""Reading images: what comes out, and what is said about data that is not right."""

import io
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from keras_seqpar import data, hierarchy

Image = pytest.importorskip("PIL.Image")

COLORS = {"blue": (10, 20, 200), "green": (10, 200, 20), "red": (200, 10, 20)}


def write(path, array, **options):
    """Writes an array as an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, "uint8")).save(path, **options)


def plain(color, height=12, width=12):
    """An image of one color."""
    return np.full((height, width, 3), color, "uint8")


def truncate(path):
    """Keeps the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def noisy(seed, height=40, width=60):
    """An image that does not compress away."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3))


@pytest.fixture
def tree(tmp_path):
    """Two splits of three categories: one color each, two and one images."""
    for split, count in (("train", 2), ("val", 1)):
        for name, color in COLORS.items():
            for i in range(count):
                write(tmp_path / "set" / split / name / f"{name}{i}.png", plain(color))
    return tmp_path / "set"


def load(folder, size=8, **options):
    return data.load(f"folder:{folder}", image_size=size, **options)


def test_digits():
    digits = data.load("digits", image_size=16)
    assert digits.categories == tuple("0123456789")
    assert (len(digits.train), len(digits.validation)) == (1437, 360)
    assert not set(digits.train.names) & set(digits.validation.names)
    # stratified: each category has its share of the fifth, to an image
    counts = [np.bincount(split.labels) for split in (digits.train, digits.validation)]
    assert np.all(np.abs(counts[1] - sum(counts) / 5) < 1)
    images = digits.train.read([3, 0, 3])
    assert images.shape == (3, 16, 16, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images[0], images[2])
    assert np.array_equal(images[..., 0], images[..., 2])
    everything = digits.train.read(range(len(digits.train)))
    assert everything.min() == 0
    assert everything.max() == 255


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    digits = data.load("digits", image_size=8, splits=["validation"])
    assert list(digits.splits) == ["validation"]
    rows = [int(name[len("digits[") : -1]) for name in digits.validation.names]
    source = load_digits()
    assert np.array_equal(digits.validation.labels, source.target[rows])
    gray = digits.validation.read(range(len(rows)))[..., 0]
    np.testing.assert_allclose(gray, source.images[rows] * 255 / 16, atol=0.5)


def test_folder(tree):
    found = load(tree)
    assert found.categories == ("blue", "green", "red")
    assert found.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.train.names[:2] == ("train/blue/blue0.png", "train/blue/blue1.png")
    assert found.validation.names[2] == "val/red/red0.png"
    assert found.skipped == ()
    for split in found.splits.values():
        for image, label in zip(split.read(range(len(split))), split.labels, strict=True):
            assert (image == COLORS[found.categories[label]]).all()


def test_the_middle_square_is_kept(tree):
    stripes = np.concatenate([plain(c, 30, 30) for c in COLORS.values()], axis=1)
    write(tree / "val" / "green" / "green0.png", stripes)
    write(tree / "val" / "red" / "red0.png", stripes.swapaxes(0, 1))
    images = load(tree, size=10).validation.read([1, 2])
    assert (images[:, 2:-2, 2:-2] == COLORS["green"]).all()  # resizing blends at the edges
    assert np.abs(images.astype(int) - COLORS["green"]).mean() < 5


def test_a_rotation_in_exif_is_carried_out(tree):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    image = np.concatenate([plain((255, 0, 0), 16, 32), plain((0, 0, 255), 16, 32)])
    write(tree / "val" / "red" / "red0.jpg", image, exif=exif, quality=95)
    (tree / "val" / "red" / "red0.png").unlink()
    turned = load(tree, size=16).validation.read([2])[0].astype(int)
    assert turned[8, 2, 2] > 200  # what was below is on the left
    assert turned[8, 13, 0] > 200


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_images_of_all_kinds_become_rgb(tree, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    path = tree / "val" / "red" / f"red1.{suffix}"
    Image.fromarray(plain((255, 255, 255))).convert(mode).save(path)
    image = load(tree).validation.read([3])[0]
    assert image.shape == (8, 8, 3)
    assert (image > 250).all()


def test_large_jpegs_are_decoded_at_a_fraction_of_their_size():
    smooth = np.kron(np.random.default_rng(0).integers(0, 256, (4, 4, 3)), np.ones((64, 64, 1)))
    file = io.BytesIO()
    Image.fromarray(smooth.astype("uint8")).save(file, "JPEG", quality=95)
    small = data.decode(file.getvalue(), 16).astype(int)
    exact = Image.fromarray(smooth.astype("uint8")).resize((16, 16), Image.Resampling.BICUBIC)
    assert np.abs(small - np.asarray(exact, int)).mean() < 3


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("prefix", ["", "inside/it/"])
def test_an_archive_equals_its_folder(tree, tmp_path, suffix, prefix):
    path = tmp_path / f"set.{suffix}"
    files = sorted(tree.rglob("*.png"), reverse=True)
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("__MACOSX/set/val/red/._red0.png", b"no image")
            for file in files:
                archive.write(file, prefix + file.relative_to(tree).as_posix())
    else:
        with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
            for file in files:
                archive.add(file, prefix + file.relative_to(tree).as_posix())
    one, other = load(tree), data.load(f"archive:{path}", image_size=8)
    assert other.categories == one.categories
    for name, split in one.splits.items():
        assert other.splits[name].names == split.names
        assert np.array_equal(other.splits[name].labels, split.labels)
        assert np.array_equal(other.splits[name].pixels, split.pixels)
    only = data.load(f"archive:{path}", image_size=8, splits=["validation"])
    assert np.array_equal(only.validation.pixels, one.validation.pixels)


def test_what_does_not_fit_into_memory_is_decoded_when_read(tree):
    kept, lazy = load(tree), load(tree, memory_limit=8 * 8 * 3 * 4)
    assert callable(lazy.train.pixels)
    assert not callable(lazy.validation.pixels)
    assert np.array_equal(lazy.train.read([5, 0, 0]), kept.train.read([5, 0, 0]))


@pytest.mark.parametrize("limit", [0, data.MEMORY_LIMIT])
def test_unreadable_images_are_named_and_skipped_on_demand(tree, limit):
    write(tree / "train" / "red" / "red1.jpg", noisy(0))
    truncate(tree / "train" / "red" / "red1.jpg")
    (tree / "train" / "blue" / "blue0.png").write_text("<html>404</html>")
    Image.fromarray(np.full((9, 9), 60000, "uint16")).save(tree / "train" / "blue" / "deep.tif")
    with pytest.raises(ValueError, match="3 unreadable or truncated") as error:
        load(tree, memory_limit=limit).train.read(range(8))
    for words in (
        "train/blue/blue0.png (OSError: cannot identify image file",
        "train/blue/deep.tif (ValueError: more than 8 bits",
        "train/red/red1.jpg (OSError",
        "--skip_unreadable",
    ):
        assert words in str(error.value)
    found = load(tree, memory_limit=limit, skip_unreadable=True)
    assert set(found.skipped) == {
        "train/blue/blue0.png",
        "train/blue/deep.tif",
        "train/red/red1.jpg",
    }
    assert found.train.labels.tolist() == [0, 1, 1, 2, 2]
    assert len(found.train.names) == len(found.train.read(range(5))) == 5


def test_a_category_whose_images_are_all_unreadable(tree):
    truncate(tree / "val" / "green" / "green0.png")
    with pytest.raises(ValueError, match="No readable image is left of 'green'"):
        load(tree, skip_unreadable=True)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere' does not exist.*PATH/train/<category>"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"nowhere.zip' does not exist"):
        data.load(f"archive:{tmp_path / 'nowhere.zip'}", image_size=8)


def test_a_folder_that_is_empty(tmp_path):
    with pytest.raises(ValueError, match=r"There are no images in .*PATH/train/<category>"):
        load(tmp_path)


def test_splits_that_are_missing_or_empty(tree):
    (tree / "val").rename(tree / "held_out")
    with pytest.raises(ValueError, match=r"no validation split.*Found: held_out, train"):
        load(tree)
    with pytest.warns(UserWarning, match=r"3 file.* outside of train/<category> \(held_out/blue"):
        assert len(load(tree, splits=["train"]).train) == 6
    (tree / "val").mkdir()
    with pytest.raises(ValueError, match=r"The folder 'val' in .* is empty"):
        load(tree)


def test_categories_without_images(tree):
    (tree / "train" / "red" / "notes.txt").write_text("no image")
    for i in range(2):
        (tree / "train" / "red" / f"red{i}.png").unlink()
    with pytest.raises(ValueError, match=r"No images in train/red of .*\.jpg"):
        load(tree)


def test_categories_that_differ_between_splits(tree):
    (tree / "val" / "red").rename(tree / "val" / "pink")
    with pytest.raises(ValueError, match=r"Only in train: red\. Only in val: pink\."):
        load(tree)
    with pytest.raises(ValueError, match="different categories"):
        load(tree, splits=["validation"])


def test_archives_that_are_none_or_too_large(tree, tmp_path):
    path = tmp_path / "set.zip"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"set.zip' is neither a .zip nor a .tar"):
        data.load(f"archive:{path}", image_size=8)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tree, "set")
    with pytest.raises(ValueError, match=r"larger than 0.0 GiB.*Unpack it"):
        data.load(f"archive:{path}", image_size=8, memory_limit=10)
    truncate(path)
    with pytest.raises(ValueError, match=r"set.zip' is damaged or cut off"):
        data.load(f"archive:{path}", image_size=8)


@pytest.mark.parametrize("spec", ["digitz", "folder:", "folder", "zip:x", ""])
def test_unknown_specs(spec):
    with pytest.raises(
        ValueError, match=r"Unknown data set .*Valid: digits, imagenette, imagenet, folder:"
    ):
        data.load(spec, image_size=8)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"image_size": 0}, ValueError, "image_size must be 1 pixel or more, got 0"),
        ({"image_size": 8.0}, TypeError, "image_size must be a whole number of pixels, got 8.0"),
        (
            {"image_size": 8, "splits": ["test"]},
            ValueError,
            r"\['test'\]. Valid: train, validation",
        ),
        ({"image_size": 8, "splits": []}, ValueError, "Valid: train, validation"),
    ],
)
def test_bad_arguments(options, error, words):
    with pytest.raises(error, match=words):
        data.load("digits", **options)
    with pytest.raises(TypeError, match="must be a string"):
        data.load(None, image_size=8)


def test_some_categories_of_a_data_set():
    digits = data.load("digits", image_size=8)
    some = data.only(digits, ["8", "3"])
    assert some.categories == ("8", "3")
    for name, split in digits.splits.items():
        rows = np.flatnonzero(np.isin(split.labels, (3, 8)))
        kept = some.splits[name]
        assert kept.names == tuple(split.names[i] for i in rows)
        assert np.array_equal(kept.labels, (split.labels[rows] == 3).astype("int32"))
        assert np.array_equal(kept.read(range(len(rows))), split.read(rows))


def test_some_categories_of_images_that_are_decoded_when_read(tree):
    whole, lazy = (data.load(f"folder:{tree}", image_size=8, memory_limit=n) for n in (10**9, 0))
    label = whole.categories[-1]
    one, other = (data.only(dataset, [label]).train for dataset in (whole, lazy))
    assert callable(other.pixels)
    assert np.array_equal(other.read(range(len(one))), one.read(range(len(one))))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["3", "x"], "Unknown category 'x'"),
        (["3", "3"], "Name every category once"),
        ([], "and one at least"),
    ],
)
def test_categories_that_cannot_be_chosen(labels, words):
    with pytest.raises(ValueError, match=words):
        data.only(data.load("digits", image_size=8), labels)


@pytest.mark.parametrize(
    ("spec", "library"), [("digits", "sklearn.datasets"), ("imagenette", "tensorflow_datasets")]
)
def test_a_missing_library_is_named_with_its_extra(monkeypatch, spec, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"keras-seqpar\[train,tensorflow\]"):
        data.load(spec, image_size=8)


@pytest.mark.parametrize("limit", [0, 10**9])
def test_imagenet_is_a_folder_of_wordnet_ids(tmp_path, limit):
    """Each category of a subset by its name, in the order of ImageNet-1k's logits."""
    woof, others = hierarchy.subset_wnids("imagewoof"), hierarchy.subset_wnids("imagenette")
    for split in ("train", "val"):
        for i, name in enumerate((*others, *woof)):
            write(tmp_path / split / name / f"{name}_1.JPEG", plain((0, 10 * i, 0)))
    options = {"image_size": 8, "data_dir": tmp_path, "memory_limit": limit}
    found = data.load("imagenet", categories="imagewoof", **options)
    assert found.categories == hierarchy.subset_labels("imagewoof")
    assert found.train.labels.tolist() == list(range(10))
    greens = found.validation.read(range(10))[:, 4, 4, 1].astype(int)
    assert np.abs(greens - range(100, 200, 10)).max() <= 3  # JPEG
    assert len(data.load("imagenet", **options).categories) == 20
    two = data.load("imagenet", categories=["dingo", "beagle"], **options)
    assert two.categories == ("dingo", "beagle")
    assert [name[6:15] for name in two.train.names] == ["n02115641", "n02088364"][::-1]
    assert two.train.labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="Unknown category 'tabby'"):
        data.load("imagenet", categories=["tabby"], **options)
