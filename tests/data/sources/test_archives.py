"""Archives: those that are damaged, cut off, encrypted, or not what their name says."""

import io
import lzma
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest

from keras_seqpar import data
from tests.data.sources.test_trees import PLAIN, image, read, store

FORMATS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")


@pytest.fixture
def made(tmp_path):
    """Makes an archive with images that do not compress away."""

    def make(kind):
        rng = np.random.default_rng(0)
        files = {
            name: content + rng.bytes(3000)  # after its end, a PNG may have anything
            for name, content in dict.fromkeys(PLAIN, image(3)).items()
        }
        if kind in ("zip", "tar", "tar.gz"):
            store(kind, tmp_path, files)
        else:
            store("tar", tmp_path, files)
            with tarfile.open(tmp_path / f"set.{kind}", f"w:{kind[4:]}") as archive:
                for name, content in files.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        return tmp_path / f"set.{kind}"

    return make


@pytest.mark.parametrize("kind", FORMATS)
def test_an_archive_that_is_cut_off_says_so_in_one_sentence(made, kind):
    path = made(kind)
    assert len(read(f"archive:{path}")[1]["train"]) == 2
    content = path.read_bytes()
    steps = {round(len(content) * share) for share in (0.05, 0.3, 0.5, 0.7, 0.98)}
    steps |= {512 * blocks for blocks in range(1, 20)} if kind == "tar" else {700}
    for length in steps:
        if kind == "tar" and not any(content[length : length + 512]):
            continue  # nothing but the zeros at the end is lost
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=rf"set.{kind}' is damaged or cut off") as error:
            read(f"archive:{path}")
        assert "\n" not in str(error.value)
        assert "Copy or download it again" in str(error.value)
        assert str(error.value).count("method") == 0


@pytest.mark.parametrize("kind", FORMATS)
def test_a_flipped_byte_is_noticed_or_harmless(made, kind):
    path = made(kind)
    content, whole = path.read_bytes(), None
    whole = read(f"archive:{path}")
    for at in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :])
        try:
            found = read(f"archive:{path}")
        except ValueError as error:
            assert "set." in str(error)
        else:
            assert found == whole or kind in ("zip", "tar")  # tar has no checksum of the names


def test_a_tar_that_ends_in_a_damaged_header_is_not_taken_for_shorter(made):
    path = made("tar")
    content = bytearray(path.read_bytes())
    content[content.index(b"./val/cat/a.jpg") + 110] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or cut off"):
        read(f"archive:{path}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: it has 0 bytes"),
        (b"<html>404 Not Found</html>" * 50, "is neither a .zip nor a .tar"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "is neither a .zip nor a .tar"),
        (zlib.compress(b"text"), "is neither a .zip nor a .tar"),
        (b"\x1f\x8b" + bytes(30), "is damaged or cut off"),
        (lzma.compress(b"no tar in it"), "is damaged or cut off"),
        (b"PK\3\4" + bytes(30), "is damaged or cut off .the list of files at its end is missing"),
    ],
)
def test_what_is_no_archive_is_refused_in_one_sentence(tmp_path, content, words):
    for name in ("set.zip", "set.tar.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words) as error:
            read(f"archive:{tmp_path / name}")
        assert name in str(error.value)
        assert "\n" not in str(error.value)


def test_encrypted_and_unknown_compression(tmp_path):
    store("zip", tmp_path, PLAIN)
    path = tmp_path / "set.zip"
    content = path.read_bytes()
    for flag, field, words in (
        ((8, 1), 6, "is encrypted"),
        ((10, 9), 8, "packed in a way that Python does not read"),
    ):
        changed = bytearray(content)
        for signature, offset in ((b"PK\1\2", flag[0]), (b"PK\3\4", field)):
            at = -1
            while (at := content.find(signature, at + 1)) >= 0:
                changed[at + offset : at + offset + 2] = struct.pack("<H", flag[1])
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=rf"set.zip' (is )?{words}.*[Uu]npack it"):
            read(f"archive:{path}")


def test_a_file_that_unpacks_to_more_than_it_says_is_not_unpacked_further(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in PLAIN:
            archive.writestr(name, bytes(10**6))
    content = path.read_bytes().replace(struct.pack("<I", 10**6), struct.pack("<I", 100))
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or cut off"):
        read(f"archive:{path}")


def test_of_files_of_one_name_the_last_counts(tmp_path):
    store("zip", tmp_path, PLAIN)
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(tmp_path / "set.zip", "a") as z,
    ):
        z.writestr("train/cat/a.jpg", image(200))
    store("tar", tmp_path, PLAIN)
    with tarfile.open(tmp_path / "set.tar", "a") as archive:
        member = tarfile.TarInfo("train/cat/a.jpg")
        member.size = len(image(200))
        archive.addfile(member, io.BytesIO(image(200)))
    for kind in ("zip", "tar"):
        found = data.load(f"archive:{tmp_path / 'set'}.{kind}", image_size=4)
        assert found.train.read([0, 1])[:, 0, 0, 0].tolist() == [200, 7]


def test_names_in_utf_8_that_do_not_say_so(tmp_path):
    """As macOS packs them."""
    path = tmp_path / "set.zip"
    store("zip of files", tmp_path, {name.replace("cat", "kät"): x for name, x in PLAIN.items()})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset : at + offset + 2] = b"\0\0"
    path.write_bytes(content)
    assert read(f"archive:{path}")[0] == ("dog", "kät")
