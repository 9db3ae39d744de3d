"""Trees of images: the same labels, images and reports from a folder, a .zip and a .tar."""

import io
import os
import tarfile
import types
import unicodedata
import warnings
import zipfile

import numpy as np
import pytest

from keras_seqpar import data
from keras_seqpar.data.packing import pack
from keras_seqpar.data.sources import trees
from keras_seqpar.mobile.runtime import run
from keras_seqpar.utils.images import image_endings

Image = pytest.importorskip("PIL.Image")

KINDS = ("folder", "zip", "zip of files", "tar", "tar.gz")


def image(shade, file_format="PNG"):
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(content, file_format)
    return content.getvalue()


IMAGE = image(7)
PLAIN = {f"{split}/{label}/a.jpg": IMAGE for split in ("train", "val") for label in ("cat", "dog")}


def store(kind, place, files, top=""):
    """Writes files as a folder or archive; returns the spec. Names that end in / are folders."""
    place.mkdir(exist_ok=True)
    files = {top + name: content for name, content in files.items()}
    if kind == "folder":
        for name, content in files.items():
            path = place / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(content)
        return f"folder:{place / 'set'}"
    path = place / f"set.{kind.partition(' ')[0]}"
    if kind.startswith("zip"):
        folders = {name.rpartition("/")[0] + "/" for name in files} if kind == "zip" else ()
        with zipfile.ZipFile(path, "w") as archive:
            for folder in sorted(folders):
                archive.mkdir(folder)
            for name, content in reversed(files.items()):
                if not name.endswith("/"):
                    archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo("./" + name.rstrip("/"))
                member.size = len(content)
                member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                archive.addfile(member, io.BytesIO(content))
    return f"archive:{path}"


