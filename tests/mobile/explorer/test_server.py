"""The server of the page: files, facts, cutouts, and the copy for static servers."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from keras_seqpar.mobile.explorer import server
from keras_seqpar.mobile.explorer.server import LIBRARIES, PageServer, data_of_file, export


@pytest.fixture
def page(tmp_path):
    """A page with all libraries, and the data of a file."""
    folder = tmp_path / "page"
    for name in ("index.html", "page.js"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    for name in LIBRARIES:
        path = folder / "node_modules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if not path.suffix else path.write_text(name)
    (tmp_path / "net.tflite").write_bytes(b"a file")
    data_of_file(tmp_path / "net.tflite", tmp_path / "data")
    return folder, tmp_path / "data"


@pytest.fixture
def get(page):
    """Asks a server that makes cutouts; returns status, headers and content."""

    def cut(categories):
        if "cow" in categories:
            raise ValueError("Unknown category 'cow'.")
        return ",".join(categories).encode()

    with PageServer(*page, cut=cut) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()

        def get(path):
            try:
                with urllib.request.urlopen(running.url + path) as answer:
                    return answer.status, answer.headers, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.headers, error.read()

        yield get
        running.shutdown()
        thread.join()


def test_files_facts_and_cutouts(get):
    status, headers, content = get("")
    assert (status, content) == (200, b"index.html")
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert get("data/model.tflite")[2] == b"a file"
    facts = json.loads(get("data/explorer.json")[2])
    assert (facts["title"], facts["file"], facts["server"]) == ("net", "model.tflite", True)
    assert get("data/cutout.tflite?category=cat&category=dog")[2] == b"cat,dog"
    assert get("data/cutout.tflite?category=cow")[::2] == (400, b"Unknown category 'cow'.")


def test_nothing_outside_is_served(get):
    for path in ("data/../net.tflite", "data/%2e%2e/net.tflite", "../net.tflite", "data/nothing"):
        assert get(path)[0] == 404


def test_exported_files_are_page_libraries_and_data(page, tmp_path):
    export(*page, tmp_path / "static")
    for name in ("index.html", "page.js", "data/explorer.json", "data/model.tflite"):
        assert (tmp_path / "static" / name).is_file()
    assert all((tmp_path / "static" / "node_modules" / name).exists() for name in LIBRARIES)
    with pytest.raises(OSError, match="static"):
        export(*page, tmp_path / "static")


def test_a_port_that_cannot_be_used(page):
    with PageServer(*page) as running:
        for port in (running.server_port, 70_000):
            with pytest.raises(OSError, match=f"listen on 127.0.0.1:{port} .*another --port; 0 "):
                PageServer(*page, port=port)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no branch pack .*nothing'. Give .* preset:NAME"):
        data_of_file(tmp_path / "nothing", tmp_path / "data")
    monkeypatch.setattr(server.shutil, "which", lambda name: None)
    with pytest.raises(OSError, match="npm, which installs it, is not on the PATH"):
        server.install(tmp_path)
