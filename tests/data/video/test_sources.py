"""Which source a text names, and files that were cut."""

import os
import struct

import numpy as np
import pytest

from keras_seqpar.data.video.sources import is_cut_short, parse_source

cv2 = pytest.importorskip("cv2")


@pytest.mark.parametrize(
    ("text", "kind", "where"),
    [
        ("0", "camera", 0),
        ("12", "camera", 12),
        ("camera", "camera", 0),
        ("camera:1", "camera", 1),
        ("/dev/video3", "camera", 3),
        ("rtsp://10.0.0.7:554/live", "address", "rtsp://10.0.0.7:554/live"),
        ("http://host/clip.mjpg?x=1", "address", "http://host/clip.mjpg?x=1"),
        ("RTSP://host/live", "address", "RTSP://host/live"),
    ],
)
def test_cameras_and_addresses(text, kind, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = parse_source(text)
    assert (source.kind, source.where) == (kind, where)


def test_messages_do_not_show_passwords():
    source = parse_source("rtsp://me:secret@10.0.0.7/live")
    assert (
        source.name == "rtsp://10.0.0.7/live" and source.where == "rtsp://me:secret@10.0.0.7/live"
    )
    assert "secret" not in source.explain() and "10.0.0.7" in source.explain()


def test_files_come_before_what_they_are_called_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("0", "camera", "a[1].avi"):
        (tmp_path / name).write_bytes(b"x")
        assert parse_source(name).kind == "file"


def test_folders_and_patterns_of_images(tmp_path):
    for name in ("f10.png", "f2.PNG", "f1.jpg", "notes.txt", "._f1.jpg"):
        (tmp_path / name).write_bytes(b"x")

    def names(text):
        source = parse_source(str(tmp_path / text))
        assert source.kind == "images"
        return [os.path.basename(path) for path in source.where]

    assert names("") == ["f1.jpg", "f2.PNG", "f10.png"]
    assert names("f%d.png") == names("f%02d.png") == names("*.png") == ["f10.png"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"The folder .*none has no images, such as"):
        parse_source(str(tmp_path / "none"))


@pytest.mark.parametrize("text", ["missing.avi", "missing/*.png", "camera1", "", "-1"])
def test_what_is_not_there(text):
    with pytest.raises(ValueError, match="There is no file .*A source is a file, a folder or"):
        parse_source(text or "no.mp4")


def test_cameras_need_a_number():
    with pytest.raises(ValueError, match="camera or camera:NUMBER, got 'camera:front'"):
        parse_source("camera:front")


@pytest.mark.parametrize(
    "name, codec", [("a.avi", "MJPG"), ("b.mp4", "mp4v"), ("c.mkv", "mp4v"), ("d.mov", "mp4v")]
)
def test_files_that_were_cut(tmp_path, name, codec):
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (48, 32))
    for i in range(8):
        writer.write(np.random.default_rng(i).integers(0, 256, (32, 48, 3)).astype("uint8"))
    writer.release()
    whole = path.read_bytes()
    assert not is_cut_short(path)
    for share in (0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        assert is_cut_short(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", b"\0" * 64, b"RIFF" + b"\0" * 30, struct.pack(">I", 4) + b"moov" * 9,
     bytes.fromhex("1a45dfa300"), bytes.fromhex("1a45dfa3ff") * 3, os.urandom(0) + b"\xff" * 99],
)  # fmt: skip
def test_files_that_say_no_length_count_as_complete(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert not is_cut_short(tmp_path / "a")