def read(spec):
    """What a data set says of itself: labels, images by split, and what it does not use."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = data.load(spec, image_size=4)
    assert [str(w.message) for w in caught] == (
        [f"Not used in {spec!r}: {found.left_out}."] if found.left_out else []
    )
    images = {
        split: [(found.categories[i], name) for i, name in zip(s.labels, s.names, strict=True)]
        for split, s in found.splits.items()
    }
    return found.categories, images, found.left_out


# Files beside those of PLAIN; what is used of them; what is said.
CASES = {
    "deeper in a class": (
        {"train/cat/2024/b.jpg": IMAGE, "train/dog/train/cat/y.jpg": IMAGE},
        {"cat": ["2024/b.jpg"], "dog": ["train/cat/y.jpg"]},
        "",
    ),
    "hidden and system": (
        {
            name: b"not to be read"
            for name in (
                *("train/.ipynb_checkpoints/a.jpg", "val/.ipynb_checkpoints/a.jpg"),
                *("train/__MACOSX/cat/a.jpg", "__MACOSX/train/cat/._a.jpg", "train/cat/._x.jpg"),
                *("train/cat/Thumbs.db", "train/.DS_Store", ".DS_Store", "desktop.ini"),
                *("train/cat/.ipynb_checkpoints/a.jpg", "val/@eaDir/cat/a.jpg", "Thumbs.db"),
                *(".git/train/cat/a.jpg", "train/cat/__MACOSX/a.jpg", "train/._cat/a.jpg"),
                *("train/#recycle/a.jpg", "train/cat/ehthumbs_vista.db", "RECYCLER/train/a.jpg"),
            )
        },
        {},
        "",
    ),
    "a folder with the name of an image": (
        {"train/cat/e.jpg/": b"", "train/dog/f.png/g.jpg": IMAGE},
        {"dog": ["f.png/g.jpg"]},
        "",
    ),
    "outside of the layout": (
        {
            "backup/train/cat/x.jpg": IMAGE,
            "train/loose.jpg": IMAGE,
            "top.png": IMAGE,
            "test/cat/a.jpg": IMAGE,
            "README.md": b"text",
        },
        {},
        "4 file(s) outside of train/<category> and val/<category> (backup/train/cat/x.jpg, "
        "test/cat/a.jpg, ...)",
    ),
    "kinds that Pillow reads": (
        {
            "train/cat/b.jfif": image(9, "JPEG"),
            "train/cat/c.jpe": image(9, "JPEG"),
            "train/cat/d.JP2": image(9, "JPEG2000"),
            "train/cat/e.TiFf": image(9, "TIFF"),
            "train/cat/f.mpo": image(9, "JPEG"),
            "train/cat/g.ppm": image(9, "PPM"),
        },
        {"cat": ["b.jfif", "c.jpe", "d.JP2", "e.TiFf", "f.mpo", "g.ppm"]},
        "",
    ),
    "other kinds": (
        {
            "train/cat/b.svg": b"?",
            "train/cat/2024/c.svg": b"?",
            "val/dog/notes.TXT": b"?",
            "train/dog/unnamed": b"?",
            "train/dog/movie.mpg": b"?",
        },
        {},
        "1 without an ending, 1 .mpg, 2 .svg, 1 .txt, of kinds that Pillow does not read here",
    ),
    "order": (
        {f"train/cat/{name}.jpg": IMAGE for name in ("a/a", "a-b", "B", "é", "10", "9")},
        {"cat": ["10.jpg", "9.jpg", "B.jpg", "a-b.jpg", "a/a.jpg", "é.jpg"]},
        "",
    ),
}


@pytest.mark.parametrize("top", ["", "set/", "down/in/it/"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_folders_and_archives_are_read_alike(tmp_path, kind, case, top):
    files, used, left_out = CASES[case]
    categories, images, said = read(store(kind, tmp_path, {**PLAIN, **files}, top))
    assert categories == ("cat", "dog")
    want = [
        (label, f"train/{label}/{name}")
        for label in categories
        for name in sorted(["a.jpg", *used.get(label, [])])
    ]
    assert images["train"] == want
    assert images["validation"] == [("cat", "val/cat/a.jpg"), ("dog", "val/dog/a.jpg")]
    for name in ("backup/", "test/"):  # outside names are whole
        left_out = left_out.replace(name, top + name)
    assert said == left_out


@pytest.mark.parametrize("kind", KINDS)
def test_heic_is_counted_with_the_plugin_it_needs_or_read_with_it(tmp_path, kind, monkeypatch):
    from PIL import PngImagePlugin

    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    spec = store(kind, tmp_path, {**PLAIN, "train/cat/b.heic": IMAGE, "train/cat/c.HEIC": IMAGE})
    assert "2 .heic (pip install pillow-heif), of kinds" in read(spec)[2]
    monkeypatch.setitem(Image.EXTENSION, ".heic", "HEIF")
    monkeypatch.setitem(Image.OPEN, "HEIF", (PngImagePlugin.PngImageFile, None))
    _, images, said = read(spec)
    assert len(images["train"]) == 4
    assert said == ""


def test_what_pillow_reads_counts_as_an_image():
    assert {".jpg", ".jfif", ".jpe", ".png", ".apng", ".webp", ".bmp", ".jp2"} < image_endings()
    assert (".avif" in image_endings()) == ("AVIF" in Image.OPEN)
    assert not {".pdf", ".mpg", ".h5", ".eps", ".txt", ""} & image_endings()


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_of_other_kinds_only_is_refused_with_what_is_there(tmp_path, kind):
    files = {**PLAIN, "train/bird/a.svg": b"?", "train/bird/b.svg": b"?", "val/bird/a.jpg": IMAGE}
    with pytest.raises(ValueError, match=r"No images in train/bird of .*Found there: 2 .svg\."):
        read(store(kind, tmp_path, files))


@pytest.mark.parametrize("kind", KINDS)
def test_two_layouts_are_refused_by_name(tmp_path, kind):
    files = {top + name: content for top in ("one/", "two/") for name, content in PLAIN.items()}
    with pytest.raises(ValueError, match=r"splits in 2 folders: one, two. .*folder:PATH/one"):
        read(store(kind, tmp_path, files))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_without_splits_says_what_was_found(tmp_path, kind):
    files = {"./": b""} if kind.startswith("tar") else {}  # tars begin with their top folder
    with pytest.raises(ValueError, match=r"no train split.*Found: cat, dog"):
        read(store(kind, tmp_path, {**files, "cat/2024/a.jpg": IMAGE, "dog/a.jpg": IMAGE}))


@pytest.mark.parametrize("kind", KINDS)
def test_of_folders_with_splits_the_topmost_counts_and_the_one_with_both(tmp_path, kind):
    files = {"set/" + name: content for name, content in PLAIN.items()}
    _, images, said = read(store(kind, tmp_path, {**files, "backup/train/cat/x.jpg": IMAGE}))
    assert len(images["train"]) == 2
    assert said.startswith("1 file(s) outside of train/<category>")
    files = {"deeper/" + name: content for name, content in files.items()}
    files["backup/train/cat/x.jpg"] = IMAGE
    with pytest.raises(ValueError, match=r"no validation split.*Found in backup/: train"):
        read(store(kind, tmp_path / "other", files))


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_with_hidden_files_only_is_empty(tmp_path, kind):
    files = {**PLAIN, "train/bird/.DS_Store": b"?", "val/bird/.DS_Store": b"?"}
    with pytest.raises(ValueError, match=r"No images in train/bird of .*Found there: no files"):
        read(store(kind, tmp_path, files))


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_equal_in_both_forms_of_unicode(tmp_path, kind):
    one, other = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    files = {
        f"train/{one}/a.jpg": IMAGE,
        f"train/{other}/b.jpg": IMAGE,
        f"val/{other}/c.jpg": IMAGE,
    }
    categories, images, _ = read(store(kind, tmp_path, files))
    assert categories == (one,)
    assert len(images["train"]) == 2


def test_labels_that_are_not_utf_8_are_refused(tmp_path):
    for split in ("train", "val"):
        folder = os.fsencode(tmp_path / "set" / split) + b"/caf\xe9"
        try:
            os.makedirs(folder)
        except OSError:
            pytest.skip("this file system has UTF-8 names only")
        with open(folder + b"/a.jpg", "wb") as file:
            file.write(IMAGE)
    with pytest.raises(ValueError, match=r"in train of .*set.*'caf.*not in UTF-8"):
        read(f"folder:{tmp_path / 'set'}")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(tmp_path / "set", ".")
    with pytest.raises(ValueError, match=r"in train of .*set.*'caf.*not in UTF-8"):
        read(f"archive:{tmp_path / 'set.tar'}")


def test_backslashes_are_separators_where_no_slash_is(tmp_path):
    files = {name.replace("/", "\\"): content for name, content in PLAIN.items()}
    plain = read(store("folder", tmp_path / "plain", PLAIN))
    for kind in ("zip of files", "folder", "tar"):
        assert read(store(kind, tmp_path / kind, files)) == plain


def link_tree(root):
    """A tree with links to a file, to a folder, to nothing, and in a circle."""
    for name in ("train/cat/a.jpg", "train/dog/a.jpg", "test/cat/a.jpg", "test/dog/a.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(IMAGE)
    (root / "train/cat/b.jpg").symlink_to("../dog/a.jpg")
    os.link(root / "train/cat/a.jpg", root / "train/cat/c.jpg")
    (root / "val").symlink_to("test")
    (root / "train/dog/gone.jpg").symlink_to("nowhere.jpg")


def archives_of(folder):
    """The specs of a .tar and a .zip of a folder, with its links."""
    with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
        archive.add(folder, ".")
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                item = zipfile.ZipInfo(name)
                item.create_system, item.external_attr = 3, 0o120777 << 16
                archive.writestr(item, os.readlink(path))
            elif path.is_file():
                archive.write(path, name)
    return [f"archive:{folder.with_suffix(ending)}" for ending in (".tar", ".zip")]


def test_links_are_followed_in_folders_and_archives(tmp_path):
    link_tree(tmp_path / "set")
    found = read(f"folder:{tmp_path / 'set'}")
    assert [name for _, name in found[1]["train"]] == [
        *("train/cat/a.jpg", "train/cat/b.jpg", "train/cat/c.jpg", "train/dog/a.jpg")
    ]
    assert len(found[1]["validation"]) == 2
    assert "1 link(s) to nothing (train/dog/gone.jpg)" in found[2]
    for archive in archives_of(tmp_path / "set"):
        assert read(archive) == found


@pytest.mark.parametrize(
    "links",
    [
        {"train/cat/loop": ".."},
        {"train/cat/top": "../..", "val/dog/loop": "../dog"},
        {"train/cat/dogs": "../dog", "train/dog/cats": "../cat"},
        {"now": "v2", "train/bird": "../now/bird", "val/bird": "../now/bird"},
        {"v2/bird/more": "../fish", "train/bird": "../v2/bird", "val/bird": "../v2/bird"},
        {"v2/bird/b.jpg": "../now/c.jpg", "v2/now": "fish", "train/cat/v2": "../../v2"},
        {"train/cat/self": "self", "train/cat/out.jpg": "../../../nothing.jpg"},
        {"train/cat/a": "b", "train/cat/b": "a"},
    ],
)
def test_links_of_links_and_circles_are_the_same_in_archives(tmp_path, links):
    more = {"v2/bird/a.jpg": IMAGE, "v2/fish/c.jpg": IMAGE}
    spec = store("folder", tmp_path, PLAIN | more)
    for name, target in links.items():
        (tmp_path / "set" / name).symlink_to(target)
    found = read(spec)
    for archive in archives_of(tmp_path / "set"):
        assert read(archive) == found


def test_links_in_a_circle_end(tmp_path):
    store("folder", tmp_path, PLAIN)
    (tmp_path / "set/train/cat/again").symlink_to(tmp_path / "set/train")
    (tmp_path / "set/train/dog/cat").symlink_to(tmp_path / "set/train/cat")
    found = read(f"folder:{tmp_path / 'set'}")
    assert found[0] == ("cat", "dog")


def test_a_folder_is_no_archive_and_an_archive_no_folder(tmp_path):
    store("folder", tmp_path, PLAIN)
    store("zip", tmp_path, PLAIN)
    with pytest.raises(ValueError, match="is a folder, no archive. Use folder:PATH"):
        read(f"archive:{tmp_path / 'set'}")
    with pytest.raises(ValueError, match="is a file, no folder. Use archive:PATH"):
        read(f"folder:{tmp_path / 'set.zip'}")


def test_folder_names_are_labels_again():
    for label in (
        "AC/DC",
        ".net",
        "..",
        "a\\b",
        "100%",
        "%2F",
        "%25",
        "__MACOSX",
        "thumbs.DB",
        "é",
    ):
        folder = trees.folder_name(label)
        assert "/" not in folder
        assert not trees.is_hidden(folder)
        assert trees._label(folder) == label


def test_splits_and_categories_can_be_loaded_from_what_is_wrapped(tmp_path):
    spec = store("tar.gz", tmp_path, PLAIN, "pets/")
    only = data.load(spec, image_size=4, splits=["validation"])
    assert list(only.splits) == ["validation"]
    assert np.array_equal(only.validation.labels, [0, 1])
    assert only.left_out == ""


@pytest.mark.parametrize("kind", [*KINDS, "packed again", "mobile.run"])
def test_all_readers_put_white_below_what_is_transparent(tmp_path, kind):
    content = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 255, 0)).save(content, "PNG")
    files = dict.fromkeys((name.replace(".jpg", ".png") for name in PLAIN), content.getvalue())
    if kind == "mobile.run":
        takes = types.SimpleNamespace(input_shape=(1, 4, 4, 3), about={"mean": [0], "std": [1]})
        (tmp_path / "a.png").write_bytes(content.getvalue())
        pixels = run.read_image(takes, tmp_path / "a.png")
    else:
        found = data.load(store(kind if kind in KINDS else "zip", tmp_path, files), image_size=4)
        if kind == "packed again":
            pack(tmp_path / "packed.zip", found)
            found = data.load(f"archive:{tmp_path / 'packed.zip'}", image_size=4)
        pixels = found.train.read([0, 1])
    assert (pixels == 255).all()
