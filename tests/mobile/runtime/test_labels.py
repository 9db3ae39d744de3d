"""Label files as other programs write them are read clean, or refused by name."""

import unicodedata
from pathlib import Path

import pytest

from keras_seqpar.mobile.runtime.labels import find_labels, read_labels

PETS = ("café", "dog", "猫")
TEXT = "\n".join(PETS)


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        (TEXT + "\n").encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        (TEXT + "\n\n \n\r\n\t").encode(),
        f"{PETS[0]} \n\t{PETS[1]}\n\ufeff{PETS[2]}\r".encode(),  # two files joined
        unicodedata.normalize("NFD", TEXT).encode(),
    ],
)
def test_labels_are_clean(content):
    assert read_labels(content, "pets.labels.txt") == PETS


def test_labels_may_repeat_and_hold_anything_that_is_one_line():
    assert read_labels(b"crane\ncrane\n???\n#1, big\n", "x") == ("crane", "crane", "???", "#1, big")
    assert read_labels(b"0\tcat\n", "x") == ("0 cat",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'pets.labels.txt' has no labels. One line per score"),
        (b"\n\n", "has no labels"),
        (b"\xef\xbb\xbf", "has no labels"),
        (b"cat\n\ndog\n", "'pets.labels.txt' has no label in line 2"),
        (b"\ncat\n", "no label in line 1"),
        ("cat\ncafé\n".encode("latin-1"), "'pets.labels.txt' is not in UTF-8 .line 2.*iconv"),
        ("cat\n".encode("utf-16-le"), "control character .* in line 1, .*UTF-16 without a byte"),
        ("cat\n".encode("utf-16")[:-1], "'pets.labels.txt' is not in UTF-16"),
        (b"cat\x1b[0m\n", "'pets.labels.txt' has the control character"),
        ("cat\u2028dog".encode(), "control character"),
    ],
)
def test_what_is_no_list_of_labels_is_named(content, message):
    with pytest.raises(ValueError, match=message):
        read_labels(content, "pets.labels.txt")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "pets.tflite"


def test_labels_inside_the_model_win(path):
    beside = path.with_name("pets.labels.txt")
    assert find_labels(path, 3, PETS) == PETS and find_labels(path, 3, None) is None
    beside.write_text(unicodedata.normalize("NFD", TEXT) + "\n\n", "utf-8")
    assert find_labels(path, 3, PETS) == find_labels(path, 3, None) == PETS
    beside.write_text("café\ncat\n猫\n", "utf-8")
    assert find_labels(path, 3, None) == ("café", "cat", "猫")
    assert find_labels(path, 3, PETS, only_inside=True) == PETS
    with pytest.raises(ValueError, match=r"pets.labels.txt' disagrees .* line 2 is 'cat', .*'dog'"):
        find_labels(path, 3, PETS)
    beside.write_bytes(b"caf\xe9\ndog\nbird\n")
    for inside in (None, PETS):
        with pytest.raises(ValueError, match=r"pets\.labels\.txt' is not in UTF-8"):
            find_labels(path, 3, inside)


def test_a_number_of_labels_that_does_not_fit_is_refused(path):
    with pytest.raises(ValueError, match="metadata of pets.tflite' has 3 labels, but pets.tflite"):
        find_labels(path, 2, PETS)
    path.with_name("pets.labels.txt").write_text("cat\ndog\n")
    for inside in (None, PETS):
        with pytest.raises(ValueError, match="pets.labels.txt' has 2 labels, but .* has 3 outputs"):
            find_labels(path, 3, inside)


def test_a_huge_label_file_is_not_read(path, monkeypatch):
    monkeypatch.setattr("keras_seqpar.mobile.runtime.labels.MOST_BYTES", 10)
    path.with_name("pets.labels.txt").write_text("cat\ndog\nbird\n")
    with pytest.raises(ValueError, match="pets.labels.txt' has more than 10 bytes"):
        find_labels(path, 3, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n" * 2**21, r"'x' has more than 1,000,000 lines: no list of labels"),
        (b"\n" * 2**22, r"'x' has more than 1,000,000 lines: no list of labels"),
        (b"a" * 2**22, r"'x' has a line of 4,194,304 characters: no list of labels"),
        (b"a\n" * 2**24, r"'x' has more than 16,777,216 bytes: no list of labels"),
    ],
)
def test_what_is_unpacked_to_no_list_of_labels_is_refused_at_once(content, message, monkeypatch):
    monkeypatch.setattr("keras_seqpar.mobile.runtime.labels.same_form", lambda label: 1 / 0)
    with pytest.raises(ValueError, match=message):
        read_labels(content, "x")
